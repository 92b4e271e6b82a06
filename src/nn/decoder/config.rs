use burn::tensor::DType;

use crate::kernels::Activation;
use crate::nn::cache::CacheShape;
use crate::nn::norm::NormConfig;
use crate::nn::rope::RopeConfig;

/// Everything that a [`LlamaDecoder`](super::LlamaDecoder) is built from, under Hugging Face's names.
#[derive(Debug, Clone, PartialEq)]
pub struct LlamaConfig {
    /// Rows of the embedding table.
    pub vocab_size: usize,
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// What every layer is made of.
    pub layer: LayerConfig,
    /// Tokens that the checkpoint says it can hold.
    pub max_position_embeddings: usize,
    /// How it knows where a token stands.
    pub positions: Positions,
    /// Whether the head is the embedding table.
    pub tie_word_embeddings: bool,
    /// What activations are computed in; sums, norms, rotations and logits are f32 whatever it is.
    pub compute: DType,
    /// What keys and values are kept in.
    pub cache: DType,
}

/// How a decoder knows where a token stands.
#[derive(Debug, Clone, PartialEq)]
pub enum Positions {
    /// Queries and keys are rotated: Llama and its like, GPT-NeoX.
    Rotary(RopeConfig),
    /// A learned row is added to what the first layer reads: OPT.
    Learned {
        /// Rows of the table in front of the one of the first token.
        offset: usize,
    },
}

/// One layer of a decoder: families differ by these values and not by their code.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerConfig {
    /// Query heads.
    pub num_attention_heads: usize,
    /// Key and value heads; divides `num_attention_heads`.
    pub num_key_value_heads: usize,
    /// Width of a head; even. Not always `hidden_size / num_attention_heads`.
    pub head_dim: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// The feed-forward block.
    pub mlp: MlpKind,
    /// The norms, the one behind the last layer too.
    pub norm: NormConfig,
    /// How the two blocks are added to the residual stream.
    pub residual: Residual,
    /// Which linear layers have biases.
    pub biases: Biases,
    /// Tokens that a token sees, itself among them; `None` for all before it.
    pub sliding_window: Option<usize>,
}

/// What stands between the norms of a feed-forward block and the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MlpKind {
    /// `down(silu(gate(x)) * up(x))` (Shazeer 2020): Llama and its like.
    Gated,
    /// `fc2(activation(fc1(x)))`: GPT-NeoX, OPT.
    Plain(Activation),
}

/// How attention and feed-forward block are added to the residual stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residual {
    /// One behind the other: the feed-forward block reads the sum.
    Sequential,
    /// Side by side (Wang and Komatsuzaki 2021): both read what came in, each through a norm of its
    /// own.
    Parallel,
}

/// Which linear layers of a decoder have biases.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Biases {
    /// The projections to queries, keys and values.
    pub qkv: bool,
    /// The projection behind the attention.
    pub attention_output: bool,
    /// All of the feed-forward block.
    pub mlp: bool,
}

impl LlamaConfig {
    /// What a cache for this decoder has to hold.
    pub fn cache_shape(&self) -> CacheShape {
        CacheShape {
            num_layers: self.num_hidden_layers,
            num_kv_heads: self.layer.num_key_value_heads,
            head_dim: self.layer.head_dim,
            rope: self.positions.rope().cloned(),
            dtype: self.cache,
        }
    }
}

impl Positions {
    /// The rotations; `None` where nothing is rotated.
    pub fn rope(&self) -> Option<&RopeConfig> {
        match self {
            Self::Rotary(rope) => Some(rope),
            Self::Learned { .. } => None,
        }
    }
}
