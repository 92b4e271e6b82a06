//! [`rope_append()`](super::rope_append()) on the CPU, in place.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::RopeAppendInputs;
use crate::kernels::cpu::{
    FloatSliceMut, MIN_ELEMENTS_PER_TASK, Tokens, activations, answer, refused,
};
use crate::kernels::{KvRow, LaunchRefused};

/// Writes into the caches of `inputs`; returns the rotated queries.
pub(in crate::kernels) fn run(
    inputs: &mut RopeAppendInputs<FlexTensor>,
    rows: &[KvRow],
) -> Result<FlexTensor, LaunchRefused> {
    let RopeAppendInputs {
        query,
        key,
        value,
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
        rows,
    };
    let (key, value) = (Tokens::new(key)?, Tokens::new(value)?);
    // Every refusal comes before the first write: the reference starts from what came in.
    check_cache(key_cache)?;
    check_cache(value_cache)?;
    let query = rotation.rotate(&Tokens::new(query)?, query.dtype());
    append(key_cache, &key, rows, |place, row| {
        rotation.apply(place, row)
    });
    append(value_cache, &value, rows, |_, _| ());
    Ok(query)
}

fn check_cache(cache: &FlexTensor) -> Result<(), LaunchRefused> {
    if !matches!(cache.dtype(), DType::F32 | DType::F16 | DType::BF16) {
        return Err(refused(format!(
            "no kernel for a {:?} cache",
            cache.dtype()
        )));
    }
    let is_whole = cache.is_contiguous() && cache.layout().start_offset() == 0;
    assert!(
        is_whole,
        "a KV cache is written in place, so it must be no view"
    );
    Ok(())
}

/// Writes the tokens behind what the slots hold, each row after `change`.
fn append(
    cache: &mut FlexTensor,
    tokens: &Tokens,
    rows: &[KvRow],
    change: impl Fn([usize; 2], &mut [f32]),
) {
    let [_, num_kv_heads, capacity, head_dim] = cache.shape().dims();
    let [_, seq_len, ..] = tokens.dims();
    let mut target = FloatSliceMut::unique(cache)
        .expect("a KV cache is never copied, so no other tensor may share it");
    let mut buffer = vec![0.0; head_dim];
    for (batch, row) in rows.iter().enumerate() {
        for head in 0..num_kv_heads {
            for token in 0..seq_len {
                tokens.read([batch, token, head], &mut buffer);
                change([batch, token], &mut buffer);
                let slot = row.slot * num_kv_heads + head;
                target.write((slot * capacity + row.len + token) * head_dim, &buffer);
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
    rows: &'a [KvRow],
}

impl Rotation<'_> {
    /// `[batch, seq_len, heads, head_dim]` to the rotated `[batch, heads, seq_len, head_dim]`.
    fn rotate(&self, tokens: &Tokens, dtype: DType) -> FlexTensor {
        let [batch, seq_len, heads, head_dim] = tokens.dims();
        let mut rotated = vec![0.0; batch * heads * seq_len * head_dim];
        let rows = rotated.par_chunks_exact_mut(head_dim.max(1)).enumerate();
        let min_rows = MIN_ELEMENTS_PER_TASK.div_ceil(head_dim.max(1));
        rows.with_min_len(min_rows).for_each(|(index, row)| {
            let (head, token) = (index / seq_len, index % seq_len);
            let (batch, head) = (head / heads, head % heads);
            tokens.read([batch, token, head], row);
            self.apply([batch, token], row);
        });
        answer(rotated, [batch, heads, seq_len, head_dim], dtype)
    }

    /// Rotates the row of a token, given by its place in the batch and in the sequence.
    fn apply(&self, [batch, token]: [usize; 2], row: &mut [f32]) {
        let position = self.rows[batch].len + token;
        let angles = position * self.half..(position + 1) * self.half;
        let (low, high) = row.split_at_mut(self.half);
        let angles = self.cos[angles.clone()].iter().zip(&self.sin[angles]);
        for ((low, high), (cos, sin)) in low.iter_mut().zip(high).zip(angles) {
            (*low, *high) = (*low * cos - *high * sin, *high * cos + *low * sin);
        }
    }
}
