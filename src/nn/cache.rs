//! Keys and values of the tokens seen so far.

use std::ops::Range;

use burn::tensor::{DType, Tensor};

use super::rope::{RopeConfig, RopeTable};
use crate::kernels::{self, KvSpan, KvView, KvViews, KvWrite, KvWrites, VlmBackend};

/// A sequence does not fit its slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{needed} positions are needed, a slot of the cache holds {capacity}")]
pub struct CacheFull {
    /// Positions needed.
    pub needed: usize,
    /// Positions a slot holds.
    pub capacity: usize,
}

/// What a cache holds for every position.
#[derive(Debug, Clone, PartialEq)]
pub struct CacheShape {
    /// Layers that keep keys and values.
    pub num_layers: usize,
    /// Heads of each.
    pub num_kv_heads: usize,
    /// Width of a head.
    pub head_dim: usize,
    /// How keys are rotated before they are kept; `None` where they are not.
    pub rope: Option<RopeConfig>,
    /// What keys and values are kept in.
    pub dtype: DType,
}

impl CacheShape {
    /// See [`RopeConfig::deciding_len`].
    fn deciding_len(&self, seq_len: usize) -> usize {
        let rope = self.rope.as_ref();
        rope.map_or(0, |rope| rope.deciding_len(seq_len))
    }

    fn rope_table<B: VlmBackend>(
        &self,
        num_positions: usize,
        seq_len: usize,
        device: &B::Device,
    ) -> RopeTable<B> {
        match &self.rope {
            Some(rope) => RopeTable::new(rope, num_positions, seq_len, device),
            None => RopeTable::still(num_positions, device),
        }
    }
}

/// Where a sequence lies in a cache.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CachePlace {
    /// The slot that its new tokens go to.
    pub slot: usize,
    /// Tokens in front of those, in a slot that others see too.
    pub shared: Option<SharedPrefix>,
}

/// The first tokens of several sequences, held once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedPrefix {
    /// The slot that holds them.
    pub slot: usize,
    /// How many of its tokens.
    pub len: usize,
}

impl From<usize> for CachePlace {
    /// A slot of its own.
    fn from(slot: usize) -> Self {
        Self { slot, shared: None }
    }
}

/// One slab of keys and one of values for each layer, `[slot, kv_head, position, head_dim]`,
/// written in place: an append never copies it, only [`grow`](KvCache::grow) and
/// [`add_slots`](KvCache::add_slots) do.
///
/// The length of a slot lives here beside the numbers, so that the two cannot disagree. The rotation
/// of positions belongs to the cache as well: what is in it was rotated so.
///
/// Not `Clone`: two owners of one slab would make every append a copy.
#[derive(Debug)]
pub struct KvCache<B: VlmBackend> {
    shape: CacheShape,
    layers: Vec<LayerCache<B>>,
    slots: Vec<SlotState>,
    capacity: usize,
    /// The tables that the slots are rotated by: one, but for slots of dynamic scaling beyond the
    /// trained context.
    ropes: Vec<RopeTable<B>>,
    device: B::Device,
}

/// What a slot holds.
#[derive(Debug, Clone, Copy, Default)]
struct SlotState {
    len: usize,
    /// See [`RopeConfig::deciding_len`].
    deciding_len: usize,
}

/// The slabs of one layer. They are taken out while a layer writes them, so that the writer is
/// their only owner.
#[derive(Debug)]
struct LayerCache<B: VlmBackend> {
    slabs: Option<[Tensor<B, 4>; 2]>,
}

/// The rows of one step, the same for every layer: what is written where, rotated how, and seen.
#[derive(Debug)]
pub(super) struct StepRows<B: VlmBackend> {
    pub(super) writes: KvWrites<B>,
    pub(super) views: KvViews<B>,
    pub(super) rope: RopeTable<B>,
}

impl<B: VlmBackend> KvCache<B> {
    /// An empty cache of `num_slots` slots with room for `capacity` tokens each.
    pub fn new(shape: CacheShape, num_slots: usize, capacity: usize, device: &B::Device) -> Self {
        let slot = SlotState {
            len: 0,
            deciding_len: shape.deciding_len(0),
        };
        let mut cache = Self {
            layers: Vec::new(),
            slots: vec![slot; num_slots],
            capacity,
            ropes: vec![shape.rope_table(capacity, 0, device)],
            shape,
            device: device.clone(),
        };
        let layer = |_| LayerCache {
            slabs: Some([cache.slab(), cache.slab()]),
        };
        cache.layers = (0..cache.shape.num_layers).map(layer).collect();
        cache
    }

    /// Where it lies.
    pub fn device(&self) -> B::Device {
        self.device.clone()
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
        self.slots[slot].len
    }

    /// Whether no slot holds a token.
    pub fn is_empty(&self) -> bool {
        self.slots.iter().all(|slot| slot.len == 0)
    }

    /// Forgets what `slot` holds behind its first `len` tokens.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn truncate(&mut self, slot: usize, len: usize) {
        let slot = &mut self.slots[slot];
        slot.len = slot.len.min(len);
    }

    /// Empties every slot where a backend that panicked in the middle of a layer took its slabs
    /// along, so that the cache can be used again.
    pub fn restore(&mut self) {
        if self.layers.iter().all(|layer| layer.slabs.is_some()) {
            return;
        }
        for slot in &mut self.slots {
            slot.len = 0;
        }
        for index in 0..self.layers.len() {
            if self.layers[index].slabs.is_none() {
                self.layers[index].slabs = Some([self.slab(), self.slab()]);
            }
        }
    }

    /// Makes room for `capacity` tokens a slot, in new slabs: what the slots hold is copied, once.
    ///
    /// # Panics
    /// If `capacity` is smaller than the present one.
    pub fn grow(&mut self, capacity: usize) {
        assert!(capacity >= self.capacity, "a cache does not shrink");
        let held = self.held();
        self.capacity = capacity;
        self.move_to_new_slabs(held);
        let ropes = self.ropes.iter();
        // The length that decides is its own deciding length: the rotations stay what they are.
        let tables = ropes.map(|rope| {
            let seq_len = rope.deciding_len;
            self.shape.rope_table(capacity, seq_len, &self.device)
        });
        self.ropes = tables.collect();
    }

    /// Adds `count` empty slots, in new slabs: what the others hold is copied, once.
    pub fn add_slots(&mut self, count: usize) {
        let held = self.held();
        let slot = SlotState {
            len: 0,
            deciding_len: self.shape.deciding_len(0),
        };
        self.slots.extend(std::iter::repeat_n(slot, count));
        self.move_to_new_slabs(held);
    }

    /// Makes `to` begin with the first `len` tokens of `from` and hold no others, rotated as they
    /// are. Only these rows are copied.
    ///
    /// # Panics
    /// If there is no such slot, they are the same, or `from` does not hold so many.
    pub fn copy_rows(&mut self, from: usize, to: usize, len: usize) {
        assert_ne!(from, to, "rows are copied to another slot");
        assert!(len <= self.slots[from].len, "only what is held is copied");
        self.slots[to] = SlotState {
            len,
            ..self.slots[from]
        };
        if len == 0 {
            return;
        }
        let span = first_of(from, len);
        for layer in &mut self.layers {
            let slabs = layer.slabs.take();
            layer.slabs = slabs.map(|slabs| slabs.map(|slab| kernels::kv_copy(slab, span, to)));
        }
    }

    /// Makes the rotations of `slot` those of a sequence of `seq_len` tokens. Where that changes
    /// them, the slot is emptied, since its keys were rotated otherwise; returns whether it was.
    ///
    /// Only dynamic scaling beyond the trained context ever changes them.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn rotate_for(&mut self, slot: usize, seq_len: usize) -> bool {
        let deciding_len = self.shape.deciding_len(seq_len);
        if self.slots[slot].deciding_len == deciding_len {
            return false;
        }
        self.slots[slot] = SlotState {
            len: 0,
            deciding_len,
        };
        let in_use = |table: &RopeTable<B>| {
            let mut slots = self.slots.iter();
            slots.any(|slot| slot.deciding_len == table.deciding_len)
        };
        self.ropes.retain(in_use);
        if self.rope(deciding_len).is_none() {
            let table = self.shape.rope_table(self.capacity, seq_len, &self.device);
            self.ropes.push(table);
        }
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

    /// The rows that a step of `seq_len` new tokens of each sequence writes and sees.
    ///
    /// # Errors
    /// If a slot has no room for them, or a sequence is longer than the tables of rotations.
    ///
    /// # Panics
    /// If the sequences are not rotated alike.
    pub(super) fn rows(
        &self,
        places: &[CachePlace],
        seq_len: usize,
        window: Option<usize>,
    ) -> Result<StepRows<B>, CacheFull> {
        let rows = places
            .iter()
            .map(|place| self.row(*place, seq_len, window))
            .collect::<Result<Vec<_>, CacheFull>>()?;
        let (writes, views) = rows.into_iter().unzip();
        Ok(StepRows {
            writes: KvWrites::new(writes, &self.device),
            views: KvViews::new(views, &self.device),
            rope: self.common_rope(places).clone(),
        })
    }

    fn row(
        &self,
        place: CachePlace,
        seq_len: usize,
        window: Option<usize>,
    ) -> Result<(KvWrite, KvView), CacheFull> {
        let CachePlace { slot, shared } = place;
        let (own, capacity) = (self.slots[slot].len, self.capacity);
        let front = shared.map_or(0, |shared| shared.len);
        let needed = front + own + seq_len;
        if needed > capacity {
            return Err(CacheFull { needed, capacity });
        }
        let write = KvWrite {
            slot,
            place: own,
            position: front + own,
        };
        let view = match shared {
            None => KvView::of(slot, own + seq_len),
            Some(shared) => {
                KvView::of_spans(first_of(shared.slot, front), first_of(slot, own + seq_len))
            }
        };
        let view = window.map_or(view, |window| view.with_window(window));
        Ok((write, view))
    }

    fn common_rope(&self, places: &[CachePlace]) -> &RopeTable<B> {
        let mut lens = places
            .iter()
            .map(|place| self.slots[place.slot].deciding_len);
        let first = lens.next().unwrap_or_default();
        assert!(
            lens.all(|len| len == first),
            "sequences of one step are rotated alike"
        );
        self.rope(first)
            .expect("a slot is rotated by a table of the cache")
    }

    fn rope(&self, deciding_len: usize) -> Option<&RopeTable<B>> {
        let mut ropes = self.ropes.iter();
        ropes.find(|rope| rope.deciding_len == deciding_len)
    }

    /// Counts the tokens that every layer has now written.
    pub(super) fn advance(&mut self, places: &[CachePlace], seq_len: usize) {
        for place in places {
            self.slots[place.slot].len += seq_len;
        }
    }

    /// The slabs of a layer, taken out for writing.
    pub(super) fn take(&mut self, layer: usize) -> [Tensor<B, 4>; 2] {
        let slabs = self.layers[layer].slabs.take();
        slabs.expect("a layer puts its slabs back unless it panicked")
    }

    /// Puts the slabs of a layer back.
    pub(super) fn put_back(&mut self, layer: usize, slabs: [Tensor<B, 4>; 2]) {
        self.layers[layer].slabs = Some(slabs);
    }

    /// The part of a slab that holds something: slots, heads, places and elements.
    fn held(&self) -> [Range<usize>; 4] {
        let longest = self.slots.iter().map(|slot| slot.len).max().unwrap_or(0);
        let CacheShape {
            num_kv_heads,
            head_dim,
            ..
        } = self.shape;
        [
            0..self.slots.len(),
            0..num_kv_heads,
            0..longest,
            0..head_dim,
        ]
    }

    fn move_to_new_slabs(&mut self, held: [Range<usize>; 4]) {
        for index in 0..self.layers.len() {
            let moved = self
                .take(index)
                .map(|slab| match held.iter().any(Range::is_empty) {
                    true => self.slab(),
                    false => self
                        .slab()
                        .slice_assign(held.clone(), slab.slice(held.clone())),
                });
            self.put_back(index, moved);
        }
    }

    fn slab(&self) -> Tensor<B, 4> {
        let CacheShape {
            num_kv_heads,
            head_dim,
            dtype,
            ..
        } = self.shape;
        let dims = [self.slots.len(), num_kv_heads, self.capacity, head_dim];
        Tensor::zeros(dims, (&self.device, dtype))
    }
}

/// The first `len` places of a slot.
fn first_of(slot: usize, len: usize) -> KvSpan {
    KvSpan {
        slot,
        start: 0,
        len,
    }
}
