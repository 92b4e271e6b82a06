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
use super::{KvRow, VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "rope_append";

/// New tokens, the cache they go to, and the rotation of every position.
#[derive(Debug, Clone)]
pub struct RopeAppendInputs<T, U = T> {
    /// `[batch, seq_len, num_heads, head_dim]`
    pub query: T,
    /// `[batch, seq_len, num_kv_heads, head_dim]`
    pub key: T,
    /// `[batch, seq_len, num_kv_heads, head_dim]`
    pub value: T,
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
/// Row `b` of the batch goes to slot `rows[b].slot`, at the positions that follow the
/// `rows[b].len` already there; these are also the positions it is rotated by. Pairs are
/// `(i, i + rotary_dim / 2)` ("rotate half", the layout of Hugging Face checkpoints); elements
/// from `rotary_dim` on pass unchanged. The caches are written in place and keep their type.
///
/// # Shapes
/// As written at [`RopeAppendInputs`] and [`RopeAppended`].
///
/// # Panics
/// If the shapes do not fit, if a row does not fit its slot or the tables, if two rows share a
/// slot, or, where a kernel runs, if a cache is shared with another tensor: a cache is never
/// copied silently.
pub fn rope_append<B: VlmBackend>(
    inputs: RopeAppendInputs<Tensor<B, 4>, Tensor<B, 2>>,
    rows: &[KvRow],
) -> RopeAppended<Tensor<B, 4>> {
    check(&inputs, rows);
    let appended = B::vlm_rope_append(
        RopeAppendInputs {
            query: primitive(inputs.query),
            key: primitive(inputs.key),
            value: primitive(inputs.value),
            key_cache: primitive(inputs.key_cache),
            value_cache: primitive(inputs.value_cache),
            cos: primitive(inputs.cos),
            sin: primitive(inputs.sin),
        },
        rows,
    );
    RopeAppended {
        query: tensor(appended.query),
        key_cache: tensor(appended.key_cache),
        value_cache: tensor(appended.value_cache),
    }
}

fn check<B: VlmBackend>(inputs: &RopeAppendInputs<Tensor<B, 4>, Tensor<B, 2>>, rows: &[KvRow]) {
    let [batch, seq_len, num_heads, head_dim] = inputs.query.dims();
    let [num_slots, num_kv_heads, capacity, _] = inputs.key_cache.dims();
    let [max_positions, half] = inputs.cos.dims();
    let RopeAppendInputs {
        key,
        value,
        key_cache,
        value_cache,
        sin,
        ..
    } = inputs;
    assert_shape!(key, [batch, seq_len, num_kv_heads, head_dim]);
    assert_shape!(value, [batch, seq_len, num_kv_heads, head_dim]);
    assert_shape!(key_cache, [num_slots, num_kv_heads, capacity, head_dim]);
    assert_shape!(value_cache, [num_slots, num_kv_heads, capacity, head_dim]);
    assert_shape!(sin, [max_positions, half]);
    assert!(
        num_heads.is_multiple_of(num_kv_heads),
        "{num_heads} heads share {num_kv_heads}"
    );
    assert!(
        2 * half <= head_dim,
        "rotary_dim {} exceeds head_dim {head_dim}",
        2 * half
    );
    assert_eq!(rows.len(), batch, "one cache row for each row of the batch");
    let room = capacity.min(max_positions);
    for (index, row) in rows.iter().enumerate() {
        let end = row.len + seq_len;
        assert!(row.slot < num_slots, "slot {} of {num_slots}", row.slot);
        assert!(
            end <= room,
            "position {end} is past the {room} of the cache"
        );
        assert!(
            rows[..index].iter().all(|other| other.slot != row.slot),
            "slot used twice"
        );
    }
}
