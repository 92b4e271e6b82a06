//! A conversation on a pipeline whose backend is chosen at run time.

use super::erased::ErasedSession;
use super::image::AnyImage;
use super::pipeline::AnyPipeline;
use super::stream::AnyAnswerStream;
use crate::error::Result;
use crate::pipeline::answer::Answer;
use crate::pipeline::request::AskRequest;
use crate::text::Message;

/// A conversation on an [`AnyPipeline`]. See [`Session`](crate::Session).
#[derive(Debug)]
pub struct AnySession {
    pipeline: AnyPipeline,
    session: Box<dyn ErasedSession>,
}

impl AnySession {
    pub(super) fn new(pipeline: AnyPipeline, session: Box<dyn ErasedSession>) -> Self {
        Self { pipeline, session }
    }

    /// Asks one more question. See [`Session::ask`](crate::Session::ask).
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn ask(&mut self, question: &str) -> Result<Answer> {
        self.turn(&AskRequest::text(question))
    }

    /// Adds the request's messages to the conversation and answers. See
    /// [`Session::turn`](crate::Session::turn).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn turn<I: Clone + Into<AnyImage>>(&mut self, request: &AskRequest<I>) -> Result<Answer> {
        self.stream(request)?.finish()
    }

    /// As [`turn`](Self::turn), piece by piece. See [`Session::stream`](crate::Session::stream).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stream<I: Clone + Into<AnyImage>>(
        &mut self,
        request: &AskRequest<I>,
    ) -> Result<AnyAnswerStream<'_>> {
        let stream = self.session.stream(&AnyImage::request(request))?;
        Ok(AnyAnswerStream::new(stream))
    }

    /// What was said so far.
    pub fn messages(&self) -> &[Message] {
        self.session.messages()
    }

    /// Takes the last turn back. See [`Session::undo`](crate::Session::undo).
    pub fn undo(&mut self) -> bool {
        self.session.undo()
    }

    /// Tokens that the cache holds.
    pub fn cached_tokens(&self) -> usize {
        self.session.cached_tokens()
    }

    /// The pipeline it runs on.
    pub fn pipeline(&self) -> &AnyPipeline {
        &self.pipeline
    }
}
