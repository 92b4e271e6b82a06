use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Slice, Tensor, TensorMetadata};

use super::{RopeAppendInputs, RopeAppended};
use crate::kernels::{KvRow, primitive, tensor};

pub(crate) fn run<B: Backend>(
    inputs: RopeAppendInputs<FloatTensor<B>>,
    rows: &[KvRow],
) -> RopeAppended<FloatTensor<B>> {
    let [_, seq_len, _, _] = inputs.query.shape().dims();
    let table = |table: FloatTensor<B>| positions::<B>(tensor(table), rows, seq_len);
    let (cos, sin) = (table(inputs.cos), table(inputs.sin));
    let query = rotate(tensor::<B, 4>(inputs.query), cos.clone(), sin.clone());
    let key = rotate(tensor::<B, 4>(inputs.key), cos, sin);
    let value = tensor::<B, 4>(inputs.value).swap_dims(1, 2); // [batch, kv_heads, seq_len, head_dim]
    RopeAppended {
        query: primitive(query),
        key_cache: append::<B>(inputs.key_cache, key, rows),
        value_cache: append::<B>(inputs.value_cache, value, rows),
    }
}

/// The table rows of each new token: `[batch, 1, seq_len, rotary_dim / 2]`.
fn positions<B: Backend>(table: Tensor<B, 2>, rows: &[KvRow], seq_len: usize) -> Tensor<B, 4> {
    let tables = rows
        .iter()
        .map(|row| table.clone().slice_dim(0, row.len..row.len + seq_len));
    Tensor::stack::<3>(tables.collect(), 0).unsqueeze_dim(1)
}

/// `[batch, seq_len, heads, head_dim]` to the rotated `[batch, heads, seq_len, head_dim]`.
fn rotate<B: Backend>(x: Tensor<B, 4>, cos: Tensor<B, 4>, sin: Tensor<B, 4>) -> Tensor<B, 4> {
    let dtype = x.dtype();
    let x = x.swap_dims(1, 2).cast(DType::F32); // [batch, heads, seq_len, head_dim]
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

/// Writes `new` `[batch, kv_heads, seq_len, head_dim]` behind what the slots hold.
fn append<B: Backend>(
    mut cache: FloatTensor<B>,
    new: Tensor<B, 4>,
    rows: &[KvRow],
) -> FloatTensor<B> {
    let [_, kv_heads, seq_len, head_dim] = new.dims();
    let new = new.cast(cache.dtype());
    for (index, row) in rows.iter().enumerate() {
        let slices: [Slice; 4] = [
            (row.slot..row.slot + 1).into(),
            (0..kv_heads).into(),
            (row.len..row.len + seq_len).into(),
            (0..head_dim).into(),
        ];
        let rows_of_slot = new.clone().slice_dim(0, index..index + 1);
        cache = B::float_slice_assign(cache, &slices, primitive(rows_of_slot));
    }
    cache
}
