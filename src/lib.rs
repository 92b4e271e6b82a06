//! burn-vlm
pub mod backend;
mod error;
pub mod kernels;
pub use error::*;
