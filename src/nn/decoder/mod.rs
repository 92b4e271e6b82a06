//! Language decoders.

mod config;
mod layer;
mod llama;
mod positions;

pub use config::{Biases, LayerConfig, LlamaConfig, MlpKind, Positions, Residual};
pub use layer::DecoderLayer;
pub use llama::{LlamaDecoder, LogitsFor};
pub use positions::LearnedPositions;
