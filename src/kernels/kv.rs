//! Where the rows of a batch stand in a KV cache: what is written, and what is seen.
//!
//! A cache is a slab `[num_slots, num_kv_heads, capacity, head_dim]`. The place of a token in its
//! slot, the position it is rotated by and the keys that a query sees are three things: a ring, a
//! window and a prefix that sequences share are values of these types, not kernels of their own.

use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::IntTensor;
use burn::tensor::{DType, Int, Tensor, TensorData};

/// Places of one slot, one behind another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvSpan {
    /// The slot.
    pub slot: usize,
    /// The first place.
    pub start: usize,
    /// How many places there are.
    pub len: usize,
}

/// The keys that the queries of one row of the batch see, first to last.
///
/// Key `k` is the `k`-th of the spans one behind the other: a ring is two spans of one slot, a
/// prefix that sequences share is a span of another slot than the rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvView {
    /// Where the keys lie; the second span may be empty.
    pub spans: [KvSpan; 2],
    /// A query sees only this many of the keys that the mask leaves it: the last ones. A causal
    /// query counts itself.
    pub window: Option<usize>,
}

/// Which keys a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionMask {
    /// The last query sees every key, each query before it one key less.
    Causal,
    /// Every query sees every key.
    Bidirectional,
}

/// Where the new tokens of one row of the batch go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct KvWrite {
    /// The slot.
    pub slot: usize,
    /// The place of the first token; the others follow.
    pub place: usize,
    /// The row of the rotation tables that turns the first token; the others follow.
    pub position: usize,
}

impl KvSpan {
    /// The places.
    pub(in crate::kernels) fn places(self) -> Range<usize> {
        self.start..self.start + self.len
    }

    /// Panics unless the places lie within a slab.
    pub(in crate::kernels) fn check(self, num_slots: usize, capacity: usize) {
        let Self { slot, .. } = self;
        let Range { end, .. } = self.places();
        assert!(slot < num_slots, "slot {slot} of {num_slots}");
        assert!(end <= capacity, "place {end} of {capacity}");
    }
}

impl KvView {
    /// The first `len` places of `slot`.
    pub fn of(slot: usize, len: usize) -> Self {
        let span = |start, len| KvSpan { slot, start, len };
        Self::of_spans(span(0, len), span(len, 0))
    }

    /// The keys of `first`, and behind them those of `second`.
    pub fn of_spans(first: KvSpan, second: KvSpan) -> Self {
        Self {
            spans: [first, second],
            window: None,
        }
    }

    /// A ring: `len` places of `slot` from `start` on, which goes on at place 0 behind `capacity`.
    ///
    /// # Panics
    /// If the ring has no such place, or fewer than `len`.
    pub fn of_ring(slot: usize, capacity: usize, start: usize, len: usize) -> Self {
        assert!(
            start < capacity && len <= capacity,
            "{len} places from {start} on in a ring of {capacity}"
        );
        let first = len.min(capacity - start);
        let span = |start, len| KvSpan { slot, start, len };
        Self::of_spans(span(start, first), span(0, len - first))
    }

    /// The view of queries that see at most `window` keys each.
    pub fn with_window(self, window: usize) -> Self {
        Self {
            window: Some(window),
            ..self
        }
    }

    /// How many keys there are.
    #[expect(
        clippy::len_without_is_empty,
        reason = "an empty view is no special case"
    )]
    pub fn len(&self) -> usize {
        let [first, second] = self.spans;
        first.len + second.len
    }

    /// Without the first `count` keys.
    pub(in crate::kernels) fn without(mut self, mut count: usize) -> Self {
        for span in &mut self.spans {
            let dropped = count.min(span.len);
            span.start += dropped;
            span.len -= dropped;
            count -= dropped;
        }
        self
    }

    /// The keys that query `query` of `seq_q` sees.
    pub fn seen(&self, query: usize, seq_q: usize, mask: AttentionMask) -> Range<usize> {
        let end = match mask {
            AttentionMask::Bidirectional => self.len(),
            AttentionMask::Causal => (self.len() + query + 1).saturating_sub(seq_q),
        };
        let start = self.window.map_or(0, |window| end.saturating_sub(window));
        start..end
    }
}

/// Views of the rows of a batch, on the host and on the device.
///
/// Made once a step for every layer. Kernels of a GPU read the numbers from a buffer, so another
/// batch or length needs no other kernel.
#[derive(Debug, Clone)]
pub struct KvViews<B: Backend> {
    views: Vec<KvView>,
    packed: Tensor<B, 1, Int>,
}

/// Writes of the rows of a batch, on the host and on the device; see [`KvViews`].
#[derive(Debug, Clone)]
pub struct KvWrites<B: Backend> {
    writes: Vec<KvWrite>,
    packed: Tensor<B, 1, Int>,
}

/// Numbers of a packed view: slot, start and length of both spans, then the window.
pub(in crate::kernels) const VIEW_SIZE: usize = 7;

/// Numbers of a packed write: slot, place and position.
pub(in crate::kernels) const WRITE_SIZE: usize = 3;

impl<B: Backend> KvViews<B> {
    /// One view for each row of the batch.
    ///
    /// # Panics
    /// If a number exceeds 32 bits.
    pub fn new(views: Vec<KvView>, device: &B::Device) -> Self {
        let numbers = views.iter().flat_map(|view| -> [usize; VIEW_SIZE] {
            let [first, second] = view.spans;
            // A window that reaches over every key is none.
            let window = view.window.unwrap_or(usize::MAX).min(view.len());
            [
                first.slot,
                first.start,
                first.len,
                second.slot,
                second.start,
                second.len,
                window,
            ]
        });
        Self {
            packed: packed(numbers, device),
            views,
        }
    }

    /// The view of each row.
    pub fn views(&self) -> &[KvView] {
        &self.views
    }

    /// The views as a device reads them: u32 `[batch * 7]`.
    pub fn packed(&self) -> IntTensor<B> {
        self.packed.clone().into_primitive()
    }

    /// Panics unless there is a view for each row of `batch`, all within a slab.
    pub(in crate::kernels) fn check(&self, batch: usize, num_slots: usize, capacity: usize) {
        assert_eq!(
            self.views.len(),
            batch,
            "one view for each row of the batch"
        );
        let spans = self.views.iter().flat_map(|view| view.spans);
        spans.for_each(|span| span.check(num_slots, capacity));
    }
}

impl<B: Backend> KvWrites<B> {
    /// One write for each row of the batch.
    ///
    /// # Panics
    /// If a number exceeds 32 bits.
    pub fn new(writes: Vec<KvWrite>, device: &B::Device) -> Self {
        let numbers = writes
            .iter()
            .flat_map(|write| -> [usize; WRITE_SIZE] { [write.slot, write.place, write.position] });
        Self {
            packed: packed(numbers, device),
            writes,
        }
    }

    /// The write of each row.
    pub fn writes(&self) -> &[KvWrite] {
        &self.writes
    }

    /// The writes as a device reads them: u32 `[batch * 3]`.
    pub fn packed(&self) -> IntTensor<B> {
        self.packed.clone().into_primitive()
    }

    /// Panics unless there is a write of `seq_len` tokens for each row of `batch`, all within a
    /// slab, and none over another.
    pub(in crate::kernels) fn check(
        &self,
        [batch, seq_len]: [usize; 2],
        num_slots: usize,
        capacity: usize,
    ) {
        assert_eq!(
            self.writes.len(),
            batch,
            "one write for each row of the batch"
        );
        for write in &self.writes {
            write.span(seq_len).check(num_slots, capacity);
        }
        if batch > 1 {
            let mut first: Vec<_> = self
                .writes
                .iter()
                .map(|write| (write.slot, write.place))
                .collect();
            first.sort_unstable();
            let is_apart = |pair: &[(usize, usize)]| {
                pair[0].0 != pair[1].0 || pair[0].1 + seq_len <= pair[1].1
            };
            assert!(
                first.windows(2).all(is_apart),
                "two rows write to one place"
            );
        }
    }
}

impl KvWrite {
    /// The places of `seq_len` tokens.
    pub fn span(&self, seq_len: usize) -> KvSpan {
        KvSpan {
            slot: self.slot,
            start: self.place,
            len: seq_len,
        }
    }
}

fn packed<B: Backend>(
    numbers: impl Iterator<Item = usize>,
    device: &B::Device,
) -> Tensor<B, 1, Int> {
    let numbers: Vec<u32> = numbers
        .map(|number| u32::try_from(number).expect("slots and places fit 32 bits"))
        .collect();
    let shape = [numbers.len()];
    Tensor::from_data(TensorData::new(numbers, shape), (device, DType::U32))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_goes_on_at_its_first_place() {
        let spans = |view: KvView| view.spans.map(KvSpan::places);
        assert_eq!(spans(KvView::of_ring(0, 8, 5, 2)), [5..7, 0..0]);
        assert_eq!(spans(KvView::of_ring(0, 8, 5, 8)), [5..8, 0..5]);
    }

    #[test]
    fn keys_are_left_out_from_the_first_on() {
        let ring = KvView::of_ring(0, 8, 5, 8);
        let left = |count| ring.without(count).spans.map(KvSpan::places);
        assert_eq!(left(2), [7..8, 0..5]);
        assert_eq!(left(4), [8..8, 1..5]);
    }

    #[test]
    fn a_query_sees_the_last_keys_before_it() {
        let view = KvView::of(0, 10);
        let seen = |view: KvView, query| view.seen(query, 4, AttentionMask::Causal);
        assert_eq!([0, 3].map(|query| seen(view, query)), [0..7, 0..10]);
        let narrow = view.with_window(3);
        assert_eq!([0, 3].map(|query| seen(narrow, query)), [4..7, 7..10]);
        assert_eq!(narrow.seen(0, 4, AttentionMask::Bidirectional), 7..10);
        // More queries than keys: the first see none.
        assert_eq!(seen(KvView::of(0, 2), 0), 0..0);
    }

    #[cfg(feature = "flex")]
    mod writes {
        use super::*;

        fn check(writes: &[(usize, usize)]) {
            let writes = writes.iter().map(|&(slot, place)| KvWrite {
                slot,
                place,
                position: 0,
            });
            let writes = KvWrites::<burn_flex::Flex>::new(writes.collect(), &Default::default());
            writes.check([writes.writes().len(), 3], 2, 8);
        }

        #[test]
        fn of_one_slot_may_lie_side_by_side() {
            check(&[(0, 5), (1, 0), (0, 2)]);
        }

        #[test]
        #[should_panic(expected = "two rows write to one place")]
        fn over_each_other_are_a_mistake() {
            check(&[(0, 4), (1, 4), (0, 2)]);
        }

        #[test]
        #[should_panic(expected = "place 9 of 8")]
        fn behind_the_slot_are_a_mistake() {
            check(&[(0, 6)]);
        }
    }
}
