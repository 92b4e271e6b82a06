//! An answer, piece by piece, whose backend is chosen at run time.

use super::erased::ErasedStream;
use crate::error::Result;
use crate::generation::FinishReason;
use crate::pipeline::answer::Answer;

/// The answer of an [`AnyPipeline`](super::AnyPipeline) or an [`AnySession`](super::AnySession),
/// piece by piece. See [`AnswerStream`](crate::AnswerStream) and
/// [`SessionStream`](crate::SessionStream).
#[derive(Debug)]
pub struct AnyAnswerStream<'a> {
    stream: Box<dyn ErasedStream + 'a>,
}

impl<'a> AnyAnswerStream<'a> {
    pub(super) fn new(stream: Box<dyn ErasedStream + 'a>) -> Self {
        Self { stream }
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        self.stream.text()
    }

    /// Why the answer ended, once it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.stream.finish_reason()
    }

    /// Generates what is left and returns the whole answer.
    ///
    /// # Errors
    ///
    /// As [`AnyPipeline::answer`](super::AnyPipeline::answer).
    pub fn finish(self) -> Result<Answer> {
        self.stream.finish()
    }
}

impl Iterator for AnyAnswerStream<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        self.stream.next()
    }
}
