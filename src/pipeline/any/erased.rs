//! The pipeline, its sessions and its answers, without the type of their backend.
//!
//! Each method is the one of the same name on the typed side, where it is documented.

use std::any::Any;
use std::fmt::Debug;
use std::ops::ControlFlow;
use std::path::Path;
use std::time::Duration;

use super::image::{AnyEncodedImage, AnyImage};
use crate::error::Result;
use crate::generation::FinishReason;
use crate::image::{ImageInput, ImageSize, PixelValues};
use crate::kernels::VlmBackend;
use crate::models::{ImageLayout, ModelSpec};
use crate::pipeline::answer::Answer;
use crate::pipeline::multimodal::MultimodalPipeline;
use crate::pipeline::request::AskRequest;
use crate::pipeline::session::{Session, SessionStream};
use crate::pipeline::stream::AnswerStream;
use crate::pipeline::warm_up::{WarmUp, WarmUpProgress};
use crate::text::{Message, PromptTokens, Tokenizer};
use crate::weights::LoadReport;

/// A [`MultimodalPipeline`] of some backend.
pub(super) trait ErasedPipeline: Any + Debug + Send + Sync {
    fn layout(&self, size: ImageSize) -> Result<ImageLayout>;
    fn encode(&self, image: &ImageInput) -> Result<AnyEncodedImage>;
    fn preprocess(&self, image: &ImageInput) -> Result<PixelValues>;
    fn stream(&self, request: &AskRequest<AnyImage>) -> Result<Box<dyn ErasedStream + '_>>;
    fn ask_batch(&self, requests: &[AskRequest<AnyImage>]) -> Vec<Result<Answer>>;
    fn session(&self) -> Box<dyn ErasedSession>;
    fn warm_up(
        &self,
        progress: &mut dyn FnMut(WarmUpProgress) -> ControlFlow<()>,
    ) -> Result<WarmUp>;
    fn save_weights(&self, path: &Path) -> Result<()>;
    fn prompt(&self, request: &AskRequest<AnyImage>) -> Result<PromptTokens>;
    fn adapters(&self) -> Vec<&str>;
    fn spec(&self) -> &ModelSpec;
    fn tokenizer(&self) -> &Tokenizer;
    fn device_name(&self) -> String;
    fn context_length(&self) -> usize;
    fn load_report(&self) -> &LoadReport;
    fn load_time(&self) -> Duration;
}

impl<B: VlmBackend> ErasedPipeline for MultimodalPipeline<B> {
    fn layout(&self, size: ImageSize) -> Result<ImageLayout> {
        self.layout(size)
    }

    fn encode(&self, image: &ImageInput) -> Result<AnyEncodedImage> {
        self.encode(image).map(AnyEncodedImage::from)
    }

    fn preprocess(&self, image: &ImageInput) -> Result<PixelValues> {
        self.preprocess(image)
    }

    fn stream(&self, request: &AskRequest<AnyImage>) -> Result<Box<dyn ErasedStream + '_>> {
        Ok(Box::new(self.stream(request)?))
    }

    fn ask_batch(&self, requests: &[AskRequest<AnyImage>]) -> Vec<Result<Answer>> {
        self.ask_batch(requests)
    }

    fn session(&self) -> Box<dyn ErasedSession> {
        Box::new(self.session())
    }

    fn warm_up(
        &self,
        progress: &mut dyn FnMut(WarmUpProgress) -> ControlFlow<()>,
    ) -> Result<WarmUp> {
        self.warm_up(progress)
    }

    fn save_weights(&self, path: &Path) -> Result<()> {
        self.save_weights(path)
    }

    fn prompt(&self, request: &AskRequest<AnyImage>) -> Result<PromptTokens> {
        self.prompt(request)
    }

    fn adapters(&self) -> Vec<&str> {
        self.adapters().collect()
    }

    fn spec(&self) -> &ModelSpec {
        self.spec()
    }

    fn tokenizer(&self) -> &Tokenizer {
        self.tokenizer()
    }

    fn device_name(&self) -> String {
        self.device_name()
    }

    fn context_length(&self) -> usize {
        self.context_length()
    }

    fn load_report(&self) -> &LoadReport {
        self.load_report()
    }

    fn load_time(&self) -> Duration {
        self.load_time()
    }
}

/// A [`Session`] of some backend.
pub(super) trait ErasedSession: Debug + Send + Sync {
    fn stream(&mut self, request: &AskRequest<AnyImage>) -> Result<Box<dyn ErasedStream + '_>>;
    fn messages(&self) -> &[Message];
    fn undo(&mut self) -> bool;
    fn cached_tokens(&self) -> usize;
}

impl<B: VlmBackend> ErasedSession for Session<B> {
    fn stream(&mut self, request: &AskRequest<AnyImage>) -> Result<Box<dyn ErasedStream + '_>> {
        Ok(Box::new(self.stream(request)?))
    }

    fn messages(&self) -> &[Message] {
        self.messages()
    }

    fn undo(&mut self) -> bool {
        self.undo()
    }

    fn cached_tokens(&self) -> usize {
        self.cached_tokens()
    }
}

/// An [`AnswerStream`] or a [`SessionStream`] of some backend.
pub(super) trait ErasedStream:
    Iterator<Item = Result<String>> + Debug + Send + Sync
{
    fn text(&self) -> &str;
    fn finish_reason(&self) -> Option<FinishReason>;
    fn finish(self: Box<Self>) -> Result<Answer>;
}

impl<B: VlmBackend> ErasedStream for AnswerStream<'_, B> {
    fn text(&self) -> &str {
        self.text()
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason()
    }

    fn finish(self: Box<Self>) -> Result<Answer> {
        (*self).finish()
    }
}

impl<B: VlmBackend> ErasedStream for SessionStream<'_, B> {
    fn text(&self) -> &str {
        self.text()
    }

    fn finish_reason(&self) -> Option<FinishReason> {
        self.finish_reason()
    }

    fn finish(self: Box<Self>) -> Result<Answer> {
        (*self).finish()
    }
}
