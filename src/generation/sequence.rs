//! One sequence on the device and what its cache holds.

use std::ops::{ControlFlow, Range};

use burn::tensor::Tensor;

use super::input::{DecoderInput, check_id};
use crate::error::{Error, Result};
use crate::kernels::{VlmBackend, WorkStream};
use crate::nn::{CacheFull, KvCache, LlamaConfig, LlamaDecoder, LogitsFor};

/// Tokens of a prompt that are read at once. More would keep the matrix units no busier, and
/// memory for the scores of attention grows with it.
pub const PREFILL_CHUNK_TOKENS: usize = 256;

/// The only slot of a sequence's own cache.
const SLOT: usize = 0;

/// A sequence of tokens and picture rows, with the keys and values of all it has read.
///
/// Reading another input that begins alike keeps what is common and reads the rest: a second turn
/// costs its own tokens only, and a failed one is undone by reading the next.
#[derive(Debug)]
pub struct Sequence<B: VlmBackend> {
    cache: KvCache<B>,
    /// Tokens that the cache may grow to hold.
    capacity: usize,
    stream: WorkStream,
    /// What the cache holds.
    held: DecoderInput<B>,
}

impl<B: VlmBackend> Sequence<B> {
    /// An empty sequence with room for `capacity` tokens.
    pub fn new(config: &LlamaConfig, capacity: usize, device: &B::Device) -> Self {
        Self::growing(config, capacity, capacity, device)
    }

    /// An empty sequence that may hold `capacity` tokens, with room for `expected` of them. Beyond
    /// these it grows by doubling: memory goes with what is said, not with what could be.
    pub fn growing(
        config: &LlamaConfig,
        expected: usize,
        capacity: usize,
        device: &B::Device,
    ) -> Self {
        let stream = WorkStream::current();
        let room = expected.min(capacity);
        let cache = stream.run(|| KvCache::new(config, 1, room, device));
        Self {
            cache,
            capacity,
            stream,
            held: DecoderInput::default(),
        }
    }

    /// Tokens it may hold.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens it holds.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether it holds none.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }

    /// The queue on which everything that touches this sequence runs.
    pub fn stream(&self) -> WorkStream {
        self.stream
    }

    /// See [`KvCache::poison`].
    #[cfg(feature = "testing")]
    pub fn poison(&mut self) {
        self.stream.run(|| self.cache.poison());
    }

    /// Makes the sequence hold `input`, reading only what it does not hold yet, and returns the
    /// logits behind its last token: `[1, vocab_size]`.
    ///
    /// Between chunks `go_on` is asked; where it breaks, `None` is returned and what was read
    /// stays. `input` must not be empty.
    ///
    /// # Errors
    ///
    /// [`Error::ContextOverflow`] when it is longer than the capacity, and
    /// [`RequestError::UnknownTokenId`](crate::RequestError::UnknownTokenId); nothing changes then.
    pub fn read(
        &mut self,
        decoder: &LlamaDecoder<B>,
        config: &LlamaConfig,
        input: &DecoderInput<B>,
        go_on: impl Fn() -> ControlFlow<()>,
    ) -> Result<Option<Tensor<B, 2>>> {
        self.check_room(input.len())?;
        input.check_ids(config.vocab_size)?;
        // The last token is read again where everything is held: its logits are not.
        let common = self.held.common_prefix(input).min(input.len() - 1);
        let common = self.held.truncate(common);
        self.cache.truncate(SLOT, common);
        if self.prepare(config, input.len()) {
            self.held = DecoderInput::default();
        }
        self.read_behind(decoder, input, go_on)
    }

    /// Reads one more token and returns the logits behind it: `[1, vocab_size]`.
    ///
    /// # Errors
    ///
    /// As [`read`](Self::read).
    pub fn step(
        &mut self,
        decoder: &LlamaDecoder<B>,
        config: &LlamaConfig,
        token_id: u32,
    ) -> Result<Tensor<B, 2>> {
        let seq_len = self.len() + 1;
        self.check_room(seq_len)?;
        check_id(token_id, config.vocab_size)?;
        if self.prepare(config, seq_len) {
            let mut again = std::mem::take(&mut self.held);
            again.token_ids.push(token_id);
            let logits = self.read_behind(decoder, &again, || ControlFlow::Continue(()))?;
            return Ok(logits.expect("nobody stops the reading"));
        }
        let decoded = self.stream.run(|| {
            let embeds = decoder.embed_tokens.forward(&[token_id], vec![]);
            decoder.decode(embeds, &mut self.cache, &[SLOT])
        });
        let logits = decoded.map_err(overflow)?;
        self.held.token_ids.push(token_id);
        Ok(logits)
    }

    fn check_room(&self, seq_len: usize) -> Result<()> {
        let (needed, capacity) = (seq_len, self.capacity);
        match needed <= capacity {
            true => Ok(()),
            false => Err(overflow(CacheFull { needed, capacity })),
        }
    }

    /// Makes room and rotations for `seq_len` tokens; returns whether the cache was emptied for it.
    fn prepare(&mut self, config: &LlamaConfig, seq_len: usize) -> bool {
        self.stream.run(|| {
            if seq_len > self.cache.capacity() {
                let room = seq_len.next_power_of_two().min(self.capacity);
                self.cache.grow(config, room);
            }
            self.cache.rotate_for(config, seq_len)
        })
    }

    /// Reads what `input` holds behind `self.held`, chunk by chunk.
    fn read_behind(
        &mut self,
        decoder: &LlamaDecoder<B>,
        input: &DecoderInput<B>,
        go_on: impl Fn() -> ControlFlow<()>,
    ) -> Result<Option<Tensor<B, 2>>> {
        loop {
            let start = self.held.len();
            let chunk = start..input.len().min(start + PREFILL_CHUNK_TOKENS);
            if go_on().is_break() {
                return Ok(None);
            }
            let is_last = chunk.end == input.len();
            let logits = self.read_chunk(decoder, input, chunk.clone(), is_last)?;
            self.held
                .token_ids
                .extend_from_slice(&input.token_ids[chunk.clone()]);
            let begun = input
                .images
                .iter()
                .filter(|image| chunk.contains(&image.start));
            self.held.images.extend(begun.cloned());
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
        let read = self.stream.run(|| {
            let embeds = decoder
                .embed_tokens
                .forward(&input.token_ids[chunk], images);
            match is_step {
                true => decoder.decode(embeds, &mut self.cache, &[SLOT]).map(Some),
                false => decoder.prefill(embeds, &mut self.cache, SLOT, logits_for),
            }
        });
        read.map_err(overflow)
    }
}

fn overflow(full: CacheFull) -> Error {
    Error::ContextOverflow {
        prompt_tokens: full.needed,
        max_new_tokens: 0,
        context_length: full.capacity,
    }
}
