use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_vlm::nn::{
    Biases, LayerConfig, LlamaConfig, LlamaDecoder, MlpKind, NormConfig, NormKind, Residual,
    RopeConfig, RopePrecision, RopeScaling,
};
use clap::ValueEnum;

/// A decoder that is measured without its weights: speed does not depend on them.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shape {
    /// SmolLM2-135M, which SmolVLM-256M is built on.
    #[value(name = "smollm-135m")]
    SmolLm135M,
    /// TinyLlama-1.1B.
    #[value(name = "tinyllama-1.1b")]
    TinyLlama1B,
    /// Llama-7B, and with it Vicuna-7B, which LLaVA-1.5-7B is built on.
    #[value(name = "llama-7b")]
    Llama7B,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SmolLm135M => f.write_str("smollm-135m"),
            Self::TinyLlama1B => f.write_str("tinyllama-1.1b"),
            Self::Llama7B => f.write_str("llama-7b"),
        }
    }
}

impl Shape {
    /// The sizes, with activations and cache in `compute`.
    pub(crate) fn config(self, compute: DType) -> LlamaConfig {
        match self {
            Self::SmolLm135M => LlamaConfig {
                vocab_size: 49_152,
                hidden_size: 576,
                num_hidden_layers: 30,
                layer: layer([9, 3], 64, 1536),
                max_position_embeddings: 8192,
                rope: rope(1e5, 64),
                tie_word_embeddings: true,
                compute,
                cache: compute,
            },
            Self::TinyLlama1B => LlamaConfig {
                vocab_size: 32_000,
                hidden_size: 2048,
                num_hidden_layers: 22,
                layer: layer([32, 4], 64, 5632),
                max_position_embeddings: 2048,
                rope: rope(1e4, 64),
                tie_word_embeddings: false,
                compute,
                cache: compute,
            },
            Self::Llama7B => LlamaConfig {
                vocab_size: 32_000,
                hidden_size: 4096,
                num_hidden_layers: 32,
                layer: layer([32, 32], 128, 11_008),
                max_position_embeddings: 4096,
                rope: rope(1e4, 128),
                tie_word_embeddings: false,
                compute,
                cache: compute,
            },
        }
    }
}

fn layer(
    [num_attention_heads, num_key_value_heads]: [usize; 2],
    head_dim: usize,
    intermediate_size: usize,
) -> LayerConfig {
    LayerConfig {
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        intermediate_size,
        mlp: MlpKind::Gated,
        norm: NormConfig {
            kind: NormKind::Rms,
            epsilon: 1e-5,
        },
        residual: Residual::Sequential,
        biases: Biases::default(),
        sliding_window: None,
    }
}

fn rope(rope_theta: f64, rotary_dim: usize) -> RopeConfig {
    RopeConfig {
        rope_theta,
        rotary_dim,
        scaling: RopeScaling::Default,
        precision: RopePrecision::F32,
    }
}

/// A decoder with the same random weights every time: matrices in `dtype`, norms in f32, as a
/// model is loaded.
///
/// Each matrix is made on the device, in f32, and cast before the next one is made: beside the
/// model there is never more than one.
pub(crate) fn random_decoder<B: Backend>(
    config: &LlamaConfig,
    dtype: DType,
    device: &B::Device,
) -> LlamaDecoder<B> {
    B::seed(device, 0);
    config.init::<B>(device).map(&mut CastMatrices { dtype })
}

struct CastMatrices {
    dtype: DType,
}

impl<B: Backend> ModuleMapper<B> for CastMatrices {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        let dtype = if D == 2 { self.dtype } else { DType::F32 };
        param.map(|tensor| tensor.cast(dtype))
    }
}
