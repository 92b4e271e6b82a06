//! Language decoders.

mod config;
mod layer;
mod llama;

pub use config::{Biases, LayerConfig, LlamaConfig, MlpKind, Residual};
pub use layer::DecoderLayer;
pub use llama::{LlamaDecoder, LogitsFor};
