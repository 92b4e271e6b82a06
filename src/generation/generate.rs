//! The loop of generation, one token a step.

use std::borrow::BorrowMut;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::{ElementConversion, Int, Tensor};

use super::input::DecoderInput;
use super::interruption::Interruption;
use super::sampler::{Sampler, Sampling};
use super::sequence::{Sequence, Token};
use super::stop::{FinishReason, StopRules};
use crate::error::{DeviceError, Error, RequestError, Result};
use crate::kernels::{self, KernelReport, KernelTrace, VlmBackend};
use crate::nn::LlamaDecoder;
use crate::text::{TextStream, Tokenizer};

/// How an answer is generated.
#[derive(Debug, Clone)]
pub struct GenerationOptions {
    /// How each token is chosen.
    pub sampling: Sampling,
    /// Where the random numbers start.
    pub seed: u64,
    /// Most tokens of the answer.
    pub max_new_tokens: usize,
    /// What else ends it.
    pub stop: StopRules,
    /// What ends it from outside.
    pub interruption: Interruption,
    /// Whether an operation that the device has no kernel for is an error.
    pub is_strict: bool,
}

impl GenerationOptions {
    /// Checks what the caller chose, before work is done for it.
    ///
    /// # Errors
    ///
    /// [`RequestError::Parameter`] for a number outside its range, or strings to stop at that are too
    /// many or too long; [`DeviceError::KernelRefused`] where only kernels may run and there is none
    /// to draw with.
    pub(crate) fn check<B: VlmBackend>(&self, tokenizer: &Tokenizer) -> Result<()> {
        Sampler::new(self.sampling, self.seed)?;
        TextStream::new(tokenizer, &self.stop.stop_strings)?;
        let draws = matches!(self.sampling, Sampling::Sample(_));
        match self.is_strict && draws && !B::vlm_has_sample_kernel() {
            true => Err(DeviceError::KernelRefused {
                kernel: "sample",
                reason: "there is none for this backend".to_string(),
            }
            .into()),
            false => Ok(()),
        }
    }
}

/// How long each part took.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StageTimings {
    /// Reading the prompt, up to the first token.
    pub prefill: Duration,
    /// Every further token.
    pub decode: Duration,
}

/// An answer in the making: an iterator over its text.
///
/// Nothing runs between two calls of `next`, so dropping it ends the work.
#[derive(Debug)]
pub struct Generation<'a, B: VlmBackend, S: BorrowMut<Sequence<B>>> {
    decoder: &'a LlamaDecoder<B>,
    sequence: S,
    options: GenerationOptions,
    sampler: Sampler,
    text: TextStream,
    /// The prompt, until it was read.
    prompt: Option<DecoderInput<B>>,
    /// The token that the next step reads.
    chosen: Option<Token<B>>,
    token_ids: Vec<u32>,
    written: String,
    finish: Option<FinishReason>,
    timings: StageTimings,
    kernels: KernelReport,
    backend: PhantomData<B>,
}

impl<'a, B: VlmBackend, S: BorrowMut<Sequence<B>>> Generation<'a, B, S> {
    /// Prepares an answer to `prompt`; nothing is read yet. A prompt that something kept from being
    /// made has an answer without text, which ended for that reason.
    ///
    /// # Errors
    ///
    /// [`RequestError::Parameter`] for a number outside its range, [`RequestError::Empty`] for an
    /// empty prompt, and [`Error::ContextOverflow`] when the prompt and the tokens asked for do
    /// not fit the sequence.
    pub fn new(
        decoder: &'a LlamaDecoder<B>,
        tokenizer: &Tokenizer,
        sequence: S,
        prompt: ControlFlow<FinishReason, DecoderInput<B>>,
        options: GenerationOptions,
    ) -> Result<Self> {
        let (prompt, finish) = match prompt {
            ControlFlow::Continue(prompt) => (Some(prompt), None),
            ControlFlow::Break(reason) => (None, Some(reason)),
        };
        if let Some(prompt) = &prompt {
            let context_length = sequence.borrow().max_tokens();
            check_room(prompt.len(), options.max_new_tokens, context_length)?;
        }
        Ok(Self {
            decoder,
            sampler: Sampler::new(options.sampling, options.seed)?,
            text: TextStream::new(tokenizer, &options.stop.stop_strings)?,
            sequence,
            options,
            prompt,
            chosen: None,
            token_ids: Vec::new(),
            written: String::new(),
            finish,
            timings: StageTimings::default(),
            kernels: KernelReport::default(),
            backend: PhantomData,
        })
    }

    /// The ids of the answer so far; the one that ended it is not among them.
    pub fn token_ids(&self) -> &[u32] {
        &self.token_ids
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        &self.written
    }

    /// Why it ended, once it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.finish
    }

    /// How long it took so far.
    pub fn timings(&self) -> StageTimings {
        self.timings
    }

    /// Which kernels ran so far.
    pub fn kernels(&self) -> &KernelReport {
        &self.kernels
    }

    /// Chooses the next token and returns the text that became certain by it.
    fn advance(&mut self) -> Result<String> {
        let started = Instant::now();
        if let Some(reason) = self.options.interruption.reason() {
            return Ok(self.end(reason));
        }
        let is_prefill = self.prompt.is_some();
        let (chosen, kernels) = KernelTrace::collect(|| self.next_id());
        self.kernels.merge(kernels);
        let stage = if is_prefill {
            &mut self.timings.prefill
        } else {
            &mut self.timings.decode
        };
        *stage += started.elapsed();
        if self.options.is_strict {
            self.kernels.check_strict()?;
        }
        match chosen? {
            None => {
                let reason = self.options.interruption.reason();
                Ok(self.end(reason.unwrap_or(FinishReason::Cancelled)))
            }
            Some(id) => Ok(self.accept(id)),
        }
    }

    /// Reads the prompt or the last token, and chooses; `None` when the reading was interrupted.
    fn next_id(&mut self) -> Result<Option<u32>> {
        let stage = if self.prompt.is_some() {
            "prefill"
        } else {
            "decode"
        };
        let sequence = self.sequence.borrow_mut();
        let (decoder, interruption) = (self.decoder, &self.options.interruption);
        let go_on = || interruption.check();
        let logits = match self.prompt.take() {
            Some(prompt) => sequence.read(decoder, &prompt, go_on)?,
            None => {
                let last = self.chosen.clone().expect("a step follows a token");
                sequence.step(decoder, last, go_on)?
            }
        };
        let Some(logits) = logits else {
            return Ok(None);
        };
        let [_, vocab_size] = logits.dims();
        let stream = sequence.pool().stream();
        let on_device = stream.run(|| self.sampler.choose(logits));
        let id = stream.run(|| read_id(on_device.clone(), stage))?;
        if id as usize >= vocab_size {
            return Err(DeviceError::NotFinite { stage }.into());
        }
        // The id came from everything that was read.
        sequence.commit();
        self.chosen = Some(Token {
            id,
            on_device: Some(on_device),
        });
        Ok(Some(id))
    }

    fn accept(&mut self, id: u32) -> String {
        if let Some(reason) = self.options.stop.at_token(id) {
            return self.end(reason);
        }
        self.sampler.note(id);
        self.token_ids.push(id);
        let piece = self.text.push(id).unwrap_or_default();
        self.written.push_str(&piece);
        if let Some(index) = self.text.stopped() {
            self.finish = Some(FinishReason::Stop(index));
            return piece;
        }
        match self.token_ids.len() == self.options.max_new_tokens {
            true => piece + &self.end(FinishReason::MaxNewTokens),
            false => piece,
        }
    }

    /// Ends the answer and returns the text that was held back; a stop string may be in it.
    fn end(&mut self, reason: FinishReason) -> String {
        let rest = self.text.finish();
        self.written.push_str(&rest);
        self.finish = Some(self.text.stopped().map_or(reason, FinishReason::Stop));
        rest
    }
}

impl<B: VlmBackend, S: BorrowMut<Sequence<B>>> Iterator for Generation<'_, B, S> {
    /// Whole characters of the answer, never empty.
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        while self.finish.is_none() {
            match self.advance() {
                Ok(piece) if piece.is_empty() => {}
                Ok(piece) => return Some(Ok(piece)),
                Err(error) => {
                    self.sequence.borrow_mut().rollback();
                    // An error is the last item.
                    self.finish = Some(FinishReason::Cancelled);
                    return Some(Err(error));
                }
            }
        }
        None
    }
}

/// Whether a prompt and its answer fit the context.
///
/// # Errors
///
/// [`Error::ContextOverflow`] when they do not, [`RequestError`] when one of them is empty.
pub(crate) fn check_room(
    prompt_tokens: usize,
    max_new_tokens: usize,
    context_length: usize,
) -> Result<()> {
    if prompt_tokens == 0 {
        return Err(RequestError::Empty.into());
    }
    if max_new_tokens == 0 {
        return Err(RequestError::Parameter {
            parameter: "max_new_tokens",
            found: "0".to_string(),
            expected: "at least 1",
        }
        .into());
    }
    // The last token of an answer is never read back.
    let needed = prompt_tokens.saturating_add(max_new_tokens - 1);
    match needed <= context_length {
        true => Ok(()),
        false => Err(Error::ContextOverflow {
            prompt_tokens,
            max_new_tokens,
            context_length,
        }),
    }
}

/// Brings the chosen id to the host. Everything the device was asked before is done by then, so
/// this is where a launch that failed is told.
fn read_id<B: VlmBackend>(id: Tensor<B, 1, Int>, stage: &'static str) -> Result<u32> {
    let failed = |reason: String| Error::from(DeviceError::Failed { stage, reason });
    let device = id.device();
    let data = id
        .try_into_data()
        .map_err(|error| failed(error.to_string()))?;
    kernels::sync::<B>(&device).map_err(failed)?;
    let id = data.iter::<i64>().next().map(|id| id.elem::<i64>());
    id.and_then(|id| u32::try_from(id).ok())
        .ok_or_else(|| failed("no token id came back".into()))
}
