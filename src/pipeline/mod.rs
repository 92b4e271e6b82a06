//! The typed public API: the only place that knows every part.
//!
//! The life of a request is one straight path. Its pictures are planned from their sizes; [`prompt`]
//! turns messages into ids with places for the rows they will be; room, template, numbers and deadline
//! are checked. Only then [`MultimodalPipeline::encode`] turns pictures into rows, a
//! [`Generation`](crate::generation::Generation) reads both and chooses tokens, and [`AnswerStream`]
//! hands out text and ends as an [`Answer`]. A [`Session`] keeps the cache between such paths.

mod adapters;
mod answer;
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
mod any;
mod batch;
mod describe;
mod encoded_image;
mod image_rows;
mod load_options;
mod multimodal;
mod open;
mod prompt;
mod question;
mod request;
mod request_plan;
mod session;
mod stream;
mod warm_up;

pub use answer::{Answer, Timings, Usage};
#[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
pub use any::{
    AnyAnswerStream, AnyEncodedImage, AnyImage, AnyPipeline, AnySession, DeviceName,
    PipelineVisitor,
};
pub use describe::{ModelDescription, StoredTensors};
pub use encoded_image::{EncodedImage, RequestImage};
pub use load_options::{ComputeType, KernelPolicy, LoadOptions};
pub use multimodal::MultimodalPipeline;
pub use request::{AskRequest, DEFAULT_MAX_NEW_TOKENS};
pub use session::{Session, SessionStream};
pub use stream::AnswerStream;
pub use warm_up::{WarmUp, WarmUpProgress, WarmUpStage};
