//! Rotary position embedding (Su et al. 2021) of new tokens, and their keys and values into the
//! KV cache, in place.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::shape::assert_shape;
use super::{KvWrites, VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "rope_append";

/// New tokens, the cache they go to, and the rotation of every position.
#[derive(Debug, Clone)]
pub struct RopeAppendInputs<T, U = T> {
    /// Queries, then keys, then values, as one projection gives them:
    /// `[batch, seq_len, num_heads + 2 * num_kv_heads, head_dim]`
    pub qkv: T,
    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    pub key_cache: T,
    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    pub value_cache: T,
    /// Cosine of each position and rotated pair, f32: `[max_positions, rotary_dim / 2]`
    pub cos: U,
    /// Sine, as `cos`.
    pub sin: U,
}

/// What [`rope_append()`] gives back.
#[derive(Debug, Clone)]
pub struct RopeAppended<T> {
    /// The rotated queries: `[batch, num_heads, seq_len, head_dim]`
    pub query: T,
    /// The cache that came in, with the rotated keys of the new tokens.
    pub key_cache: T,
    /// The cache that came in, with the values of the new tokens.
    pub value_cache: T,
}

/// Rotates the queries and keys of new tokens and writes keys and values into the cache.
///
/// Where the tokens of row `b` of the batch go, and which rows of the tables turn them, says
/// `writes.writes()[b]`. Pairs are `(i, i + rotary_dim / 2)` ("rotate half", the layout of Hugging
/// Face checkpoints); elements from `rotary_dim` on pass unchanged. The caches are written in place
/// and keep their type.
///
/// # Shapes
/// As written at [`RopeAppendInputs`] and [`RopeAppended`].
///
/// # Panics
/// If the shapes do not fit, if a write does not fit its slot or the tables, if two write to one
/// place, or, where a kernel runs, if a cache is shared with another tensor: a cache is never copied
/// silently.
pub fn rope_append<B: VlmBackend>(
    inputs: RopeAppendInputs<Tensor<B, 4>, Tensor<B, 2>>,
    writes: &KvWrites<B>,
) -> RopeAppended<Tensor<B, 4>> {
    check(&inputs, writes);
    let appended = B::vlm_rope_append(
        RopeAppendInputs {
            qkv: primitive(inputs.qkv),
            key_cache: primitive(inputs.key_cache),
            value_cache: primitive(inputs.value_cache),
            cos: primitive(inputs.cos),
            sin: primitive(inputs.sin),
        },
        writes,
    );
    RopeAppended {
        query: tensor(appended.query),
        key_cache: tensor(appended.key_cache),
        value_cache: tensor(appended.value_cache),
    }
}

/// The query heads of `qkv`.
pub(super) fn num_heads(qkv_heads: usize, num_kv_heads: usize) -> usize {
    qkv_heads - 2 * num_kv_heads
}

fn check<B: VlmBackend>(
    inputs: &RopeAppendInputs<Tensor<B, 4>, Tensor<B, 2>>,
    writes: &KvWrites<B>,
) {
    let [batch, seq_len, qkv_heads, head_dim] = inputs.qkv.dims();
    let [num_slots, num_kv_heads, capacity, _] = inputs.key_cache.dims();
    let [max_positions, half] = inputs.cos.dims();
    let RopeAppendInputs {
        key_cache,
        value_cache,
        sin,
        ..
    } = inputs;
    assert_shape!(key_cache, [num_slots, num_kv_heads, capacity, head_dim]);
    assert_shape!(value_cache, [num_slots, num_kv_heads, capacity, head_dim]);
    assert_shape!(sin, [max_positions, half]);
    assert!(
        qkv_heads > 2 * num_kv_heads && qkv_heads.is_multiple_of(num_kv_heads),
        "{qkv_heads} heads of queries, keys and values, {num_kv_heads} of the cache"
    );
    assert!(
        2 * half <= head_dim,
        "rotary_dim {} exceeds head_dim {head_dim}",
        2 * half
    );
    writes.check([batch, seq_len], num_slots, capacity);
    for write in writes.writes() {
        let end = write.position + seq_len;
        assert!(
            end <= max_positions,
            "position {end} of the {max_positions} in the tables"
        );
    }
}
