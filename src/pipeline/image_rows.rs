//! What the decoder reads of pictures, with a question or without one.

use std::time::{Duration, Instant};

use burn::tensor::Tensor;

use super::encoded_image::{EncodedImage, next_key};
use super::load_options::KernelPolicy;
use super::multimodal::MultimodalPipeline;
use crate::error::Result;
use crate::kernels::{KernelReport, KernelTrace, VlmBackend};
use crate::nn::ProjectorInputs;

/// What was made of a picture, as far as it is the same whatever is asked.
#[derive(Debug, Clone)]
pub(super) enum ImageContent<B: VlmBackend> {
    /// The rows that the decoder reads: `[num_rows, hidden_size]`.
    Rows(Tensor<B, 2>),
    /// What a projector reads together with the question:
    /// `[num_tiles, num_features, vision_hidden_size]`.
    Features(Tensor<B, 3>),
}

/// The rows of the pictures of one request.
#[derive(Debug)]
pub(super) struct RequestRows<B: VlmBackend> {
    pub(super) images: Vec<KeyedRows<B>>,
    /// What it took to project those that depend on the question.
    pub(super) time: Duration,
    pub(super) kernels: KernelReport,
}

/// The rows of a picture, and what tells them from all others.
#[derive(Debug)]
pub(super) struct KeyedRows<B: VlmBackend> {
    pub(super) key: u64,
    pub(super) rows: Tensor<B, 2>,
}

impl<B: VlmBackend> MultimodalPipeline<B> {
    /// The rows of a picture as the decoder reads them when `question` is asked. Few models make
    /// them depend on it.
    ///
    /// # Shapes
    /// - output: `[num_rows, hidden_size]`
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn image_rows(&self, image: &EncodedImage<B>, question: &str) -> Result<Tensor<B, 2>> {
        image.require_owner(self)?;
        let question = self.text_processor().question_ids(question)?;
        let (rows, _) = self.project(image.content(), image.layout().inputs(&question))?;
        Ok(rows)
    }

    /// The rows of all pictures of a request. Those that depend on the question get a new key each
    /// time: a cache that read them for another question has read other rows.
    pub(super) fn request_rows(
        &self,
        images: &[EncodedImage<B>],
        question: &[u32],
    ) -> Result<RequestRows<B>> {
        let started = Instant::now();
        let (mut of_request, mut reads_question) = (Vec::new(), false);
        let mut kernels = KernelReport::default();
        for image in images {
            let inputs = image.layout().inputs(question);
            let (rows, traced) = self.project(image.content(), inputs)?;
            let key = match image.content() {
                ImageContent::Rows(_) => image.key(),
                ImageContent::Features(_) => next_key(),
            };
            reads_question |= matches!(image.content(), ImageContent::Features(_));
            kernels.merge(traced);
            of_request.push(KeyedRows { key, rows });
        }
        Ok(RequestRows {
            images: of_request,
            time: match reads_question {
                true => started.elapsed(),
                false => Duration::ZERO,
            },
            kernels,
        })
    }

    /// The rows of a picture, and which kernels ran for this question.
    pub(super) fn project(
        &self,
        content: &ImageContent<B>,
        inputs: ProjectorInputs<'_>,
    ) -> Result<(Tensor<B, 2>, KernelReport)> {
        let features = match content {
            ImageContent::Rows(rows) => return Ok((rows.clone(), KernelReport::default())),
            ImageContent::Features(features) => features.clone(),
        };
        let model = self.model();
        let (rows, kernels) = KernelTrace::collect(|| model.image_rows(features, inputs));
        if self.kernel_policy() == KernelPolicy::Strict {
            kernels.check_strict()?;
        }
        Ok((rows.ok_or_else(|| self.text_only(1))?, kernels))
    }
}
