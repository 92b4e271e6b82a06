//! [`rope_append()`](super::rope_append()) on the CPU, in place.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{RopeAppendInputs, num_heads};
use crate::kernels::cpu::{
    Buffer, CacheSlab, MIN_ELEMENTS_PER_TASK, Tokens, activations, float_tensor,
};
use crate::kernels::{KvWrite, LaunchRefused};

/// Writes into the caches of `inputs`; returns the rotated queries.
pub(in crate::kernels) fn run(
    inputs: &mut RopeAppendInputs<FlexTensor>,
    writes: &[KvWrite],
) -> Result<FlexTensor, LaunchRefused> {
    let RopeAppendInputs {
        qkv,
        key_cache,
        value_cache,
        cos,
        sin,
    } = inputs;
    let [_, half] = cos.shape().dims();
    let (cos, sin) = (activations(cos)?, activations(sin)?);
    let rotation = Rotation {
        cos: &cos,
        sin: &sin,
        half,
        writes,
    };
    let tokens = Tokens::new(qkv)?;
    // Every refusal comes before the first write: the reference starts from what came in.
    let (mut key_cache, mut value_cache) =
        (CacheSlab::new(key_cache)?, CacheSlab::new(value_cache)?);
    let [_, _, qkv_heads, _] = tokens.dims();
    let [_, num_kv_heads, ..] = key_cache.dims();
    let num_heads = num_heads(qkv_heads, num_kv_heads);
    let query = rotation.rotate(&tokens, num_heads, qkv.dtype());
    append(&mut key_cache, &tokens, num_heads, writes, |token, row| {
        rotation.apply(token, row)
    });
    append(
        &mut value_cache,
        &tokens,
        num_heads + num_kv_heads,
        writes,
        |_, _| (),
    );
    Ok(query)
}

/// Writes the heads of the tokens from `first_head` on to their places, each row after `change`.
fn append(
    cache: &mut CacheSlab,
    tokens: &Tokens,
    first_head: usize,
    writes: &[KvWrite],
    change: impl Fn([usize; 2], &mut [f32]),
) {
    let [_, num_kv_heads, _, head_dim] = cache.dims();
    let [_, seq_len, ..] = tokens.dims();
    let mut buffer = vec![0.0; head_dim];
    for (batch, write) in writes.iter().enumerate() {
        for head in 0..num_kv_heads {
            for token in 0..seq_len {
                tokens.read([batch, token, first_head + head], &mut buffer);
                change([batch, token], &mut buffer);
                cache.write([write.slot, head, write.place + token], &buffer);
            }
        }
    }
}

/// The rotation of every token of the batch.
struct Rotation<'a> {
    /// `[max_positions, half]`
    cos: &'a [f32],
    /// `[max_positions, half]`
    sin: &'a [f32],
    half: usize,
    writes: &'a [KvWrite],
}

impl Rotation<'_> {
    /// The first `num_heads` heads of `[batch, seq_len, heads, head_dim]`, rotated:
    /// `[batch, num_heads, seq_len, head_dim]`.
    fn rotate(&self, tokens: &Tokens, num_heads: usize, dtype: DType) -> FlexTensor {
        let [batch, seq_len, _, head_dim] = tokens.dims();
        let mut rotated = Buffer::of_len(batch * num_heads * seq_len * head_dim);
        let rows = rotated.par_chunks_exact_mut(head_dim.max(1)).enumerate();
        let min_rows = MIN_ELEMENTS_PER_TASK.div_ceil(head_dim.max(1));
        rows.with_min_len(min_rows).for_each(|(index, row)| {
            let (head, token) = (index / seq_len, index % seq_len);
            let (batch, head) = (head / num_heads, head % num_heads);
            tokens.read([batch, token, head], row);
            self.apply([batch, token], row);
        });
        float_tensor(rotated, [batch, num_heads, seq_len, head_dim], dtype)
    }

    /// Rotates the row of a token, given by its place in the batch and in the sequence.
    fn apply(&self, [batch, token]: [usize; 2], row: &mut [f32]) {
        let position = self.writes[batch].position + token;
        let angles = position * self.half..(position + 1) * self.half;
        let (low, high) = row.split_at_mut(self.half);
        let angles = self.cos[angles.clone()].iter().zip(&self.sin[angles]);
        for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
            (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
        }
    }
}
