use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Slice, Tensor, TensorMetadata};

use super::{RopeAppendInputs, RopeAppended, num_heads};
use crate::kernels::{KvWrite, primitive, tensor, wide};

pub(crate) fn run<B: Backend>(
    inputs: RopeAppendInputs<FloatTensor<B>>,
    writes: &[KvWrite],
) -> RopeAppended<FloatTensor<B>> {
    let qkv = tensor::<B, 4>(inputs.qkv);
    let [_, seq_len, qkv_heads, _] = qkv.dims();
    let [_, num_kv_heads, ..] = inputs.key_cache.shape().dims::<4>();
    let num_heads = num_heads(qkv_heads, num_kv_heads);
    let heads = |start: usize, count: usize| qkv.clone().slice_dim(2, start..start + count);
    let table = |table: FloatTensor<B>| positions::<B>(tensor(table), writes, seq_len);
    let (cos, sin) = (table(inputs.cos), table(inputs.sin));
    let query = rotate(heads(0, num_heads), cos.clone(), sin.clone());
    let key = rotate(heads(num_heads, num_kv_heads), cos, sin);
    let value = heads(num_heads + num_kv_heads, num_kv_heads);
    let value = value.swap_dims(1, 2); // [batch, num_kv_heads, seq_len, head_dim]
    RopeAppended {
        query: primitive(query),
        key_cache: append::<B>(inputs.key_cache, key, writes),
        value_cache: append::<B>(inputs.value_cache, value, writes),
    }
}

/// The table rows of each new token: `[batch, 1, seq_len, rotary_dim / 2]`.
fn positions<B: Backend>(table: Tensor<B, 2>, writes: &[KvWrite], seq_len: usize) -> Tensor<B, 4> {
    let tables = writes.iter().map(|write| {
        let positions = write.position..write.position + seq_len;
        table.clone().slice_dim(0, positions)
    });
    Tensor::stack::<3>(tables.collect(), 0).unsqueeze_dim(1)
}

/// `[batch, seq_len, heads, head_dim]` to the rotated `[batch, heads, seq_len, head_dim]`.
fn rotate<B: Backend>(x: Tensor<B, 4>, cos: Tensor<B, 4>, sin: Tensor<B, 4>) -> Tensor<B, 4> {
    let dtype = x.dtype();
    let x = x.swap_dims(1, 2).cast(wide(dtype)); // [batch, heads, seq_len, head_dim]
    let [_, _, _, head_dim] = x.dims();
    let [_, _, _, half] = cos.dims();
    let low = x.clone().slice_dim(3, 0..half);
    let high = x.clone().slice_dim(3, half..2 * half);
    let mut parts = vec![
        low.clone() * cos.clone() - high.clone() * sin.clone(),
        high * cos + low * sin,
    ];
    if 2 * half < head_dim {
        parts.push(x.slice_dim(3, 2 * half..head_dim));
    }
    Tensor::cat(parts, 3).cast(dtype)
}

/// Writes `new` `[batch, kv_heads, seq_len, head_dim]` to its places.
fn append<B: Backend>(
    mut cache: FloatTensor<B>,
    new: Tensor<B, 4>,
    writes: &[KvWrite],
) -> FloatTensor<B> {
    let [_, kv_heads, seq_len, head_dim] = new.dims();
    let new = new.cast(cache.dtype());
    for (index, write) in writes.iter().enumerate() {
        let slices: [Slice; 4] = [
            (write.slot..write.slot + 1).into(),
            (0..kv_heads).into(),
            (write.place..write.place + seq_len).into(),
            (0..head_dim).into(),
        ];
        let tokens = new.clone().slice_dim(0, index..index + 1);
        cache = B::float_slice_assign(cache, &slices, primitive(tokens));
    }
    cache
}
