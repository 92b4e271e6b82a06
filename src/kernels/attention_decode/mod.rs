//! Scaled dot-product attention of one query a row over its KV cache.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::attention_prefill::{AttentionInputs, check};
use super::shape::assert_shape;
use super::{KvViews, VlmBackend, tensor};

pub(super) const NAME: &str = "attention_decode";

/// [`attention_prefill()`](super::attention_prefill()) for `seq_q = 1`: the step of generation,
/// bound by reading the cache once.
///
/// # Shapes
/// - `inputs.query`: `[batch, num_heads, 1, head_dim]`; `inputs.key`, `inputs.value`: the slab,
///   `[num_slots, num_kv_heads, capacity, head_dim]`
/// - output: `[batch, 1, num_heads, head_dim]`
///
/// # Panics
/// If the shapes do not fit or a view lies outside the slab.
pub fn attention_decode<B: VlmBackend>(
    inputs: AttentionInputs<Tensor<B, 4>>,
    views: &KvViews<B>,
) -> Tensor<B, 4> {
    check(&inputs, views);
    let query = &inputs.query;
    let [batch, num_heads, _, head_dim] = query.dims();
    assert_shape!(query, [batch, num_heads, 1, head_dim]);
    tensor(B::vlm_attention_decode(inputs.into_primitives(), views))
}
