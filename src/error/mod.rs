//! One error for the whole crate, divided by who can act on it.
//!
//! [`Error`] says whose turn it is: the owner of the model folder ([`CheckpointError`],
//! [`ConfigError`], [`TokenizerError`], [`TemplateError`]), the caller ([`ImageError`],
//! [`RequestError`], [`Error::ContextOverflow`]) or the machine ([`DeviceError`], [`Error::Io`]).
//! Each carries the values a program needs to react and a sentence a person can act on.

mod checkpoint;
mod config;
mod device;
mod image;
mod request;
mod text;
mod visible;

use std::path::{Path, PathBuf};

pub use checkpoint::CheckpointError;
pub use config::ConfigError;
pub use device::DeviceError;
pub use image::ImageError;
pub use request::RequestError;
pub use text::{TemplateError, TokenizerError};
pub(crate) use visible::{visible, visible_line};

/// What this crate returns.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Everything that can go wrong, by who can act on it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file or folder could not be read.
    #[error("cannot read {}: {reason}", visible_line(path))]
    Io {
        /// The file or folder.
        path: PathBuf,
        /// What the operating system said.
        reason: std::io::Error,
    },
    /// The weights of the model folder are damaged, incomplete or not of this model.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// A configuration file of the model folder is damaged or describes what this crate cannot run.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The tokenizer of the model folder is damaged or of an unsupported kind.
    #[error(transparent)]
    Tokenizer(#[from] TokenizerError),
    /// A prompt template is damaged, too expensive, or does not fit the messages.
    #[error(transparent)]
    Template(#[from] TemplateError),
    /// A picture cannot be used.
    #[error(transparent)]
    Image(#[from] ImageError),
    /// A request contradicts itself or the model.
    #[error(transparent)]
    Request(#[from] RequestError),
    /// The prompt and the room asked for new tokens do not fit the context.
    #[error(
        "prompt needs {prompt_tokens} tokens and {max_new_tokens} more are asked for, \
         the context holds {context_length}: shorten the prompt, show fewer pictures, or ask for a \
         shorter answer"
    )]
    ContextOverflow {
        /// Tokens of the prompt, image rows included.
        prompt_tokens: usize,
        /// New tokens the request asks room for.
        max_new_tokens: usize,
        /// Tokens that the context holds.
        context_length: usize,
    },
    /// The device is missing, failed, or computed something that is not a number.
    #[error(transparent)]
    Device(#[from] DeviceError),
}

impl Error {
    /// An [`Error::Io`] about `path`; for `map_err`.
    pub(crate) fn io(path: impl AsRef<Path>) -> impl FnOnce(std::io::Error) -> Self {
        let path = path.as_ref().to_path_buf();
        move |reason| Self::Io { path, reason }
    }
}
