//! Scaled dot-product attention of many queries over keys that may lie in a KV cache.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::shape::assert_shape;
use super::{AttentionMask, KvViews, VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "attention_prefill";

/// Queries and the slab that holds their keys and values.
#[derive(Debug, Clone)]
pub struct AttentionInputs<T> {
    /// `[batch, num_heads, seq_q, head_dim]`
    pub query: T,
    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    pub key: T,
    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    pub value: T,
}

/// `softmax(q k^T / sqrt(head_dim)) v` with softmax and sums in f32.
///
/// Row `b` of the batch attends to the keys of `views.views()[b]`, as far as `mask` and their window
/// allow; nothing else of the slab is read. Query head `h` uses key-value head
/// `h / (num_heads / num_kv_heads)`. A query that sees no key gives zeros. Views may overlap.
/// Self-attention without a cache passes its keys as slots `0..batch`.
///
/// # Shapes
/// - `inputs`: as written at [`AttentionInputs`]
/// - output: `[batch, seq_q, num_heads, head_dim]`, in the type of the query: token by token, as
///   the output projection reads it
///
/// # Panics
/// If the shapes do not fit or a view lies outside the slab.
pub fn attention_prefill<B: VlmBackend>(
    inputs: AttentionInputs<Tensor<B, 4>>,
    views: &KvViews<B>,
    mask: AttentionMask,
) -> Tensor<B, 4> {
    check(&inputs, views);
    tensor(B::vlm_attention_prefill(
        inputs.into_primitives(),
        views,
        mask,
    ))
}

impl<B: VlmBackend> AttentionInputs<Tensor<B, 4>> {
    pub(in crate::kernels) fn into_primitives(
        self,
    ) -> AttentionInputs<burn::tensor::ops::FloatTensor<B>> {
        AttentionInputs {
            query: primitive(self.query),
            key: primitive(self.key),
            value: primitive(self.value),
        }
    }
}

pub(in crate::kernels) fn check<B: VlmBackend>(
    inputs: &AttentionInputs<Tensor<B, 4>>,
    views: &KvViews<B>,
) {
    let [batch, num_heads, _, head_dim] = inputs.query.dims();
    let [num_slots, num_kv_heads, capacity, _] = inputs.key.dims();
    let AttentionInputs { key, value, .. } = inputs;
    assert_shape!(key, [num_slots, num_kv_heads, capacity, head_dim]);
    assert_shape!(value, [num_slots, num_kv_heads, capacity, head_dim]);
    assert!(
        num_heads.is_multiple_of(num_kv_heads),
        "{num_heads} heads share {num_kv_heads}"
    );
    views.check(batch, num_slots, capacity);
}
