//! A beam search and the sequences it follows in a cache.

use burn::tensor::Tensor;

use super::beam::{BeamOptions, BeamSearch};
use super::sampler::Sampler;
use super::sequence::Sequence;
use super::stop::{FinishReason, StopRules};
use crate::error::{DeviceError, Result};
use crate::kernels::VlmBackend;
use crate::nn::LlamaDecoder;
use crate::text::TextStream;

/// The beams of one answer. What they have in common lies in the cache once: the prompt in a slot
/// that all see, and a beam that two go on from is copied from the prompt's end on.
#[derive(Debug)]
pub(super) struct Beams<B: VlmBackend> {
    search: BeamSearch,
    /// One a beam; none before the first step.
    sequences: Vec<Sequence<B>>,
    /// The text of each, which stop strings are looked for in.
    texts: Vec<TextStream>,
}

impl<B: VlmBackend> Beams<B> {
    pub(super) fn new(options: BeamOptions, sampler: &Sampler, text: &TextStream) -> Self {
        let num_end_ids = sampler.end_ids.len();
        Self {
            search: BeamSearch::new(options, num_end_ids, sampler.max_new_tokens),
            sequences: Vec::new(),
            texts: vec![text.clone(); options.num_beams],
        }
    }

    /// The best answer so far.
    pub(super) fn best(&self) -> &[u32] {
        self.search.best()
    }

    /// Reads the last token of every beam, and returns their logits: `[num_beams, vocab_size]`.
    pub(super) fn read(&mut self, decoder: &LlamaDecoder<B>) -> Result<Tensor<B, 2>> {
        let last = |beam: &super::beam::Beam| beam.token_ids[beam.token_ids.len() - 1];
        let ids: Vec<u32> = self.search.running().iter().map(last).collect();
        let mut sequences: Vec<&mut Sequence<B>> = self.sequences.iter_mut().collect();
        Sequence::step_together(decoder, &mut sequences, &ids)
    }

    /// Takes in the logits behind every beam, one row behind the prompt, which `origin` holds.
    /// Returns whether the search goes on.
    ///
    /// # Errors
    /// [`DeviceError::NotFinite`] where no token can be chosen from them.
    pub(super) fn advance(
        &mut self,
        logits: Vec<f32>,
        vocab_size: usize,
        origin: &mut Sequence<B>,
        sampler: &Sampler,
        stop: &StopRules,
    ) -> Result<bool> {
        for sequence in &mut self.sequences {
            sequence.commit();
        }
        let mut rows: Vec<Vec<f32>> = logits.chunks(vocab_size).map(<[f32]>::to_vec).collect();
        for (row, beam) in rows.iter_mut().zip(self.search.running()) {
            sampler.log_probabilities(row, &beam.token_ids);
            let is_score = |score: &f32| score.is_finite();
            if row.iter().any(|score| score.is_nan()) || !row.iter().any(is_score) {
                return Err(DeviceError::NotFinite { stage: "decode" }.into());
            }
        }
        // Nothing comes of scores that are none, so only now is what they were computed from held.
        origin.commit();
        let num_beams = self.texts.len();
        // Behind the prompt all beams are alike.
        let scores: Vec<&[f32]> = rows
            .iter()
            .map(Vec::as_slice)
            .cycle()
            .take(num_beams)
            .collect();
        let texts = &self.texts;
        let end = |parent: usize, id: u32| {
            stop.at_token(id)
                .or_else(|| stop_string(&texts[parent], id, stop))
        };
        let goes_on = self.search.advance(&scores, end);
        if goes_on {
            self.reorder(origin);
        }
        Ok(goes_on)
    }

    /// Makes sequences and texts those that the beams go on from.
    fn reorder(&mut self, origin: &mut Sequence<B>) {
        let running = self.search.running();
        let parents: Vec<usize> = running.iter().map(|beam| beam.parent).collect();
        let mut texts = Vec::new();
        for beam in running {
            let mut text = self.texts[beam.parent].clone();
            text.push(beam.token_ids[beam.token_ids.len() - 1]);
            texts.push(text);
        }
        self.texts = texts;
        self.sequences = match self.sequences.is_empty() {
            true => parents.iter().map(|_| origin.fork()).collect(),
            false => reordered(std::mem::take(&mut self.sequences), &parents),
        };
    }
}

/// The stop string that `id` completes behind `text`.
fn stop_string(text: &TextStream, id: u32, stop: &StopRules) -> Option<FinishReason> {
    if stop.stop_strings.is_empty() {
        return None;
    }
    let mut text = text.clone();
    text.push(id);
    text.stopped().map(FinishReason::Stop)
}

/// The sequences that `parents` name, each as often as it is named: the last time itself, before
/// that as a fork. Those that nobody names are gone first, so that their slots are free.
fn reordered<B: VlmBackend>(sequences: Vec<Sequence<B>>, parents: &[usize]) -> Vec<Sequence<B>> {
    let mut kept: Vec<Option<Sequence<B>>> = Vec::new();
    for (index, sequence) in sequences.into_iter().enumerate() {
        kept.push(parents.contains(&index).then_some(sequence));
    }
    let next = parents.iter().enumerate().map(|(place, parent)| {
        let is_named_again = parents[place + 1..].contains(parent);
        let sequence = &mut kept[*parent];
        let next = match is_named_again {
            true => sequence.as_mut().map(Sequence::fork),
            false => sequence.take(),
        };
        next.expect("a sequence is taken the last time it is named")
    });
    next.collect()
}
