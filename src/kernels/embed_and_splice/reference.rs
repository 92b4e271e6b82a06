use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::SplicedRows;
use crate::kernels::{primitive, tensor};

pub(crate) fn run<B: Backend>(
    table: FloatTensor<B>,
    token_ids: &[u32],
    images: Vec<SplicedRows<FloatTensor<B>>>,
    dtype: DType,
) -> FloatTensor<B> {
    let table = tensor::<B, 2>(table);
    let mut parts = Vec::new();
    let mut next = 0;
    for image in images {
        let rows = tensor::<B, 2>(image.rows);
        let [num_rows, _] = rows.dims();
        push_text(&mut parts, &table, &token_ids[next..image.start], dtype);
        parts.push(rows.cast(dtype));
        next = image.start + num_rows;
    }
    push_text(&mut parts, &table, &token_ids[next..], dtype);
    primitive(Tensor::cat(parts, 0))
}

/// Appends the embeddings of `token_ids`, if there are any.
fn push_text<B: Backend>(
    parts: &mut Vec<Tensor<B, 2>>,
    table: &Tensor<B, 2>,
    token_ids: &[u32],
    dtype: DType,
) {
    let Range { end: count, .. } = 0..token_ids.len();
    if count == 0 {
        return;
    }
    let ids = token_ids.iter().map(|id| *id as i32).collect();
    let ids =
        Tensor::<B, 1, Int>::from_data(TensorData::new::<i32, _>(ids, [count]), &table.device());
    parts.push(table.clone().select(0, ids).cast(dtype));
}
