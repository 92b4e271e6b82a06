use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorData};

use super::SampleRow;
use crate::kernels::argmax::reference::{has_no_choice, ids};
use crate::kernels::tensor;

pub(crate) fn run<B: Backend>(logits: FloatTensor<B>, rows: &[SampleRow]) -> IntTensor<B> {
    let logits = tensor::<B, 2>(logits).cast(DType::F32);
    let [num_rows, vocab_size] = logits.dims();
    let device = logits.device();
    let column = |value: fn(&SampleRow) -> f32| column::<B>(rows, value, &device);

    let has_no_choice = has_no_choice(&logits);
    // The largest becomes zero before the division, or a small temperature would overflow.
    let below_largest = logits.clone() - logits.max_dim(1);
    // Logits are ordered, not probabilities: at a high temperature those that differ round to the
    // same number.
    let sorted = below_largest.clone().sort_descending(1);
    let probabilities = softmax(sorted.clone() / column(|row| row.temperature), 1);
    let likely = filter(probabilities, rows);

    let drawn = likely.clone().sum_dim(1) * column(|row| row.uniform);
    let passed = likely
        .clone()
        .cumsum(1)
        .lower_equal(drawn.expand([num_rows, vocab_size]));
    let last = likely.greater_elem(0.0).int().sum_dim(1).sub_scalar(1);
    // Rounding may carry the draw past the last token that may be drawn. Where nothing can be
    // chosen nothing is likely, and place 0 stands in until the row is marked.
    let place = passed.int().sum_dim(1).min_pair(last).clamp_min(0);
    let token = token_at(below_largest, sorted, place);
    let token = token.mask_fill(has_no_choice, vocab_size as i64);
    token.reshape([num_rows]).into_primitive()
}

/// Zeroes what `rows` forbid of probabilities in descending order.
fn filter<B: Backend>(sorted: Tensor<B, 2>, rows: &[SampleRow]) -> Tensor<B, 2> {
    let [num_rows, vocab_size] = sorted.dims();
    let shape = [num_rows, vocab_size];
    let device = sorted.device();
    let column = |value: fn(&SampleRow) -> f32| column::<B>(rows, value, &device);

    let rank = Tensor::<B, 1, Int>::arange(0..vocab_size as i64, &device).float();
    let rank = rank.reshape([1, vocab_size]).expand(shape);
    // An f32 counts exactly up to 2^24, beyond any vocabulary.
    let top_k = column(|row| row.top_k.min(1 << 24) as f32);
    let likely = sorted.mask_fill(rank.greater_equal(top_k.expand(shape)), 0.0);
    let likely = likely.clone() / likely.sum_dim(1);

    let before = likely.clone().cumsum(1) - likely.clone();
    let beyond_p = before.greater_equal(column(|row| row.top_p).expand(shape));
    let floor = likely.clone().max_dim(1) * column(|row| row.min_p);
    let too_rare = likely.clone().lower(floor.expand(shape));
    likely.mask_fill(beyond_p.bool_or(too_rare), 0.0)
}

/// The token at a place of the descending order, of equal ones the lower id first: `[rows, 1]`.
///
/// Sorting the ids along would not do: backends sort equals in any order.
fn token_at<B: Backend>(
    logits: Tensor<B, 2>,
    sorted: Tensor<B, 2>,
    place: Tensor<B, 2, Int>,
) -> Tensor<B, 2, Int> {
    let [num_rows, vocab_size] = logits.dims();
    let shape = [num_rows, vocab_size];
    let logit = sorted.clone().gather(1, place.clone()).expand(shape);
    let num_likelier = sorted.greater(logit.clone()).int().sum_dim(1);
    let rank_among_equals = place - num_likelier; // [rows, 1]
    let is_equal = logits.equal(logit);
    let num_equals = is_equal.clone().int().cumsum(1);
    let is_before = num_equals.lower_equal(rank_among_equals.expand(shape));
    let ids = ids::<B>(num_rows, vocab_size, &is_equal.device());
    let is_other = is_equal.bool_not().bool_or(is_before);
    ids.mask_fill(is_other, vocab_size as i64).min_dim(1)
}

/// One value of each row as a column: `[rows, 1]`.
fn column<B: Backend>(
    rows: &[SampleRow],
    value: fn(&SampleRow) -> f32,
    device: &B::Device,
) -> Tensor<B, 2> {
    let values: Vec<f32> = rows.iter().map(value).collect();
    Tensor::from_data(
        TensorData::new(values, [rows.len(), 1]),
        (device, DType::F32),
    )
}
