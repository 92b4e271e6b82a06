//! Language decoders.

mod config;
mod layer;
mod llama;

pub use config::LlamaConfig;
pub use layer::LlamaLayer;
pub use llama::{LlamaDecoder, LogitsFor};
