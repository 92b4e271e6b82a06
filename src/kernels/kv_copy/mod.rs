//! Places of one slot of a KV cache to another slot, in place: what a fork of a sequence or a beam
//! costs.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::{KvSpan, VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "kv_copy";

/// Copies places of one slot to the same places of slot `to_slot`.
///
/// Every head of these places is copied as it is stored, and nothing else is touched: the slab is
/// written in place.
///
/// # Shapes
/// - `slab`: `[num_slots, num_kv_heads, capacity, head_dim]`
/// - answer: the slab that came in
///
/// # Panics
/// If the slots are the same, if the places do not lie within the slab, or, where a kernel runs, if
/// the slab is shared with another tensor: a cache is never copied silently.
pub fn kv_copy<B: VlmBackend>(slab: Tensor<B, 4>, from: KvSpan, to_slot: usize) -> Tensor<B, 4> {
    check(slab.dims(), from, to_slot);
    if from.len == 0 {
        return slab;
    }
    tensor(B::vlm_kv_copy(primitive(slab), from, to_slot))
}

fn check([num_slots, _, capacity, _]: [usize; 4], from: KvSpan, to_slot: usize) {
    let to = KvSpan {
        slot: to_slot,
        ..from
    };
    for span in [from, to] {
        span.check(num_slots, capacity);
    }
    assert_ne!(from.slot, to_slot, "places are copied to another slot");
}
