use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, DType, Int, Tensor, TensorMetadata};

use super::{AttentionInputs, AttentionMask};
use crate::kernels::{KvRow, primitive, tensor};

pub(crate) fn run<B: Backend>(
    inputs: AttentionInputs<FloatTensor<B>>,
    rows: &[KvRow],
    mask: AttentionMask,
) -> FloatTensor<B> {
    let dtype = inputs.query.dtype();
    let query = tensor::<B, 4>(inputs.query).cast(DType::F32);
    let key = tensor::<B, 4>(inputs.key);
    let value = tensor::<B, 4>(inputs.value);
    let answers = rows.iter().enumerate().map(|(index, row)| {
        let query = query.clone().slice_dim(0, index..index + 1);
        attend(query, filled(&key, *row), filled(&value, *row), mask)
    });
    let answers = Tensor::cat(answers.collect(), 0); // [batch, num_heads, seq_q, head_dim]
    primitive(answers.swap_dims(1, 2).cast(dtype))
}

/// The filled positions of one slot, f32: `[1, num_kv_heads, len, head_dim]`.
fn filled<B: Backend>(slab: &Tensor<B, 4>, row: KvRow) -> Tensor<B, 4> {
    let [_, num_kv_heads, _, head_dim] = slab.dims();
    let slot = row.slot..row.slot + 1;
    slab.clone()
        .slice([slot, 0..num_kv_heads, 0..row.len, 0..head_dim])
        .cast(DType::F32)
}

/// One row of the batch: `[1, num_heads, seq_q, head_dim]` in and out.
fn attend<B: Backend>(
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    value: Tensor<B, 4>,
    mask: AttentionMask,
) -> Tensor<B, 4> {
    let [_, num_heads, seq_q, head_dim] = query.dims();
    let [_, num_kv_heads, seq_kv, _] = key.dims();
    if seq_kv == 0 {
        return query.zeros_like();
    }
    let group = num_heads / num_kv_heads;
    // The query heads that share a key-value head are one longer sequence to it.
    let query = query.reshape([1, num_kv_heads, group * seq_q, head_dim]);
    let scale = 1.0 / (head_dim as f64).sqrt();
    let scores = query.mul_scalar(scale).matmul(key.swap_dims(2, 3)); // k^T: [.., head_dim, seq_kv]
    let weights = match mask {
        AttentionMask::Bidirectional => softmax(scores, 3),
        AttentionMask::Causal => {
            let hidden = future::<B>(group, seq_q, seq_kv, &scores.device());
            // Zeroed again after the softmax: a query that sees no key gives zeros, not an average.
            softmax(scores.mask_fill(hidden.clone(), f32::MIN), 3).mask_fill(hidden, 0.0)
        }
    };
    weights
        .matmul(value)
        .reshape([1, num_heads, seq_q, head_dim])
}

/// True where a query must not look: `[1, 1, group * seq_q, seq_kv]`.
fn future<B: Backend>(
    group: usize,
    seq_q: usize,
    seq_kv: usize,
    device: &B::Device,
) -> Tensor<B, 4, Bool> {
    let offset = seq_kv as i64 - seq_q as i64;
    let last_seen = Tensor::<B, 1, Int>::arange(offset..offset + seq_q as i64, device);
    let last_seen = last_seen.reshape([seq_q, 1]).repeat_dim(0, group);
    let keys = Tensor::<B, 1, Int>::arange(0..seq_kv as i64, device).reshape([1, seq_kv]);
    let shape = [group * seq_q, seq_kv];
    keys.expand(shape)
        .greater(last_seen.expand(shape))
        .unsqueeze()
}
