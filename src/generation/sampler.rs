//! Choosing a token.

use std::collections::BTreeSet;

use burn::tensor::{IndexingUpdateOp, Int, Tensor, TensorData};

use super::rng::SplitMix64;
use crate::error::{RequestError, Result};
use crate::kernels::{self, SampleRow, VlmBackend};

/// How the next token is chosen.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
#[non_exhaustive]
pub enum Sampling {
    /// The most likely one; of equal ones the lowest id.
    #[default]
    Greedy,
    /// One drawn from the distribution.
    Sample(SampleOptions),
}

/// How tokens are drawn. The filters apply in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOptions {
    /// The logit of a token that this answer already holds is divided by this where it is positive
    /// and multiplied where it is negative (Keskar et al. 2019); 1 for no penalty. Tokens of the
    /// prompt are not penalised.
    pub repetition_penalty: f32,
    /// Divides the logits; above 0, and no subnormal number. Small is close to greedy.
    pub temperature: f32,
    /// Only the `top_k` most likely tokens; `None` for all.
    pub top_k: Option<usize>,
    /// Of these, only the most likely ones that together reach this probability; 1 for all.
    pub top_p: f32,
    /// Of these, only those at least this likely relative to the most likely one; 0 for all.
    pub min_p: f32,
}

impl Default for SampleOptions {
    /// The plain distribution.
    fn default() -> Self {
        Self {
            repetition_penalty: 1.0,
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
        }
    }
}

impl SampleOptions {
    fn check(&self) -> Result<(), RequestError> {
        let within = |parameter, found: f32, is_good: bool, expected| match is_good {
            true => Ok(()),
            false => Err(RequestError::Parameter {
                parameter,
                found: found.to_string(),
                expected,
            }),
        };
        let Self {
            repetition_penalty: penalty,
            temperature,
            top_p,
            min_p,
            ..
        } = *self;
        // A GPU may take a subnormal number for 0.
        let is_positive = |value: f32| value.is_normal() && value > 0.0;
        within(
            "repetition_penalty",
            penalty,
            is_positive(penalty),
            "a finite number above 0",
        )?;
        within(
            "temperature",
            temperature,
            is_positive(temperature),
            "a finite number above 0, or greedy sampling",
        )?;
        within(
            "top_p",
            top_p,
            top_p > 0.0 && top_p <= 1.0,
            "a number above 0 and up to 1",
        )?;
        within(
            "min_p",
            min_p,
            (0.0..=1.0).contains(&min_p),
            "a number from 0 to 1",
        )?;
        match self.top_k {
            Some(0) => Err(RequestError::Parameter {
                parameter: "top_k",
                found: "0".to_string(),
                expected: "at least 1, or none",
            }),
            _ => Ok(()),
        }
    }
}

/// A [`Sampling`] with the state of one answer.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    sampling: Sampling,
    rng: SplitMix64,
    chosen: BTreeSet<u32>,
}

impl Sampler {
    /// # Errors
    ///
    /// [`RequestError::Parameter`] for a number outside its range.
    pub(super) fn new(sampling: Sampling, seed: u64) -> Result<Self> {
        if let Sampling::Sample(options) = &sampling {
            options.check()?;
        }
        Ok(Self {
            sampling,
            rng: SplitMix64::new(seed),
            chosen: BTreeSet::new(),
        })
    }

    /// Chooses from `logits` `[1, vocab_size]`; the id stays on the device. Nonsense gives
    /// `vocab_size`.
    pub(super) fn choose<B: VlmBackend>(&mut self, logits: Tensor<B, 2>) -> Tensor<B, 1, Int> {
        let Sampling::Sample(options) = self.sampling else {
            return kernels::argmax(logits);
        };
        let row = SampleRow {
            temperature: options.temperature,
            top_k: options.top_k.unwrap_or(usize::MAX),
            top_p: options.top_p,
            min_p: options.min_p,
            uniform: self.rng.uniform(),
        };
        kernels::sample(self.penalised(logits, options.repetition_penalty), &[row])
    }

    /// Remembers what was chosen.
    pub(super) fn note(&mut self, id: u32) {
        self.chosen.insert(id);
    }

    fn penalised<B: VlmBackend>(&self, logits: Tensor<B, 2>, penalty: f32) -> Tensor<B, 2> {
        if penalty == 1.0 || self.chosen.is_empty() {
            return logits;
        }
        let ids: Vec<i32> = self.chosen.iter().map(|id| *id as i32).collect();
        let shape = [1, ids.len()];
        let ids = Tensor::<B, 2, Int>::from_data(TensorData::new(ids, shape), &logits.device());
        let seen = logits.clone().gather(1, ids.clone());
        let is_positive = seen.clone().greater_elem(0.0);
        let penalised = seen.clone().mul_scalar(penalty);
        let penalised = penalised.mask_where(is_positive, seen.clone().div_scalar(penalty));
        logits.scatter(1, ids, penalised - seen, IndexingUpdateOp::Add)
    }
}
