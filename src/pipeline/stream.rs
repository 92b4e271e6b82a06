//! An answer piece by piece.

use std::borrow::BorrowMut;

use super::answer::{Answer, Timings, Usage};
use super::multimodal::{MultimodalPipeline, ShownImages};
use super::request_plan::RequestPlan;
use crate::error::{DeviceError, Result};
use crate::generation::{FinishReason, Generation, Sequence};
use crate::kernels::{KernelReport, VlmBackend};

/// An iterator over the text of an answer, in whole characters.
///
/// It works only while it is asked: dropping it ends the answer and frees its cache. An error is
/// its last item.
///
/// # Examples
/// ```no_run
/// # use burn_vlm::{AskRequest, MultimodalPipeline, backend::Cpu};
/// # let pipeline = MultimodalPipeline::<Cpu>::open("models/vicuna", &Default::default())?;
/// let mut stream = pipeline.stream(&AskRequest::text("Why is the sky blue?"))?;
/// for piece in &mut stream {
///     print!("{}", piece?);
/// }
/// println!("\n{:?}", stream.finish()?.usage);
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug)]
pub struct AnswerStream<'a, B: VlmBackend, S: BorrowMut<Sequence<B>> = Sequence<B>> {
    pub(super) generation: Generation<'a, B, S>,
    usage: Usage,
    timings: Timings,
    /// What encoded the pictures of this request.
    image_kernels: KernelReport,
    device: String,
    /// What went wrong, once something has.
    failure: Option<String>,
}

impl<'a, B: VlmBackend, S: BorrowMut<Sequence<B>>> AnswerStream<'a, B, S> {
    pub(super) fn new(
        pipeline: &'a MultimodalPipeline<B>,
        sequence: S,
        plan: RequestPlan,
        shown: &ShownImages<B>,
    ) -> Result<Self> {
        let mut image_kernels = shown.project_kernels.clone();
        for image in shown.of_request() {
            image_kernels.merge(image.kernels().clone());
        }
        let mut timings = pipeline.timings(shown.of_request());
        timings.encode += shown.project_time;
        let spans = plan.prompt.image_spans.iter();
        Ok(Self {
            usage: Usage {
                prompt_tokens: plan.prompt.ids.len(),
                image_tokens: spans.map(|span| span.len).sum(),
                generated_tokens: 0,
            },
            timings,
            image_kernels,
            device: pipeline.device_name(),
            generation: Generation::new(
                pipeline.decoder(plan.adapter.as_deref())?,
                pipeline.tokenizer(),
                sequence,
                shown.input.clone(),
                plan.options,
            )?,
            failure: None,
        })
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        self.generation.text()
    }

    /// Why the answer ended, once it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.generation
            .finish_reason()
            .filter(|_| self.failure.is_none())
    }

    /// Generates what is left and returns the whole answer.
    ///
    /// # Errors
    ///
    /// As [`MultimodalPipeline::answer`].
    pub fn finish(mut self) -> Result<Answer> {
        for piece in &mut self {
            piece?;
        }
        self.so_far()
    }

    /// The answer as it stands, or what went wrong, which may have been an earlier item.
    pub(super) fn so_far(&self) -> Result<Answer> {
        if let Some(reason) = &self.failure {
            let reason = reason.clone();
            return Err(DeviceError::Failed {
                stage: "stream",
                reason,
            }
            .into());
        }
        let generation = &self.generation;
        let spent = generation.timings();
        let mut kernels = self.image_kernels.clone();
        kernels.merge(generation.kernels().clone());
        Ok(Answer {
            text: generation.text().to_string(),
            token_ids: generation.token_ids().to_vec(),
            finish: generation
                .finish_reason()
                .unwrap_or(FinishReason::Cancelled),
            usage: Usage {
                generated_tokens: generation.token_ids().len(),
                ..self.usage
            },
            timings: Timings {
                prefill: spent.prefill,
                decode: spent.decode,
                ..self.timings
            },
            device: self.device.clone(),
            kernels,
        })
    }
}

impl<B: VlmBackend, S: BorrowMut<Sequence<B>>> Iterator for AnswerStream<'_, B, S> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        let item = self.generation.next();
        if let Some(Err(error)) = &item {
            self.failure = Some(error.to_string());
        }
        item
    }
}
