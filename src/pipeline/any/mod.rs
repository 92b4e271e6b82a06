//! The pipeline with its backend chosen at run time.
//!
//! [`AnyPipeline`] holds a [`MultimodalPipeline`](super::MultimodalPipeline) behind the object-safe
//! traits of `erased`, which have one implementation for every backend. Only `open` names the
//! backends that are compiled in.

mod available;
mod choice;
mod device;
mod erased;
mod image;
mod open;
mod pipeline;
mod session;
mod stream;

pub use device::DeviceName;
pub use image::{AnyEncodedImage, AnyImage};
pub use open::PipelineVisitor;
pub use pipeline::AnyPipeline;
pub use session::AnySession;
pub use stream::AnyAnswerStream;
