//! The parts of a vision-language model as Burn modules: numbers in, numbers out, no files and no
//! strings.
//!
//! [`VisualEncoder`] turns pixels into patch features, [`Projector`] turns those into rows of the
//! decoder's width, and [`LlamaDecoder`] turns rows into logits, with a [`KvCache`] between its
//! calls. Each has a configuration with Hugging Face's field names and an `init(&device)`. Fields
//! of the modules are named as checkpoints name their tensors.

mod attention;
mod cache;
mod decoder;
mod embedding;
mod feed_forward;
mod linear;
mod low_rank;
mod norm;
mod projector;
mod rope;
mod vision;
mod weight;

pub use crate::kernels::Activation;
pub use attention::{CausalSelfAttention, SelfAttention};
pub use cache::{CacheFull, CachePlace, CacheShape, KvCache, SharedPrefix};
pub use decoder::{
    Biases, DecoderLayer, LayerConfig, LearnedPositions, LlamaConfig, LlamaDecoder, LogitsFor,
    MlpKind, Positions, Residual,
};
pub use embedding::Embedding;
pub use feed_forward::{FeedForward, GatedMlp, Mlp};
pub use linear::Linear;
pub use low_rank::LowRank;
pub use norm::{LayerNorm, Norm, NormConfig, NormKind, RmsNorm};
pub use projector::{
    AnyResolutionConfig, AnyResolutionProjector, FeatureGrid, LinearProjector,
    LinearProjectorConfig, MergeProjector, MergeProjectorConfig, MlpProjector, MlpProjectorConfig,
    PixelShuffleConfig, PixelShuffleProjector, Projector, ProjectorInputs, QFormerConfig,
    QFormerProjector, QFormerTextConfig,
};
pub use rope::{RopeConfig, RopePrecision, RopeScaling, RopeTable};
pub(crate) use vision::EncoderSizes;
pub use vision::{
    ClipVisionConfig, ClipVisionTransformer, EvaVisionConfig, EvaVisionTransformer, FeatureSelect,
    PatchEmbedding, SiglipVisionConfig, SiglipVisionTransformer, VisualEncoder,
    VisualEncoderConfig,
};
pub use weight::Weight;
