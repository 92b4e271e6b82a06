//! Keys or values where they lie.

use std::ops::Range;

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use crate::kernels::cpu::{Element, StridedRows};
use crate::kernels::{KvSpan, KvView, LaunchRefused};

/// `[num_slots, num_kv_heads, capacity, head_dim]` with the innermost axis in memory order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slab<'a, E> {
    storage: &'a [E],
    start: usize,
    strides: [usize; 3],
    dims: [usize; 4],
}

impl<'a, E: Element> Slab<'a, E> {
    /// # Errors
    /// [`LaunchRefused`] if it would have to be copied to be read.
    pub(super) fn new(tensor: &'a FlexTensor) -> Result<Self, LaunchRefused> {
        let layout = tensor.layout();
        let (slot, head, place) = match *layout.strides() {
            [slot, head, place, 1] if slot.min(head).min(place) >= 0 => (slot, head, place),
            ref strides => {
                return Err(LaunchRefused::Scattered {
                    operand: "keys or values",
                    strides: strides.to_vec(),
                });
            }
        };
        Ok(Self {
            storage: tensor.storage(),
            start: layout.start_offset(),
            strides: [slot, head, place].map(isize::unsigned_abs),
            dims: tensor.shape().dims(),
        })
    }

    pub(super) fn num_heads(&self) -> usize {
        let [_, num_heads, _, _] = self.dims;
        num_heads
    }

    /// The keys or values that a head has in a view: `[view.len(), head_dim]`.
    pub(super) fn rows(&self, view: KvView, head: usize) -> ViewRows<'a, E> {
        ViewRows {
            spans: view.spans.map(|span| self.span(span, head)),
        }
    }

    fn span(&self, span: KvSpan, head: usize) -> StridedRows<'a, E> {
        let [_, _, _, head_dim] = self.dims;
        let [slot_stride, head_stride, stride] = self.strides;
        let first = span.slot * slot_stride + head * head_stride + span.start * stride;
        // An empty span may begin behind the last element.
        let storage = &self.storage[(self.start + first).min(self.storage.len())..];
        StridedRows::new(storage, stride, [span.len, head_dim])
    }
}

/// The rows of one span, and behind them those of another.
#[derive(Debug, Clone, Copy)]
pub(super) struct ViewRows<'a, E> {
    spans: [StridedRows<'a, E>; 2],
}

impl<'a, E> ViewRows<'a, E> {
    /// Elements of a row.
    pub(super) fn size(&self) -> usize {
        let [first, _] = &self.spans;
        first.size()
    }

    #[inline(always)]
    pub(super) fn row(&self, index: usize) -> &'a [E] {
        let [first, second] = &self.spans;
        match index.checked_sub(first.count()) {
            None => first.row(index),
            Some(index) => second.row(index),
        }
    }

    /// Some rows, which lie in one span.
    #[inline(always)]
    pub(super) fn range(&self, rows: Range<usize>) -> StridedRows<'a, E> {
        let [first, second] = &self.spans;
        match rows.start.checked_sub(first.count()) {
            None => first.range(rows),
            Some(start) => second.range(start..start + rows.len()),
        }
    }

    /// The first `num_rows` in stretches of at most `size`, none of which leaves its span.
    pub(super) fn stretches(
        &self,
        num_rows: usize,
        size: usize,
    ) -> impl Iterator<Item = Range<usize>> + use<E> {
        let [first, _] = &self.spans;
        let seam = first.count().min(num_rows);
        let cut = move |part: Range<usize>| {
            let starts = part.clone().step_by(size);
            starts.map(move |start| start..part.end.min(start + size))
        };
        [0..seam, seam..num_rows].into_iter().flat_map(cut)
    }
}
