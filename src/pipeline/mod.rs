//! The typed public API: the only place that knows every part.
//!
//! The life of a request is one straight path. [`MultimodalPipeline::encode`] turns a picture into
//! rows; [`prompt`] turns messages into ids with places for those rows; a
//! [`Generation`](crate::generation::Generation) reads both and chooses tokens; [`AnswerStream`]
//! hands out text and ends as an [`Answer`]. A [`Session`] keeps the cache between such paths.

mod answer;
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
mod any;
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
mod device;
mod encoded_image;
mod load_options;
mod multimodal;
mod prompt;
mod request;
mod session;
mod stream;

pub use answer::{Answer, Timings, Usage};
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
pub use any::{AnyAnswerStream, AnyImage, AnyPipeline, AnySession, PipelineVisitor};
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
pub use device::DeviceName;
pub use encoded_image::{EncodedImage, RequestImage};
pub use load_options::{KernelPolicy, LoadOptions};
pub use multimodal::MultimodalPipeline;
pub use request::{AskRequest, DEFAULT_MAX_NEW_TOKENS};
pub use session::{Session, SessionStream};
pub use stream::AnswerStream;
