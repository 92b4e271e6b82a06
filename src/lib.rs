//! burn-vlm
pub mod backend;
mod error;
mod files;
pub mod kernels;
pub mod nn;
pub mod weights;
pub mod text;
pub mod image;
pub mod models;
pub mod generation;
pub use generation::CancelToken;
pub use error::*;
