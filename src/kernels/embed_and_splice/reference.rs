use std::ops::Range;

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Int, Tensor, TensorData, TensorMetadata};

use super::{SplicedRows, TokenIds, TokenIdsPrimitive};
use crate::kernels::{MatrixPrimitive, MatrixTensor, primitive, tensor};

pub(crate) fn run<B: Backend>(
    table: MatrixPrimitive<B>,
    token_ids: TokenIdsPrimitive<'_, B>,
    images: Vec<SplicedRows<FloatTensor<B>>>,
    dtype: DType,
) -> FloatTensor<B> {
    let [vocab_size, _] = table.dims();
    let table = MatrixTensor::<B>::from_primitive(table);
    let device = table.device();
    let count = match &token_ids {
        TokenIds::Host(ids) => ids.len(),
        TokenIds::Device(ids) => ids.shape().num_elements(),
    };
    let text = |range: Range<usize>| match &token_ids {
        TokenIds::Host(ids) => from_host(&table, &ids[range], &device),
        TokenIds::Device(ids) => {
            let ids = Tensor::<B, 1, Int>::from_primitive(ids.clone());
            from_device(&table, vocab_size, ids.slice(range))
        }
    };
    let mut parts = Vec::new();
    let mut next = 0;
    for image in images {
        let rows = tensor::<B, 2>(image.rows);
        let [num_rows, _] = rows.dims();
        if next < image.start {
            parts.push(text(next..image.start).cast(dtype));
        }
        parts.push(rows.cast(dtype));
        next = image.start + num_rows;
    }
    if next < count {
        parts.push(text(next..count).cast(dtype));
    }
    primitive(Tensor::cat(parts, 0))
}

fn from_host<B: Backend>(table: &MatrixTensor<B>, ids: &[u32], device: &B::Device) -> Tensor<B, 2> {
    let ids: Vec<i32> = ids.iter().map(|id| *id as i32).collect();
    let count = ids.len();
    let ids = Tensor::<B, 1, Int>::from_data(TensorData::new(ids, [count]), device);
    table.select(ids).widened()
}

/// Rows of zeros where an id is not in the table.
fn from_device<B: Backend>(
    table: &MatrixTensor<B>,
    vocab_size: usize,
    ids: Tensor<B, 1, Int>,
) -> Tensor<B, 2> {
    let [count] = ids.dims();
    let is_below = ids.clone().lower_elem(vocab_size as i64);
    let is_unknown = is_below
        .bool_and(ids.clone().greater_equal_elem(0))
        .bool_not();
    let rows = table.select(ids.mask_fill(is_unknown.clone(), 0)).widened();
    let [_, hidden_size] = rows.dims();
    // Not a product with zero: the first row may hold what is no number.
    let is_unknown = is_unknown.reshape([count, 1]).expand([count, hidden_size]);
    rows.mask_fill(is_unknown, 0.0)
}
