//! The slots of one cache, handed out to sequences.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::kernels::{VlmBackend, WorkStream};
use crate::nn::{KvCache, LlamaDecoder};

/// A cache whose slots belong to whoever holds one.
///
/// Sequences of one pool can be read together, and a fork shares what it has in common with its
/// origin. Memory goes with what is said: slots grow by doubling, all at once, up to the most tokens
/// that a sequence may hold.
#[derive(Debug)]
pub struct SlotPool<B: VlmBackend> {
    shared: Arc<Shared<B>>,
}

#[derive(Debug)]
struct Shared<B: VlmBackend> {
    state: Mutex<PoolState<B>>,
    stream: WorkStream,
    max_tokens: usize,
}

/// What a pool guards: the cache, and which of its slots are taken.
#[derive(Debug)]
pub(super) struct PoolState<B: VlmBackend> {
    pub(super) cache: KvCache<B>,
    is_taken: Vec<bool>,
}

impl<B: VlmBackend> SlotPool<B> {
    /// A pool of `num_slots` slots with room for `expected` tokens each, which may grow to hold
    /// `max_tokens`.
    pub fn new(
        decoder: &LlamaDecoder<B>,
        num_slots: usize,
        expected: usize,
        max_tokens: usize,
        device: &B::Device,
    ) -> Self {
        let stream = WorkStream::current();
        let room = expected.min(max_tokens);
        let cache = stream.run(|| decoder.new_cache(num_slots, room, device));
        let state = PoolState {
            cache,
            is_taken: vec![false; num_slots],
        };
        Self {
            shared: Arc::new(Shared {
                state: Mutex::new(state),
                stream,
                max_tokens,
            }),
        }
    }

    /// Tokens that a sequence of this pool may hold.
    pub fn max_tokens(&self) -> usize {
        self.shared.max_tokens
    }

    /// The queue on which everything that touches this cache runs.
    pub fn stream(&self) -> WorkStream {
        self.shared.stream
    }

    /// Runs `work` on the pool's queue, with the cache to itself.
    pub(super) fn run<T>(&self, work: impl FnOnce(&mut PoolState<B>) -> T) -> T {
        self.shared.stream.run(|| work(&mut self.shared.lock()))
    }

    /// Takes an empty slot. Where none is left the cache gets as many again: the one time that its
    /// rows are copied, so a pool is better made with the slots it will need.
    pub(super) fn take_slot(&self) -> Slot<B> {
        let index = self.run(PoolState::take_slot);
        Slot {
            pool: self.clone(),
            index,
        }
    }

    /// Whether both are handles to one pool.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.shared, &other.shared)
    }
}

impl<B: VlmBackend> Clone for SlotPool<B> {
    /// Another handle to the same pool.
    fn clone(&self) -> Self {
        Self {
            shared: self.shared.clone(),
        }
    }
}

impl<B: VlmBackend> Shared<B> {
    /// A panic between two steps leaves lengths that name written rows only, so the cache goes on.
    fn lock(&self) -> MutexGuard<'_, PoolState<B>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<B: VlmBackend> PoolState<B> {
    fn take_slot(&mut self) -> usize {
        let free = self.is_taken.iter().position(|is_taken| !is_taken);
        let index = free.unwrap_or_else(|| {
            let num_slots = self.is_taken.len();
            self.is_taken.resize((2 * num_slots).max(1), false);
            self.cache.add_slots(self.is_taken.len() - num_slots);
            num_slots
        });
        self.is_taken[index] = true;
        self.cache.truncate(index, 0);
        index
    }
}

/// One slot; it is free again when its last owner is gone.
#[derive(Debug)]
pub(super) struct Slot<B: VlmBackend> {
    pool: SlotPool<B>,
    pub(super) index: usize,
}

impl<B: VlmBackend> Drop for Slot<B> {
    fn drop(&mut self) {
        self.pool.shared.lock().is_taken[self.index] = false;
    }
}
