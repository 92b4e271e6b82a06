//! Decoding by hand, step by step, to compare with what the pipeline does by itself.

use std::ops::ControlFlow;

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use burn_vlm::generation::{DecoderInput, InputImage, Sequence};
use burn_vlm::kernels::{SplicedRows, VlmBackend};
use burn_vlm::nn::{KvCache, LlamaDecoder, LogitsFor};
use burn_vlm::{AskRequest, EncodedImage, MultimodalPipeline};

use crate::reference::{largest_difference, values};

/// Largest difference of a logit between two ways to compute the same.
pub(crate) const TOLERANCE: f32 = 1e-4;

/// A pipeline with the pictures and the prompt of one request.
pub(crate) struct Case<B: VlmBackend> {
    pub(crate) pipeline: MultimodalPipeline<B>,
    pub(crate) input: DecoderInput<B>,
    /// The adapter it is read with.
    pub(crate) adapter: Option<String>,
}

impl<B: VlmBackend> Case<B> {
    /// The prompt of a request whose pictures, in order, are `images`, to a model that does not read
    /// the question into their rows.
    pub(crate) fn new(
        pipeline: MultimodalPipeline<B>,
        request: &AskRequest<EncodedImage<B>>,
        images: &[EncodedImage<B>],
    ) -> Result<Self> {
        Self::asked(pipeline, request, images, "")
    }

    /// The same to any model; the request asks `question`.
    pub(crate) fn asked(
        pipeline: MultimodalPipeline<B>,
        request: &AskRequest<EncodedImage<B>>,
        images: &[EncodedImage<B>],
        question: &str,
    ) -> Result<Self> {
        let prompt = pipeline.prompt(request)?;
        let spans = prompt.image_spans.iter();
        // The spans of a picture take up its rows from first to last.
        let mut taken = vec![0; images.len()];
        let images = spans.map(|span| -> Result<_> {
            let rows = pipeline.image_rows(&images[span.image], question)?;
            let first = taken[span.image];
            taken[span.image] += span.len;
            Ok(InputImage {
                key: span.image as u64,
                place: SplicedRows {
                    start: span.start,
                    rows: rows.slice_dim(0, first..first + span.len),
                },
            })
        });
        let input = DecoderInput {
            images: images.collect::<Result<_>>()?,
            token_ids: prompt.ids,
        };
        Ok(Self {
            pipeline,
            input,
            adapter: None,
        })
    }

    /// The prompt of a question without a picture.
    pub(crate) fn text(pipeline: MultimodalPipeline<B>, question: &str) -> Result<Self> {
        Self::new(pipeline, &AskRequest::new().user(question), &[])
    }

    fn decoder(&self) -> &LlamaDecoder<B> {
        let decoder = self.pipeline.decoder(self.adapter.as_deref());
        decoder.expect("the case names an adapter that was loaded")
    }

    pub(crate) fn vocab_size(&self) -> usize {
        self.pipeline.spec().config.decoder.vocab_size
    }

    /// An empty cache of sequences of up to `capacity` tokens.
    pub(crate) fn cache(&self, num_slots: usize, capacity: usize) -> KvCache<B> {
        let decoder = self.decoder();
        decoder.new_cache(num_slots, capacity, self.pipeline.device())
    }

    pub(crate) fn sequence(&self, capacity: usize) -> Sequence<B> {
        let decoder = self.decoder();
        Sequence::alone(decoder, capacity, capacity, self.pipeline.device())
    }

    /// The rows that the decoder reads: embeddings, and pictures in their places.
    pub(crate) fn embeds(&self, input: &DecoderInput<B>) -> Tensor<B, 2> {
        let images = input.images.iter();
        let images = images.map(|image| image.place.clone());
        let decoder = self.decoder();
        decoder.embed(&input.token_ids, images.collect())
    }

    /// The logits of every token of `input`, from one forward into an empty cache.
    pub(crate) fn whole(&self, input: &DecoderInput<B>) -> Result<Vec<f32>> {
        let mut cache = self.cache(1, input.len());
        cache.rotate_for(0, input.len());
        let decoder = self.decoder();
        let logits = decoder.prefill(self.embeds(input), &mut cache, 0, LogitsFor::All)?;
        values(logits.context("the logits of every token were asked for")?)
    }

    /// The logits behind the last token of `input`, read into `sequence`.
    pub(crate) fn read(
        &self,
        sequence: &mut Sequence<B>,
        input: &DecoderInput<B>,
    ) -> Result<Vec<f32>> {
        let decoder = self.decoder();
        let logits = sequence.read(decoder, input, || ControlFlow::Continue(()))?;
        let logits = values(logits.context("nobody stopped the reading")?)?;
        sequence.commit();
        Ok(logits)
    }

    /// As [`read`](Self::read), for one more token.
    pub(crate) fn step(&self, sequence: &mut Sequence<B>, token_id: u32) -> Result<Vec<f32>> {
        let decoder = self.decoder();
        let logits = sequence.step(decoder, token_id, || ControlFlow::Continue(()))?;
        let logits = values(logits.context("nobody stopped the reading")?)?;
        sequence.commit();
        Ok(logits)
    }

    /// The tokens of a greedy answer, and the logits that each was chosen from.
    pub(crate) fn greedy(
        &self,
        sequence: &mut Sequence<B>,
        num_tokens: usize,
    ) -> Result<(Vec<u32>, Vec<f32>)> {
        let mut logits = self.read(sequence, &self.input)?;
        let (mut token_ids, mut all) = (vec![best(&logits)], logits.clone());
        while token_ids.len() < num_tokens {
            logits = self.step(sequence, token_ids[token_ids.len() - 1])?;
            token_ids.push(best(&logits));
            all.extend(&logits);
        }
        Ok((token_ids, all))
    }

    /// The prompt with tokens behind it.
    pub(crate) fn input_with(&self, token_ids: &[u32]) -> DecoderInput<B> {
        let mut input = self.input.clone();
        input.token_ids.extend_from_slice(token_ids);
        input
    }
}

/// The token with the largest logit; the first of equal ones.
pub(crate) fn best(logits: &[f32]) -> u32 {
    let mut best = 0;
    for (id, logit) in logits.iter().enumerate() {
        if *logit > logits[best] {
            best = id;
        }
    }
    best as u32
}

/// Asserts that rows of logits are equal but for rounding, and choose the same tokens.
#[track_caller]
pub(crate) fn assert_same_logits(what: &str, ours: &[f32], theirs: &[f32], vocab_size: usize) {
    let difference =
        largest_difference(ours, theirs).unwrap_or_else(|error| panic!("{what}: {error}"));
    assert!(
        difference <= TOLERANCE,
        "{what}: logits differ by {difference:.2e}"
    );
    let rows = ours
        .chunks_exact(vocab_size)
        .zip(theirs.chunks_exact(vocab_size));
    for (position, (ours, theirs)) in rows.enumerate() {
        assert_eq!(
            best(ours),
            best(theirs),
            "{what}: token chosen at row {position}"
        );
    }
}
