use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::SampleRow;
use crate::kernels::argmax::reference::not_finite;
use crate::kernels::tensor;

pub(crate) fn run<B: Backend>(logits: FloatTensor<B>, rows: &[SampleRow]) -> IntTensor<B> {
    let logits = tensor::<B, 2>(logits).cast(DType::F32);
    let [num_rows, vocab_size] = logits.dims();
    let device = logits.device();
    let column = |value: fn(&SampleRow) -> f32| column::<B>(rows, value, &device);

    let not_finite = not_finite(&logits);
    let probabilities = softmax(logits / column(|row| row.temperature), 1);
    let (likely, ids) = probabilities.sort_descending_with_indices(1);

    let rank = Tensor::<B, 1, Int>::arange(0..vocab_size as i64, &device).float();
    let rank = rank.reshape([1, vocab_size]).repeat_dim(0, num_rows);
    // An f32 counts exactly up to 2^24, beyond any vocabulary.
    let beyond_k = rank.greater_equal(column(|row| row.top_k.min(1 << 24) as f32).expand([num_rows, vocab_size]));
    let likely = likely.mask_fill(beyond_k, 0.0);
    let likely = likely.clone() / likely.sum_dim(1);

    let before = likely.clone().cumsum(1) - likely.clone();
    let beyond_p = before.greater_equal(column(|row| row.top_p).expand([num_rows, vocab_size]));
    let floor = likely.clone().max_dim(1) * column(|row| row.min_p);
    let too_rare = likely.clone().lower(floor.expand([num_rows, vocab_size]));
    let likely = likely.mask_fill(beyond_p.bool_or(too_rare), 0.0);

    let drawn = likely.clone().sum_dim(1) * column(|row| row.uniform);
    let passed = likely.clone().cumsum(1).lower_equal(drawn.expand([num_rows, vocab_size]));
    let last = likely.greater_elem(0.0).int().sum_dim(1).sub_scalar(1);
    // Rounding may carry the draw past the last token that may be drawn.
    let place = passed.int().sum_dim(1).min_pair(last);
    let token = ids.gather(1, place).mask_fill(not_finite, vocab_size as i64);
    token.reshape([num_rows]).into_primitive()
}

/// One value of each row as a column: `[rows, 1]`.
fn column<B: Backend>(
    rows: &[SampleRow],
    value: fn(&SampleRow) -> f32,
    device: &B::Device,
) -> Tensor<B, 2> {
    let values: Vec<f32> = rows.iter().map(value).collect();
    Tensor::from_data(TensorData::new(values, [rows.len(), 1]), (device, DType::F32))
}
