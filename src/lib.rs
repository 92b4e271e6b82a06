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
//! | use one part alone | [`image`], [`text`], [`weights`], [`nn`], [`generation`] |
//! | call or replace a kernel | [`kernels`] |
//! | see which checkpoints can be opened | [`models::FAMILIES`] |
//!
//! # Words
//!
//! - **Prefill** reads many tokens at once, **decode** one: two functions, since the first is bound
//!   by arithmetic and the second by reading the weights.
//! - **KV cache**: keys and values of the tokens read so far, so that none is read twice. A **slot**
//!   of it is one sequence.
//! - **Rows** of a picture: what it is to the decoder, as an embedding is to a token.
//! - **Control token**: an id that means structure, such as the end of a turn. No text of a user
//!   becomes one.
//! - **Template**: how a conversation is written as one prompt.
//! - **Reference body**: the definition of a kernel in Burn operations, which runs where no kernel
//!   does.

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

/// The examples of the README are tests.
#[cfg(all(doctest, feature = "flex"))]
#[doc = include_str!("../README.md")]
struct Readme;
