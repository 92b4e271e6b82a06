//! What comes back.

use std::time::Duration;

use crate::generation::FinishReason;
use crate::kernels::KernelReport;

/// An answer and how it came about.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct Answer {
    /// The text.
    pub text: String,
    /// The ids it was decoded from, without the one that ended it.
    pub token_ids: Vec<u32>,
    /// Why it ended.
    pub finish: FinishReason,
    /// Tokens counted.
    pub usage: Usage,
    /// Time taken, by stage.
    pub timings: Timings,
    /// The device that computed it.
    pub device: String,
    /// Which implementation of each kernel ran.
    pub kernels: KernelReport,
}

/// Tokens of a request and its answer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, rows of pictures among them.
    pub prompt_tokens: usize,
    /// Rows of pictures in the prompt.
    pub image_tokens: usize,
    /// Tokens of the answer.
    pub generated_tokens: usize,
}

/// Time taken by each stage.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timings {
    /// Opening the model, once for all its answers.
    pub load: Duration,
    /// Preparing the pixels of the request's pictures.
    pub image: Duration,
    /// Encoding and projecting the request's pictures.
    pub encode: Duration,
    /// Reading the prompt, up to the first token.
    pub prefill: Duration,
    /// Every further token.
    pub decode: Duration,
}

impl Answer {
    /// Tokens a second after the first one; `None` for an answer of fewer than two.
    pub fn decode_tokens_per_second(&self) -> Option<f64> {
        let steps = self
            .usage
            .generated_tokens
            .checked_sub(1)
            .filter(|steps| *steps > 0)?;
        Some(steps as f64 / self.timings.decode.as_secs_f64())
    }
}
