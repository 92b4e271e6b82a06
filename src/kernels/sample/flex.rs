//! [`sample()`](super::sample()) on the CPU, without sorting the vocabulary.

use std::cmp::{Ordering, Reverse};
use std::collections::BinaryHeap;

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::SampleRow;
use crate::kernels::LaunchRefused;
use crate::kernels::argmax::flex::Largest;
use crate::kernels::cpu::{Kernel, Simd, Tier, activations, exp, token_ids};

pub(in crate::kernels) fn run(
    logits: &FlexTensor,
    rows: &[SampleRow],
) -> Result<FlexTensor, LaunchRefused> {
    let [_, vocab_size] = logits.shape().dims();
    let tier = Tier::best();
    let values = activations(logits)?;
    let ids = values
        .par_chunks(vocab_size.max(1))
        .zip(rows)
        .map(|(logits, row)| draw(tier, logits, row).unwrap_or(vocab_size));
    Ok(token_ids(ids.collect()))
}

/// A token and how likely it is, not normalised: the most likely has 1.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    logit: f32,
    weight: f32,
    id: usize,
}

// The most likely is the greatest; of equal ones the lowest id. Logits decide: at a high
// temperature weights that differ round to the same number.
impl Ord for Candidate {
    fn cmp(&self, other: &Self) -> Ordering {
        // A row that holds NaN has no candidates.
        let by_logit = self.logit.partial_cmp(&other.logit);
        by_logit
            .unwrap_or(Ordering::Equal)
            .then(Reverse(self.id).cmp(&Reverse(other.id)))
    }
}

impl PartialOrd for Candidate {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Candidate {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl Eq for Candidate {}

/// None from a row that holds nonsense, or nothing that may be drawn.
fn draw(tier: Tier, logits: &[f32], row: &SampleRow) -> Option<usize> {
    let (_, largest) = tier.run(Largest { logits })?;
    let mut weights = vec![0.0; logits.len()];
    let temperature = row.temperature;
    tier.run(Weigh {
        logits,
        largest,
        temperature,
        weights: &mut weights,
    });

    let kept = keep(logits, &weights, row);
    let total: f64 = kept
        .iter()
        .map(|candidate| f64::from(candidate.weight))
        .sum();
    let drawn = total * f64::from(row.uniform);
    let mut passed = 0.0;
    let is_drawn = |candidate: &&Candidate| {
        passed += f64::from(candidate.weight);
        passed > drawn
    };
    // Rounding may carry the draw past the last token.
    kept.iter()
        .find(is_drawn)
        .or(kept.last())
        .map(|candidate| candidate.id)
}

struct Weigh<'a> {
    logits: &'a [f32],
    largest: f32,
    temperature: f32,
    weights: &'a mut [f32],
}

impl Kernel for Weigh<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        // The largest becomes zero before the division, or a small temperature would overflow.
        for (weight, logit) in self.weights.iter_mut().zip(self.logits) {
            *weight = exp((logit - self.largest) / self.temperature);
        }
    }
}

/// What may be drawn, from the most to the least likely.
fn keep(logits: &[f32], weights: &[f32], row: &SampleRow) -> Vec<Candidate> {
    let pairs = logits.iter().zip(weights).enumerate();
    let candidates = pairs.map(|(id, (&logit, &weight))| Candidate { logit, weight, id });
    // A heap orders only what is taken from it, and most draws take a few dozen.
    let mut heap: BinaryHeap<_> = candidates
        .filter(|candidate| candidate.weight > 0.0)
        .collect();
    let mut total: f64 = heap
        .iter()
        .map(|candidate| f64::from(candidate.weight))
        .sum();
    let mut most_likely = Vec::new();
    if row.top_k < heap.len() {
        most_likely.extend(std::iter::from_fn(|| heap.pop()).take(row.top_k));
        heap.clear();
        total = most_likely
            .iter()
            .map(|candidate| f64::from(candidate.weight))
            .sum();
    }
    let mut before = 0.0;
    let nucleus = total * f64::from(row.top_p);
    let ordered = most_likely
        .into_iter()
        .chain(std::iter::from_fn(|| heap.pop()));
    // The most likely token weighs 1, so `min_p` is a weight.
    let is_kept = |candidate: &Candidate| {
        let is_kept = before < nucleus && candidate.weight >= row.min_p;
        before += f64::from(candidate.weight);
        is_kept
    };
    ordered.take_while(is_kept).collect()
}
