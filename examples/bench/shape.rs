use std::collections::BTreeSet;

use burn::module::{Module, ModuleMapper, Param};
use burn::tensor::backend::Backend;
use burn::tensor::{DType, Int, Shape as TensorShape, Tensor, TensorData, f16};
use burn_vlm::kernels::{GROUP_LEN, PackedType};
use burn_vlm::nn::{
    Biases, LayerConfig, LlamaConfig, LlamaDecoder, MlpKind, NormConfig, NormKind, Positions,
    Residual, RopeConfig, RopePrecision, RopeScaling,
};
use burn_vlm::weights::{KeptType, MatrixType, WeightType};
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
                positions: rotary(1e5, 64),
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
                positions: rotary(1e4, 64),
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
                positions: rotary(1e4, 128),
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

fn rotary(rope_theta: f64, rotary_dim: usize) -> Positions {
    Positions::Rotary(RopeConfig {
        rope_theta,
        rotary_dim,
        scaling: RopeScaling::Default,
        precision: RopePrecision::F32,
    })
}

/// What the random matrices of a decoder are kept in.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RandomTypes {
    layers: KeptType,
    vocabulary: KeptType,
}

impl RandomTypes {
    /// As a model of floats is loaded; as stored, it is in f32.
    pub(crate) fn of(matrices: MatrixType) -> Self {
        let float = matrices.weight_type().unwrap_or(WeightType::F32).into();
        let (layers, vocabulary) = match matrices {
            MatrixType::Q8 => (PackedType::Q8.into(), PackedType::Q8.into()),
            MatrixType::Q4 => (PackedType::Q4.into(), PackedType::Q8.into()),
            _ => (float, float),
        };
        Self { layers, vocabulary }
    }

    /// Each once.
    pub(crate) fn all(self) -> BTreeSet<KeptType> {
        [self.layers, self.vocabulary].into()
    }
}

/// A decoder with the same random weights every time: matrices in `types`, norms in f32, as a model
/// is loaded.
///
/// Each matrix is made on the device, as floats in f32 which are cast before the next one is made:
/// beside the model there is never more than one.
pub(crate) fn random_decoder<B: Backend>(
    config: &LlamaConfig,
    types: RandomTypes,
    device: &B::Device,
) -> LlamaDecoder<B> {
    B::seed(device, 0);
    let mut decoder = config.init::<B>(device);
    decoder.layers = decoder.layers.map(&mut RandomMatrices::of(types.layers));
    let mut vocabulary = RandomMatrices::of(types.vocabulary);
    decoder.norm = decoder.norm.map(&mut vocabulary);
    decoder.embed_tokens = decoder.embed_tokens.map(&mut vocabulary);
    decoder.lm_head = decoder.lm_head.map(|head| head.map(&mut vocabulary));
    decoder
}

/// How far random numbers are from zero.
const SPREAD: f32 = 0.02;

struct RandomMatrices {
    kept: KeptType,
    /// The shape of the codes of the matrix whose numbers were made last: a mapper sees them next.
    codes: Option<[usize; 2]>,
}

impl RandomMatrices {
    fn of(kept: KeptType) -> Self {
        Self { kept, codes: None }
    }

    /// The numbers of a packed matrix, which has the shape of `param` as floats.
    fn numbers<B: Backend, const D: usize>(
        &mut self,
        packed_type: PackedType,
        param: &Param<Tensor<B, D>>,
    ) -> Tensor<B, D> {
        let [rows, columns] = param.lazy_shape().dims();
        let groups = columns / GROUP_LEN;
        self.codes = Some([rows, groups * packed_type.words_of_group()]);
        let shape = [rows, groups * packed_type.numbers_of_group()];
        let largest_code = (1 << (packed_type.bits() - 1)) as f32;
        let numbers = vec![f16::from_f32(SPREAD / largest_code); shape[0] * shape[1]];
        let device = param.lazy_device();
        let dtype = match B::supports_dtype(&device, DType::F16) {
            true => DType::F16,
            false => DType::F32,
        };
        // One axis first: CUDA pads the rows of a matrix that is uploaded as one.
        let data = TensorData::new(numbers, [shape[0] * shape[1]]).convert_dtype(dtype);
        Tensor::<B, 1>::from_data(data, (&device, dtype)).reshape(TensorShape::from(shape))
    }
}

impl<B: Backend> ModuleMapper<B> for RandomMatrices {
    fn map_float<const D: usize>(&mut self, param: Param<Tensor<B, D>>) -> Param<Tensor<B, D>> {
        match self.kept {
            KeptType::Packed(packed_type) if D == 2 => {
                let (numbers, id) = (self.numbers(packed_type, &param), param.id);
                param.transform_for_load(numbers, id)
            }
            KeptType::Floats(float) if D == 2 => param.map(|tensor| tensor.cast(float.dtype())),
            _ => param.map(|tensor| tensor.cast(DType::F32)),
        }
    }

    fn map_int<const D: usize>(
        &mut self,
        param: Param<Tensor<B, D, Int>>,
    ) -> Param<Tensor<B, D, Int>> {
        let Some([rows, words]) = self.codes.take() else {
            return param;
        };
        let (device, id) = (param.lazy_device(), param.id);
        // Knuth's multiplicative hash: every byte of a word takes all values.
        let codes = (0..rows * words).map(|index| (index as u32).wrapping_mul(2_654_435_769));
        let data = TensorData::new(codes.collect::<Vec<u32>>(), [rows * words]);
        let codes = Tensor::<B, 1, Int>::from_data(data, (&device, DType::U32));
        param.transform_for_load(codes.reshape(TensorShape::from([rows, words])), id)
    }
}
