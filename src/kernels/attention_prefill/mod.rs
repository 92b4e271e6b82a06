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
use super::{VlmBackend, primitive, tensor};

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

/// One slot of a KV cache, and how many of its positions are filled.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KvRow {
    /// The slot.
    pub slot: usize,
    /// Filled positions, from 0.
    pub len: usize,
}

/// Which keys a query may see.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum AttentionMask {
    /// The last query sees every key, each query before it one key less.
    Causal,
    /// Every query sees every key.
    Bidirectional,
}

/// `softmax(q k^T / sqrt(head_dim)) v` with softmax and sums in f32.
///
/// Row `b` of the batch attends to the first `rows[b].len` positions of slot `rows[b].slot`; what
/// lies behind them is never read. Query head `h` uses key-value head
/// `h / (num_heads / num_kv_heads)`. A query that sees no key gives zeros. Slots may be shared by
/// rows. Self-attention without a cache passes its keys as slots `0..batch`.
///
/// # Shapes
/// - `inputs`: as written at [`AttentionInputs`]
/// - output: `[batch, seq_q, num_heads, head_dim]`, in the type of the query: token by token, as
///   the output projection reads it
///
/// # Panics
/// If the shapes do not fit or a row lies outside the slab.
pub fn attention_prefill<B: VlmBackend>(
    inputs: AttentionInputs<Tensor<B, 4>>,
    rows: &[KvRow],
    mask: AttentionMask,
) -> Tensor<B, 4> {
    check(&inputs, rows);
    tensor(B::vlm_attention_prefill(
        inputs.into_primitives(),
        rows,
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
    rows: &[KvRow],
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
    assert_eq!(rows.len(), batch, "one cache row for each row of the batch");
    for row in rows {
        assert!(row.slot < num_slots, "slot {} of {num_slots}", row.slot);
        assert!(row.len <= capacity, "{} positions of {capacity}", row.len);
    }
}
