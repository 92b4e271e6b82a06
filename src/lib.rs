//! Answers questions about pictures: an embeddable vision-language pipeline on any Burn backend.
//!
//! A picture goes through a [`VisualEncoder`](nn::VisualEncoder), a [`Projector`](nn::Projector)
//! and a [`LlamaDecoder`](nn::LlamaDecoder), behind one [`MultimodalPipeline`]:
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn_vlm::{ImageInput, MultimodalPipeline, backend::Cpu};
//!
//! let pipeline = MultimodalPipeline::<Cpu>::open("examples/demo/model", &Default::default())?;
//! let photo = pipeline.encode(&ImageInput::open("examples/demo/photo.png")?)?;
//! let answer = pipeline.ask(&photo, "What is in this picture?")?;
//! assert!(answer.text.starts_with("a red circle, a blue square"));
//! # }
//! # Ok::<(), burn_vlm::Error>(())
//! ```
//!
//! # From here
//!
//! | to | see |
//! |---|---|
//! | choose the device when the program runs | [`AnyPipeline`], [`DeviceName`] |
//! | sample, stop, cancel, set a deadline, show several pictures | [`AskRequest`] |
//! | print text as it comes | [`MultimodalPipeline::stream`] |
//! | hold a conversation | [`Session`] |
//! | ask a model without eyes | [`AskRequest::text`] |
//! | use one part of a model alone | [`nn`] |
//! | call or replace a kernel | [`kernels`] |
//! | see which checkpoints can be opened | [`FAMILIES`] |
//!
//! # The life of a request
//!
//! 1. [`AskRequest`] holds messages of text and pictures, and how the answer is to be chosen and ended.
//! 2. Each picture is planned from its size: how it is cut, and what stands for it in a prompt.
//! 3. A template turns messages and plans into one prompt, and the tokenizer into ids with places for
//!    rows of pictures.
//! 4. What can be wrong is found now: an unknown template, a prompt that leaves no room, a number
//!    outside its range, a deadline that has passed.
//! 5. The [`VisualEncoder`](nn::VisualEncoder) and the [`Projector`](nn::Projector) turn each picture
//!    into rows of the decoder's width, unless it is an [`EncodedImage`] already.
//! 6. A sequence reads what its slot of the cache does not hold yet, chunk by
//!    chunk, with the rows in their places: this is prefill.
//! 7. A token is chosen from the logits on the device, read there by the next step, and told to the
//!    host, which says that the sequence holds what it read: this is decode.
//! 8. [`AnswerStream`] hands out whole characters until the answer ends, and ends as an [`Answer`].
//!
//! # Words
//!
//! - **Prefill** reads many tokens at once, **decode** one: two functions, since the first is bound
//!   by arithmetic and the second by reading the weights.
//! - **KV cache**: keys and values of the tokens read so far, so that none is read twice. A **slot**
//!   of it is one sequence; forks of a sequence share the slot of what they have in common.
//! - **Rows** of a picture: what it is to the decoder, as an embedding is to a token.
//! - **Control token**: an id that means structure, such as the end of a turn. No text of a user
//!   becomes one.
//! - **Template**: how a conversation is written as one prompt.
//! - **Reference body**: the definition of a kernel in Burn operations, which runs where no kernel
//!   does.

#![deny(missing_docs, clippy::print_stdout, clippy::print_stderr)]
#![cfg_attr(not(test), deny(clippy::unwrap_used))]
#![cfg_attr(
    not(feature = "testing"),
    allow(unreachable_pub, reason = "the tests reach the layers between")
)]

pub mod backend;
mod error;
mod files;
pub mod kernels;
pub mod nn;
mod pipeline;

// The layers between: what a user needs of them is named below. Tests and programs of this crate see
// them whole.
#[cfg(feature = "testing")]
pub mod generation;
#[cfg(not(feature = "testing"))]
mod generation;
#[cfg(feature = "testing")]
pub mod image;
#[cfg(not(feature = "testing"))]
mod image;
#[cfg(feature = "testing")]
pub mod models;
#[cfg(not(feature = "testing"))]
mod models;
#[cfg(feature = "testing")]
pub mod text;
#[cfg(not(feature = "testing"))]
#[allow(dead_code, reason = "what no family takes yet is called by the tests")]
mod text;
#[cfg(feature = "testing")]
pub mod weights;
#[cfg(not(feature = "testing"))]
#[allow(dead_code, reason = "what no family takes yet is called by the tests")]
mod weights;

pub use error::{
    CheckpointError, ConfigError, DeviceError, Error, ImageError, RequestError, Result,
    TemplateError, TokenizerError,
};
pub use files::FolderLinks;
pub use generation::{
    BeamOptions, CancelToken, EarlyStopping, FinishReason, LogitRules, RuleScope, SampleOptions,
    Sampling,
};
pub use image::{ImageInput, ImageLimits, ImageSize, PixelFormat, PixelValues};
pub use models::{
    FAMILIES, Family, GroundedPhrase, ImageLayout, ModelConfig, ModelSpec, PixelBox,
    ProjectorConfig, RelativeBox, Resemblance, TaskTag, VisionConfig, VisionLanguageModel,
};
pub use pipeline::*;
pub use text::{
    Bos, ConversationTemplate, ImagePart, ImageSpan, ImageTokens, Message, Part, PromptTokens,
    Role, TEMPLATES, TextStream, Tokenizer,
};
pub use weights::{
    DeltaOptions, DeltaReport, KeptType, LoadProgress, LoadReport, MatrixType, MismatchedParameter,
    MissingParameter, NewRows, Strictness, UnusedTensor, WeightType, WidenedMatrix, apply_delta,
};

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
