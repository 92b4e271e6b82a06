//! Choosing a token.

use burn::tensor::{Int, Tensor, TensorData};

use super::beam::BeamOptions;
use super::rng::SplitMix64;
use super::rules::{Answered, LogitRules, log_softmax};
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
    /// The one that the likeliest of several answers goes on with. The text comes all at once, when
    /// it is known which.
    Beam(BeamOptions),
}

/// How tokens are drawn. The filters apply in the order of the fields.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleOptions {
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
            temperature: 1.0,
            top_k: None,
            top_p: 1.0,
            min_p: 0.0,
        }
    }
}

impl Sampling {
    /// # Errors
    /// [`RequestError::Parameter`] for a number outside its range.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Self::Greedy => Ok(()),
            Self::Sample(options) => Ok(options.check()?),
            Self::Beam(options) => options.check(),
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
            temperature,
            top_p,
            min_p,
            ..
        } = *self;
        within(
            "temperature",
            temperature,
            // A GPU may take a subnormal number for 0.
            temperature.is_normal() && temperature > 0.0,
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

/// A [`Sampling`] and [`LogitRules`] with the state of one answer.
#[derive(Debug, Clone)]
pub(super) struct Sampler {
    sampling: Sampling,
    rng: SplitMix64,
    rules: LogitRules,
    /// What the rules look at.
    pub(super) prompt: Vec<u32>,
    pub(super) end_ids: Vec<u32>,
    pub(super) max_new_tokens: usize,
}

impl Sampler {
    pub(super) fn new(sampling: Sampling, seed: u64, rules: LogitRules) -> Self {
        Self {
            sampling,
            rng: SplitMix64::new(seed),
            rules,
            prompt: Vec::new(),
            end_ids: Vec::new(),
            max_new_tokens: 0,
        }
    }

    /// Whether the largest logit decides, as it comes from the decoder.
    pub(super) fn is_plain(&self) -> bool {
        self.sampling == Sampling::Greedy && self.rules.is_neutral()
    }

    /// Chooses from `logits` `[1, vocab_size]` what follows on `answer`; the id stays on the device.
    /// Nonsense gives `vocab_size`.
    ///
    /// # Errors
    /// What the device says, where rules want the logits on the host.
    pub(super) fn choose<B: VlmBackend>(
        &mut self,
        logits: Tensor<B, 2>,
        answer: &[u32],
    ) -> Result<Tensor<B, 1, Int>, String> {
        let logits = match self.rules.is_neutral() {
            true => logits,
            false => self.ruled(logits, answer)?,
        };
        let Sampling::Sample(options) = self.sampling else {
            return Ok(kernels::argmax(logits));
        };
        let row = SampleRow {
            temperature: options.temperature,
            top_k: options.top_k.unwrap_or(usize::MAX),
            top_p: options.top_p,
            min_p: options.min_p,
            uniform: self.rng.uniform(),
        };
        Ok(kernels::sample(logits, &[row]))
    }

    /// Makes log-probabilities of the scores behind `answer`, and applies the rules to them.
    pub(super) fn log_probabilities(&self, scores: &mut [f32], answer: &[u32]) {
        log_softmax(scores);
        self.apply_rules(scores, answer);
    }

    fn ruled<B: VlmBackend>(
        &self,
        logits: Tensor<B, 2>,
        answer: &[u32],
    ) -> Result<Tensor<B, 2>, String> {
        let (device, shape) = (logits.device(), logits.dims());
        let mut scores = on_host(logits)?;
        self.apply_rules(&mut scores, answer);
        Ok(Tensor::from_data(TensorData::new(scores, shape), &device))
    }

    fn apply_rules(&self, scores: &mut [f32], answer: &[u32]) {
        let answered = Answered {
            prompt: &self.prompt,
            answer,
            end_ids: &self.end_ids,
            max_new_tokens: self.max_new_tokens,
        };
        self.rules.apply(scores, answered);
    }
}

/// Brings logits to the host, row by row.
///
/// # Errors
/// What the device says.
pub(super) fn on_host<B: VlmBackend>(logits: Tensor<B, 2>) -> Result<Vec<f32>, String> {
    let device = logits.device();
    let data = logits.try_into_data().map_err(|error| error.to_string())?;
    kernels::sync::<B>(&device)?;
    data.to_vec().map_err(|error| format!("{error:?}"))
}
