//! Keys and values of the tokens seen so far.

use burn::tensor::{DType, Tensor};

use super::decoder::LlamaConfig;
use super::rope::RopeTable;
use crate::kernels::{KvRow, VlmBackend};

/// A sequence does not fit its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{needed} positions are needed, a slot of the cache holds {capacity}")]
pub struct CacheFull {
    /// Positions needed.
    pub needed: usize,
    /// Positions a slot holds.
    pub capacity: usize,
}

/// One slab of keys and one of values for each layer, `[slot, kv_head, position, head_dim]`,
/// written in place: an append never copies it, only [`grow`](KvCache::grow) does.
///
/// A slot is one sequence; its length lives here beside the numbers, so that the two cannot
/// disagree. The rotation of positions belongs to the cache as well: what is in it was rotated so.
///
/// Not `Clone`: two owners of one slab would make every append a copy.
#[derive(Debug)]
pub struct KvCache<B: VlmBackend> {
    layers: Vec<LayerCache<B>>,
    lens: Vec<usize>,
    capacity: usize,
    rope: RopeTable<B>,
}

/// The slabs of one layer. They are taken out while a layer writes them, so that the writer is
/// their only owner.
#[derive(Debug)]
struct LayerCache<B: VlmBackend> {
    slabs: Option<[Tensor<B, 4>; 2]>,
}

impl<B: VlmBackend> KvCache<B> {
    /// An empty cache of `num_slots` sequences with room for `capacity` tokens each.
    pub fn new(
        config: &LlamaConfig,
        num_slots: usize,
        capacity: usize,
        device: &B::Device,
    ) -> Self {
        let shape = [
            num_slots,
            config.num_key_value_heads,
            capacity,
            config.head_dim,
        ];
        let slab = || Tensor::zeros(shape, (device, DType::F32));
        let layer = |_| LayerCache {
            slabs: Some([slab(), slab()]),
        };
        Self {
            layers: (0..config.num_hidden_layers).map(layer).collect(),
            lens: vec![0; num_slots],
            capacity,
            rope: RopeTable::new(&config.rope, config.head_dim, capacity, 0, device),
        }
    }

    /// Tokens that a slot holds room for.
    pub fn capacity(&self) -> usize {
        self.capacity
    }

    /// Tokens in `slot`.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn len(&self, slot: usize) -> usize {
        self.lens[slot]
    }

    /// Whether no slot holds a token.
    pub fn is_empty(&self) -> bool {
        self.lens.iter().all(|len| *len == 0)
    }

    /// Forgets what `slot` holds behind its first `len` tokens.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        self.lens[slot] = self.lens[slot].min(len);
    }

    /// Makes room for `capacity` tokens a slot, in new slabs: what the slots hold is copied, once.
    ///
    /// # Panics
    /// If `capacity` is smaller than the present one.
    pub fn grow(&mut self, config: &LlamaConfig, capacity: usize) {
        assert!(capacity >= self.capacity, "a cache does not shrink");
        let longest = self.lens.iter().copied().max().unwrap_or(0);
        for layer in &mut self.layers {
            let slabs = layer.slabs.take();
            layer.slabs = slabs.map(|slabs| slabs.map(|slab| grown(slab, longest, capacity)));
        }
        let device = self.rope.cos.device();
        // The length that decides is its own deciding length: the rotations stay what they are.
        let seq_len = self.rope.deciding_len;
        self.rope = RopeTable::new(&config.rope, config.head_dim, capacity, seq_len, &device);
        self.capacity = capacity;
    }

    /// Makes the rotations those of sequences of `seq_len` tokens. Where that changes them, the
    /// cache is emptied, since its keys were rotated otherwise; returns whether it was.
    ///
    /// Only dynamic scaling beyond the trained context ever changes them.
    pub fn rotate_for(&mut self, config: &LlamaConfig, seq_len: usize) -> bool {
        if config.rope.deciding_len(seq_len) == self.rope.deciding_len {
            return false;
        }
        let device = self.rope.cos.device();
        self.rope = RopeTable::new(
            &config.rope,
            config.head_dim,
            self.capacity,
            seq_len,
            &device,
        );
        self.lens.fill(0);
        true
    }

    /// Fills everything behind what the slots hold with NaN, so that a test sees any read of it.
    #[cfg(feature = "testing")]
    pub fn poison(&mut self) {
        assert!(self.is_empty(), "only an empty cache can be poisoned");
        for layer in &mut self.layers {
            layer.slabs = layer
                .slabs
                .take()
                .map(|slabs| slabs.map(|s| s.mul_scalar(f32::NAN)));
        }
    }

    /// The rows that a step over these slots reads and writes.
    ///
    /// # Errors
    /// If a slot has no room for `seq_len` more tokens.
    pub(super) fn rows(&self, slots: &[usize], seq_len: usize) -> Result<Vec<KvRow>, CacheFull> {
        let rows = slots.iter().map(|slot| KvRow {
            slot: *slot,
            len: self.lens[*slot],
        });
        let rows: Vec<KvRow> = rows.collect();
        let needed = rows.iter().map(|row| row.len + seq_len).max().unwrap_or(0);
        match needed <= self.capacity {
            true => Ok(rows),
            false => Err(CacheFull {
                needed,
                capacity: self.capacity,
            }),
        }
    }

    /// Counts the tokens that every layer has now written.
    pub(super) fn advance(&mut self, slots: &[usize], seq_len: usize) {
        for slot in slots {
            self.lens[*slot] += seq_len;
        }
    }

    /// The rotations, and the slabs of a layer, taken out for writing.
    pub(super) fn take(&mut self, layer: usize) -> (&RopeTable<B>, [Tensor<B, 4>; 2]) {
        let slabs = self.layers[layer].slabs.take();
        (
            &self.rope,
            slabs.expect("a layer puts its slabs back unless it panicked"),
        )
    }

    /// Puts the slabs of a layer back.
    pub(super) fn put_back(&mut self, layer: usize, slabs: [Tensor<B, 4>; 2]) {
        self.layers[layer].slabs = Some(slabs);
    }
}

/// A slab of `capacity` positions that begins with the first `longest` of `slab`.
fn grown<B: VlmBackend>(slab: Tensor<B, 4>, longest: usize, capacity: usize) -> Tensor<B, 4> {
    let [num_slots, num_kv_heads, _, head_dim] = slab.dims();
    let held = [0..num_slots, 0..num_kv_heads, 0..longest, 0..head_dim];
    let shape = [num_slots, num_kv_heads, capacity, head_dim];
    let larger = Tensor::zeros(shape, (&slab.device(), slab.dtype()));
    match longest {
        0 => larger,
        _ => larger.slice_assign(held.clone(), slab.slice(held)),
    }
}
