//! One sequence on the device and what its cache holds.

use std::ops::{ControlFlow, Range};
use std::sync::Arc;

use burn::tensor::{Int, Tensor};

use super::input::{DecoderInput, check_id};
use super::slots::{PoolState, Slot, SlotPool};
use crate::error::{DeviceError, Error, Result};
use crate::kernels::{self, TokenIds, VlmBackend};
use crate::nn::{CacheFull, CachePlace, LlamaDecoder, LogitsFor, SharedPrefix};

/// Tokens of a prompt that are read at once. More would keep the matrix units no busier, and
/// memory for the scores of attention grows with it.
pub const PREFILL_CHUNK_TOKENS: usize = 256;

/// A sequence of tokens and picture rows, with the keys and values of all it has read: a handle to
/// a slot of a [`SlotPool`].
///
/// Reading another input that begins alike keeps what is common and reads the rest: a second turn
/// costs its own tokens only.
///
/// Work is queued, and may fail after the call that queued it. What was read counts as held once
/// the device has answered and the caller has said so by [`commit`](Self::commit); everything else
/// is forgotten by [`rollback`](Self::rollback), or by reading again.
#[derive(Debug)]
pub struct Sequence<B: VlmBackend> {
    pool: SlotPool<B>,
    slot: Slot<B>,
    /// The slot that holds the first tokens, where they are shared with other sequences. Nobody
    /// writes it any more.
    prefix: Option<Prefix<B>>,
    /// What was read, queued tokens among it.
    read: DecoderInput<B>,
    /// Tokens of it that the device has answered for.
    committed: usize,
}

/// A token to be read.
#[derive(Debug, Clone)]
pub struct Token<B: VlmBackend> {
    /// Its id.
    pub id: u32,
    /// The same id where the device chose it, `[1]`: it need not travel back.
    pub on_device: Option<Tensor<B, 1, Int>>,
}

impl<B: VlmBackend> From<u32> for Token<B> {
    fn from(id: u32) -> Self {
        Self {
            id,
            on_device: None,
        }
    }
}

/// The first `len` places of a slot that several sequences see.
#[derive(Debug, Clone)]
struct Prefix<B: VlmBackend> {
    slot: Arc<Slot<B>>,
    len: usize,
}

impl<B: VlmBackend> Sequence<B> {
    /// An empty sequence in a slot of `pool`.
    pub fn new(pool: &SlotPool<B>) -> Self {
        Self {
            pool: pool.clone(),
            slot: pool.take_slot(),
            prefix: None,
            read: DecoderInput::default(),
            committed: 0,
        }
    }

    /// An empty sequence in a pool of its own, with room for `expected` of the `max_tokens` that it
    /// may hold.
    pub fn alone(
        decoder: &LlamaDecoder<B>,
        expected: usize,
        max_tokens: usize,
        device: &B::Device,
    ) -> Self {
        Self::new(&SlotPool::new(decoder, 1, expected, max_tokens, device))
    }

    /// Tokens it may hold.
    pub fn max_tokens(&self) -> usize {
        self.pool.max_tokens()
    }

    /// Tokens it holds: those that the device has answered for.
    pub fn len(&self) -> usize {
        self.committed
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.committed == 0
    }

    /// The cache it lies in.
    pub fn pool(&self) -> &SlotPool<B> {
        &self.pool
    }

    /// See [`KvCache::poison`](crate::nn::KvCache::poison).
    #[cfg(feature = "testing")]
    pub fn poison(&mut self) {
        self.pool.run(|state| state.cache.poison());
    }

    /// Makes the sequence hold `input`, reading only what it does not hold yet, and returns the
    /// logits behind its last token: `[1, vocab_size]`.
    ///
    /// Between chunks `go_on` is asked; where it breaks, `None` is returned and what was read until
    /// then is held. `input` must not be empty.
    ///
    /// # Errors
    ///
    /// [`Error::ContextOverflow`] when it is longer than the sequence may be, and
    /// [`RequestError::UnknownTokenId`](crate::RequestError::UnknownTokenId); nothing changes then.
    /// [`DeviceError::Failed`] when the device fails; what it has not answered for is forgotten.
    pub fn read(
        &mut self,
        decoder: &LlamaDecoder<B>,
        input: &DecoderInput<B>,
        go_on: impl Fn() -> ControlFlow<()>,
    ) -> Result<Option<Tensor<B, 2>>> {
        self.check_room(input.len())?;
        input.check_ids(decoder.config().vocab_size)?;
        self.rollback();
        // The last token is read again where everything is held: its logits are not.
        let common = self.read.common_prefix(input).min(input.len() - 1);
        self.truncate(common);
        self.prepare(input.len());
        self.read_behind(decoder, input, go_on)
    }

    /// Reads one more token and returns the logits behind it: `[1, vocab_size]`; `None` where the
    /// reading was interrupted, which only dynamic rotary scaling makes long enough to be worth it.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn step(
        &mut self,
        decoder: &LlamaDecoder<B>,
        token: impl Into<Token<B>>,
        go_on: impl Fn() -> ControlFlow<()>,
    ) -> Result<Option<Tensor<B, 2>>> {
        let Token { id, on_device } = token.into();
        self.check_step(decoder, id)?;
        if let Some(mut whole) = self.prepare(self.read.len() + 1) {
            whole.token_ids.push(id);
            return self.read_behind(decoder, &whole, go_on);
        }
        let embeds = self.pool.run(|_| match on_device {
            Some(id) => decoder.embed(TokenIds::Device(id), vec![]),
            None => decoder.embed(&[id], vec![]),
        });
        let logits = Self::step_all(decoder, &[&mut *self], embeds)?;
        self.read.token_ids.push(id);
        Ok(Some(logits))
    }

    /// Reads one more token of each of several sequences of one pool, and returns the logits behind
    /// them: `[sequences.len(), vocab_size]`. Each row is what [`step`](Self::step) gives.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read); no sequence changes when one of them has no room.
    ///
    /// # Panics
    ///
    /// If the sequences are of different pools, or not as many as the tokens.
    pub fn step_together(
        decoder: &LlamaDecoder<B>,
        sequences: &mut [&mut Self],
        token_ids: &[u32],
    ) -> Result<Tensor<B, 2>> {
        assert_eq!(
            sequences.len(),
            token_ids.len(),
            "a token for each sequence"
        );
        let first = sequences.first().map(|first| first.pool.clone());
        let pool = first.expect("a step of at least one sequence");
        for (sequence, id) in sequences.iter().zip(token_ids) {
            assert!(pool.is_same(&sequence.pool), "sequences of one pool");
            sequence.check_step(decoder, *id)?;
        }
        if Self::are_rotated_alike(decoder, sequences.iter().map(|sequence| &**sequence)) {
            for sequence in &mut *sequences {
                sequence.prepare(sequence.read.len() + 1);
            }
            let embeds = pool.run(|_| decoder.embed(token_ids, vec![]));
            let logits = Self::step_all(decoder, sequences, embeds)?;
            for (sequence, id) in sequences.iter_mut().zip(token_ids) {
                sequence.read.token_ids.push(*id);
            }
            return Ok(logits);
        }
        // Beyond the trained context, dynamic scaling rotates every sequence by its own length.
        let mut rows = Vec::new();
        for (sequence, id) in sequences.iter_mut().zip(token_ids) {
            let logits = sequence.step(decoder, *id, || ControlFlow::Continue(()))?;
            rows.push(logits.expect("nobody interrupts the reading"));
        }
        Ok(Tensor::cat(rows, 0))
    }

    /// Whether one more token leaves every sequence rotated as it is, and all of them alike.
    pub(super) fn are_rotated_alike<'a>(
        decoder: &LlamaDecoder<B>,
        sequences: impl Iterator<Item = &'a Self>,
    ) -> bool {
        let Some(rope) = decoder.config().positions.rope() else {
            return true;
        };
        let lens = sequences.map(|sequence| sequence.read.len());
        let mut deciding = lens
            .flat_map(|len| [len, len + 1])
            .map(|len| rope.deciding_len(len));
        let first = deciding.next();
        deciding.all(|len| Some(len) == first)
    }

    /// Reads one token of each, whose rows are `embeds`; the slots are prepared for it.
    fn step_all(
        decoder: &LlamaDecoder<B>,
        sequences: &[&mut Self],
        embeds: Tensor<B, 2>,
    ) -> Result<Tensor<B, 2>> {
        let places: Vec<CachePlace> = sequences.iter().map(|sequence| sequence.place()).collect();
        let pool = &sequences[0].pool;
        let stepped = pool.run(|state| decoder.decode(embeds, &mut state.cache, &places));
        stepped.map_err(overflow)
    }

    fn check_step(&self, decoder: &LlamaDecoder<B>, token_id: u32) -> Result<()> {
        self.check_room(self.read.len() + 1)?;
        Ok(check_id(token_id, decoder.config().vocab_size)?)
    }

    /// Says that the device has answered for everything that was read.
    pub fn commit(&mut self) {
        self.committed = self.read.len();
    }

    /// Forgets what the device has not answered for.
    pub fn rollback(&mut self) {
        if self.committed < self.read.len() {
            self.truncate(self.committed);
        }
    }

    /// Another sequence that holds the same, in the same pool. What both hold lies there once: the
    /// slot they share is written no more, and each goes on in one of its own. Of a sequence that
    /// is a fork itself, the tokens behind the shared ones are copied.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        self.rollback();
        if self.prefix.is_none() && !self.read.is_empty() {
            self.freeze();
        }
        let slot = self.pool.take_slot();
        let (from, to, own) = (self.slot.index, slot.index, self.own_len());
        self.pool.run(|state| state.cache.copy_rows(from, to, own));
        Self {
            pool: self.pool.clone(),
            slot,
            prefix: self.prefix.clone(),
            read: self.read.clone(),
            committed: self.committed,
        }
    }

    /// Makes the own slot a shared one and goes on in another.
    fn freeze(&mut self) {
        let next = self.pool.take_slot();
        let (from, to) = (self.slot.index, next.index);
        self.pool.run(|state| state.cache.copy_rows(from, to, 0));
        self.prefix = Some(Prefix {
            slot: Arc::new(std::mem::replace(&mut self.slot, next)),
            len: self.read.len(),
        });
    }

    fn shared_len(&self) -> usize {
        self.prefix.as_ref().map_or(0, |prefix| prefix.len)
    }

    /// Tokens in the own slot.
    fn own_len(&self) -> usize {
        self.read.len() - self.shared_len()
    }

    fn check_room(&self, needed: usize) -> Result<()> {
        let capacity = self.max_tokens();
        match needed <= capacity {
            true => Ok(()),
            false => Err(overflow(CacheFull { needed, capacity })),
        }
    }

    fn place(&self) -> CachePlace {
        let shared = self.prefix.as_ref().map(|prefix| SharedPrefix {
            slot: prefix.slot.index,
            len: prefix.len,
        });
        CachePlace {
            slot: self.slot.index,
            shared,
        }
    }

    /// Forgets everything behind the first `len` tokens, and a picture that is cut with them.
    fn truncate(&mut self, len: usize) {
        let len = self.read.truncate(len);
        self.committed = self.committed.min(len);
        if let Some(prefix) = &mut self.prefix {
            prefix.len = prefix.len.min(len);
        }
        self.prefix.take_if(|prefix| prefix.len == 0);
        let (slot, own) = (self.slot.index, self.own_len());
        self.pool.run(|state| state.cache.truncate(slot, own));
    }

    /// Makes room and rotations for `seq_len` tokens. Returns what was held, where other rotations
    /// leave nothing of it, or a backend that panicked took it along.
    fn prepare(&mut self, seq_len: usize) -> Option<DecoderInput<B>> {
        let (slot, max_tokens) = (self.slot.index, self.max_tokens());
        let (own, shared) = (self.own_len(), self.place().shared);
        let is_emptied = self.pool.run(|PoolState { cache, .. }| {
            cache.restore();
            let holds = |slot, len| cache.len(slot) >= len;
            let is_lost =
                !holds(slot, own) || shared.is_some_and(|shared| !holds(shared.slot, shared.len));
            if is_lost {
                cache.truncate(slot, 0);
            }
            if seq_len > cache.capacity() {
                cache.grow(seq_len.next_power_of_two().min(max_tokens));
            }
            cache.rotate_for(slot, seq_len) || is_lost
        });
        is_emptied.then(|| {
            self.prefix = None;
            self.committed = 0;
            std::mem::take(&mut self.read)
        })
    }

    /// Reads what `input` holds behind `self.read`, chunk by chunk.
    fn read_behind(
        &mut self,
        decoder: &LlamaDecoder<B>,
        input: &DecoderInput<B>,
        go_on: impl Fn() -> ControlFlow<()>,
    ) -> Result<Option<Tensor<B, 2>>> {
        loop {
            let start = self.read.len();
            let chunk = start..input.len().min(start + PREFILL_CHUNK_TOKENS);
            if go_on().is_break() {
                return self.confirm().map(|()| None);
            }
            let is_last = chunk.end == input.len();
            let logits = self.read_chunk(decoder, input, chunk.clone(), is_last)?;
            self.read.append(input, chunk);
            if is_last {
                return Ok(logits);
            }
        }
    }

    fn read_chunk(
        &mut self,
        decoder: &LlamaDecoder<B>,
        input: &DecoderInput<B>,
        chunk: Range<usize>,
        is_last: bool,
    ) -> Result<Option<Tensor<B, 2>>> {
        let logits_for = if is_last {
            LogitsFor::Last
        } else {
            LogitsFor::Nothing
        };
        let images = input.rows_within(&chunk);
        let is_step = chunk.len() == 1 && is_last;
        let place = self.place();
        let read = self.pool.run(|PoolState { cache, .. }| {
            let embeds = decoder.embed(&input.token_ids[chunk], images);
            match is_step {
                true => decoder.decode(embeds, cache, &[place]).map(Some),
                false => decoder.prefill(embeds, cache, place, logits_for),
            }
        });
        read.map_err(overflow)
    }

    /// Waits until the device has answered for everything that was queued.
    fn confirm(&mut self) -> Result<()> {
        let synced = self
            .pool
            .run(|state| kernels::sync::<B>(&state.cache.device()));
        match synced {
            Ok(()) => {
                self.commit();
                Ok(())
            }
            Err(reason) => {
                self.rollback();
                Err(DeviceError::Failed {
                    stage: "prefill",
                    reason,
                }
                .into())
            }
        }
    }
}

fn overflow(full: CacheFull) -> Error {
    Error::ContextOverflow {
        prompt_tokens: full.needed,
        max_new_tokens: 0,
        context_length: full.capacity,
    }
}
