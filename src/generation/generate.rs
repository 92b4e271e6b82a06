//! The loop of generation, one token a step.

use std::borrow::BorrowMut;
use std::marker::PhantomData;
use std::ops::ControlFlow;
use std::time::{Duration, Instant};

use burn::tensor::{Int, Tensor};

use super::beams::Beams;
use super::input::DecoderInput;
use super::interruption::Interruption;
use super::rules::LogitRules;
use super::sampler::{Sampler, Sampling, on_host};
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
    /// What is done to the scores before.
    pub rules: LogitRules,
    /// Where the random numbers start.
    pub seed: u64,
    /// Most tokens of the answer.
    pub max_new_tokens: usize,
    /// What else ends it.
    pub stop: StopRules,
    /// What ends it from outside.
    pub interruption: Interruption,
    /// Whether control tokens come out as text too.
    pub shows_control_tokens: bool,
    /// Whether an operation that the device has no kernel for is an error.
    pub is_strict: bool,
}

impl GenerationOptions {
    /// Checks what the caller chose, before work is done for it.
    ///
    /// # Errors
    ///
    /// [`RequestError::Parameter`] for a number outside its range, or strings to stop at that are too
    /// many or too long; [`RequestError::UnknownTokenId`] for a rule about a token that is not among
    /// the `vocab_size`; [`DeviceError::KernelRefused`] where only kernels may run and there is none
    /// to draw with.
    pub(crate) fn check<B: VlmBackend>(
        &self,
        tokenizer: &Tokenizer,
        vocab_size: usize,
    ) -> Result<()> {
        self.sampling.check()?;
        self.rules.check(vocab_size)?;
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
    pub(super) decoder: &'a LlamaDecoder<B>,
    pub(super) sequence: S,
    pub(super) options: GenerationOptions,
    pub(super) sampler: Sampler,
    text: TextStream,
    /// The prompt, until it was read.
    prompt: Option<DecoderInput<B>>,
    /// The token that the next step reads.
    pub(super) chosen: Option<Token<B>>,
    /// The answers that are followed, once the prompt was read for a beam search.
    beams: Option<Beams<B>>,
    pub(super) token_ids: Vec<u32>,
    written: String,
    pub(super) finish: Option<FinishReason>,
    pub(super) timings: StageTimings,
    pub(super) kernels: KernelReport,
    backend: PhantomData<B>,
}

/// What a step came to.
enum Step {
    /// The next token.
    Chosen(u32),
    /// Nothing yet: beams are followed further.
    Searching,
    /// The tokens of the best answer.
    Found(Vec<u32>),
    /// The reading was interrupted.
    Interrupted,
}

impl<'a, B: VlmBackend, S: BorrowMut<Sequence<B>>> Generation<'a, B, S> {
    /// Prepares an answer to `prompt`; nothing is read yet. A prompt that something kept from being
    /// made has an answer without text, which ended for that reason.
    ///
    /// # Errors
    ///
    /// [`RequestError::Empty`] for an empty prompt, [`Error::ContextOverflow`] when the prompt and the
    /// tokens asked for do not fit the sequence, and [`RequestError::Parameter`] for strings to stop
    /// at that are too many or too long.
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
        let mut sampler = Sampler::new(options.sampling, options.seed, options.rules.clone());
        let prompt_ids = prompt.as_ref().map(|prompt| prompt.token_ids.clone());
        sampler.prompt = prompt_ids.unwrap_or_default();
        sampler.end_ids = options.stop.end_of_text_ids.clone();
        sampler.end_ids.sort_unstable();
        sampler.end_ids.dedup();
        sampler.max_new_tokens = options.max_new_tokens;
        let text = TextStream::new(tokenizer, &options.stop.stop_strings)?;
        Ok(Self {
            decoder,
            sampler,
            text: text.with_control_tokens(options.shows_control_tokens),
            sequence,
            options,
            prompt,
            chosen: None,
            beams: None,
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

    /// Chooses the next token and returns the text that became certain by it, or ends for a reason
    /// from outside.
    pub(super) fn advance(&mut self) -> Result<String> {
        let started = Instant::now();
        if let Some(reason) = self.options.interruption.reason() {
            return Ok(self.interrupt(reason));
        }
        let is_prefill = self.prompt.is_some();
        let (step, kernels) = KernelTrace::collect(|| self.step());
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
        Ok(match step? {
            Step::Chosen(id) => self.accept(id),
            Step::Searching => String::new(),
            Step::Found(token_ids) => self.say(&token_ids),
            Step::Interrupted => {
                let reason = self.options.interruption.reason();
                self.interrupt(reason.unwrap_or(FinishReason::Cancelled))
            }
        })
    }

    /// Reads the prompt or what was chosen last, and chooses.
    fn step(&mut self) -> Result<Step> {
        let stage = if self.prompt.is_some() {
            "prefill"
        } else {
            "decode"
        };
        let Some(logits) = self.read_next()? else {
            return Ok(Step::Interrupted);
        };
        let [_, vocab_size] = logits.dims();
        let failed = |reason| Error::from(DeviceError::Failed { stage, reason });
        let stream = self.sequence.borrow().pool().stream();
        if let Sampling::Beam(_) = self.options.sampling {
            let logits = stream.run(|| on_host(logits)).map_err(failed)?;
            return self.follow(logits, vocab_size);
        }
        let chosen = stream.run(|| self.sampler.choose(logits, &self.token_ids));
        let chosen = chosen.map_err(failed)?;
        let id = stream.run(|| read_ids(chosen.clone())).map_err(failed)?[0];
        self.take(id, Some(chosen), vocab_size, stage)?;
        Ok(Step::Chosen(id))
    }

    /// Reads the prompt or what was chosen last; `None` when the reading was interrupted.
    fn read_next(&mut self) -> Result<Option<Tensor<B, 2>>> {
        let sequence = self.sequence.borrow_mut();
        let (decoder, interruption) = (self.decoder, &self.options.interruption);
        let go_on = || interruption.check();
        if let Some(prompt) = self.prompt.take() {
            return sequence.read(decoder, &prompt, go_on);
        }
        if let Some(beams) = &mut self.beams {
            return beams.read(decoder).map(Some);
        }
        let last = self.chosen.clone().expect("a step follows a token");
        sequence.step(decoder, last, go_on)
    }

    /// Follows the beams one token further.
    fn follow(&mut self, logits: Vec<f32>, vocab_size: usize) -> Result<Step> {
        let Sampling::Beam(options) = self.options.sampling else {
            unreachable!("only a beam search has beams");
        };
        let sequence = self.sequence.borrow_mut();
        let (sampler, stop) = (&self.sampler, &self.options.stop);
        let new = || Beams::new(options, sampler, &self.text);
        let beams = self.beams.get_or_insert_with(new);
        match beams.advance(logits, vocab_size, sequence, sampler, stop)? {
            true => Ok(Step::Searching),
            false => {
                let best = beams.best().to_vec();
                self.beams = None;
                Ok(Step::Found(best))
            }
        }
    }

    /// Takes in the id that was chosen from everything read so far.
    pub(super) fn take(
        &mut self,
        id: u32,
        on_device: Option<Tensor<B, 1, Int>>,
        vocab_size: usize,
        stage: &'static str,
    ) -> Result<()> {
        if id as usize >= vocab_size {
            return Err(DeviceError::NotFinite { stage }.into());
        }
        // The id came from everything that was read.
        self.sequence.borrow_mut().commit();
        self.chosen = Some(Token { id, on_device });
        Ok(())
    }

    /// Says the tokens of an answer that was found as a whole.
    fn say(&mut self, token_ids: &[u32]) -> String {
        let mut said = String::new();
        for id in token_ids {
            if self.finish.is_none() {
                said.push_str(&self.accept(*id));
            }
        }
        said
    }

    /// Ends the answer from outside: a search says the best it has found until then.
    pub(super) fn interrupt(&mut self, reason: FinishReason) -> String {
        let best = self.beams.take().map(|beams| beams.best().to_vec());
        let said = self.say(&best.unwrap_or_default());
        match self.finish {
            Some(_) => said,
            None => said + &self.end(reason),
        }
    }

    pub(super) fn accept(&mut self, id: u32) -> String {
        if let Some(reason) = self.options.stop.at_token(id) {
            return self.end(reason);
        }
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

    /// An error is the last item. What the device has not answered for the sequence does not count.
    pub(super) fn fail(&mut self) {
        self.beams = None;
        self.finish = Some(FinishReason::Cancelled);
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
                    self.fail();
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

/// Brings chosen ids to the host. Everything the device was asked before is done by then, so this is
/// where a launch that failed is told.
///
/// # Errors
/// What the device says.
pub(super) fn read_ids<B: VlmBackend>(ids: Tensor<B, 1, Int>) -> Result<Vec<u32>, String> {
    let device = ids.device();
    let data = ids.try_into_data().map_err(|error| error.to_string())?;
    kernels::sync::<B>(&device)?;
    let ids = data.iter::<i64>().map(|id| u32::try_from(id).ok());
    let ids: Option<Vec<u32>> = ids.collect();
    ids.filter(|ids| !ids.is_empty())
        .ok_or_else(|| "no token id came back".to_string())
}
