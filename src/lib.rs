//! burn-vlm
#![deny(missing_docs, clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]

pub mod backend;
mod error;
mod files;
pub mod generation;
pub mod image;
pub mod kernels;
pub mod models;
pub mod nn;
mod pipeline;
pub mod text;
pub mod weights;

pub use error::{
    CheckpointError, ConfigError, DeviceError, Error, ImageError, RequestError, Result,
    TemplateError, TokenizerError,
};
pub use generation::{CancelToken, FinishReason, SampleOptions, Sampling};
pub use image::ImageInput;
pub use pipeline::*;
