//! burn-vlm
pub mod backend;
mod error;
pub mod kernels;
pub mod nn;
pub use error::*;
