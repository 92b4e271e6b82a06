//! Several answers that go on by one step of the decoder.

use std::borrow::BorrowMut;
use std::time::Instant;

use burn::tensor::Tensor;

use super::generate::{Generation, read_ids};
use super::sequence::Sequence;
use crate::error::{DeviceError, Result};
use crate::kernels::{self, KernelTrace, VlmBackend};
use crate::nn::LlamaDecoder;

impl<'a, B: VlmBackend, S: BorrowMut<Sequence<B>>> Generation<'a, B, S> {
    /// Goes one token on alone. Returns what went wrong, if something did; the answer has ended then.
    ///
    /// # Errors
    /// As the items of the iterator.
    pub(crate) fn advance_alone(&mut self) -> Result<()> {
        self.advance().map(drop).inspect_err(|_| self.fail())
    }

    /// What reads and answers.
    pub(crate) fn decoder(&self) -> &'a LlamaDecoder<B> {
        self.decoder
    }

    /// Whether the next step only reads the token chosen last, so that others can join it. Ends the
    /// answer where it was interrupted.
    pub(crate) fn can_join(&mut self) -> bool {
        if let Some(reason) = self.options.interruption.reason()
            && self.finish.is_none()
        {
            self.interrupt(reason);
        }
        self.finish.is_none() && self.chosen.is_some()
    }

    /// Goes one token on with several answers of one decoder whose sequences lie in one pool, all of
    /// which [can join](Self::can_join). Returns what each came to.
    pub(crate) fn advance_together(answers: &mut [&mut Self]) -> Vec<Result<()>> {
        // Beyond the trained context, dynamic scaling rotates every sequence by its own length.
        let decoder = answers[0].decoder;
        let sequences = answers.iter().map(|answer| answer.sequence.borrow());
        if !Sequence::are_rotated_alike(decoder, sequences) {
            let answers = answers.iter_mut();
            return answers.map(|answer| answer.advance_alone()).collect();
        }
        let started = Instant::now();
        let (chosen, kernels) = KernelTrace::collect(|| Self::choose_together(answers));
        let spent = started.elapsed();
        let outcomes = answers.iter_mut().enumerate().map(|(row, answer)| {
            answer.kernels.merge(kernels.clone());
            answer.timings.decode += spent;
            answer.take_row(&chosen, row).inspect_err(|_| answer.fail())
        });
        outcomes.collect()
    }

    fn take_row(&mut self, chosen: &Result<(Vec<u32>, usize)>, row: usize) -> Result<()> {
        const STAGE: &str = "decode";
        if self.options.is_strict {
            self.kernels.check_strict()?;
        }
        match chosen {
            Ok((ids, vocab_size)) => {
                self.take(ids[row], None, *vocab_size, STAGE)?;
                self.accept(ids[row]);
                Ok(())
            }
            Err(error) => Err(DeviceError::Failed {
                stage: STAGE,
                reason: error.to_string(),
            }
            .into()),
        }
    }

    /// The next token of each, and how many there are to choose from.
    fn choose_together(answers: &mut [&mut Self]) -> Result<(Vec<u32>, usize)> {
        let decoder = answers[0].decoder;
        let last = |answer: &&mut Self| answer.chosen.as_ref().map(|token| token.id);
        let last: Option<Vec<u32>> = answers.iter().map(last).collect();
        let last = last.expect("a step follows a token");
        let sequences = answers
            .iter_mut()
            .map(|answer| answer.sequence.borrow_mut());
        let mut sequences: Vec<&mut Sequence<B>> = sequences.collect();
        let logits = Sequence::step_together(decoder, &mut sequences, &last)?;
        let [_, vocab_size] = logits.dims();
        let stream = sequences[0].pool().stream();
        let ids = stream.run(|| Self::choose_rows(answers, logits));
        let failed = |reason| DeviceError::Failed {
            stage: "decode",
            reason,
        };
        Ok((ids.map_err(failed)?, vocab_size))
    }

    fn choose_rows(answers: &mut [&mut Self], logits: Tensor<B, 2>) -> Result<Vec<u32>, String> {
        if answers.iter().all(|answer| answer.sampler.is_plain()) {
            return read_ids(kernels::argmax(logits));
        }
        let rows = answers.iter_mut().enumerate().map(|(row, answer)| {
            let logits = logits.clone().slice_dim(0, row..row + 1);
            answer.sampler.choose(logits, &answer.token_ids)
        });
        read_ids(Tensor::cat(rows.collect::<Result<Vec<_>, String>>()?, 0))
    }
}
