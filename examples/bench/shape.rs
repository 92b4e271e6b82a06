use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_vlm::nn::{LlamaConfig, LlamaDecoder, RopeConfig, RopePrecision, RopeScaling};
use clap::ValueEnum;

/// A decoder that is measured without its weights: speed does not depend on them.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Shape {
    /// SmolLM2-135M, which SmolVLM-256M is built on.
    #[value(name = "smollm-135m")]
    SmolLm135M,
}

impl std::fmt::Display for Shape {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::SmolLm135M => f.write_str("smollm-135m"),
        }
    }
}

impl Shape {
    /// The sizes.
    pub(crate) fn config(self) -> LlamaConfig {
        match self {
            Self::SmolLm135M => LlamaConfig {
                vocab_size: 49_152,
                hidden_size: 576,
                intermediate_size: 1536,
                num_hidden_layers: 30,
                num_attention_heads: 9,
                num_key_value_heads: 3,
                head_dim: 64,
                rms_norm_eps: 1e-5,
                max_position_embeddings: 8192,
                rope: RopeConfig {
                    rope_theta: 1e5,
                    scaling: RopeScaling::Default,
                    precision: RopePrecision::F32,
                },
                tie_word_embeddings: true,
                attention_bias: false,
                mlp_bias: false,
            },
        }
    }
}

/// A decoder with the same random weights every time: matrices in `dtype`, norms in f32, as a
/// model is loaded.
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
