use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Bool, DType, Int, Tensor};

use crate::kernels::tensor;

pub(crate) fn run<B: Backend>(logits: FloatTensor<B>) -> IntTensor<B> {
    let logits = tensor::<B, 2>(logits).cast(DType::F32);
    let [rows, vocab_size] = logits.dims();
    let has_no_choice = has_no_choice(&logits);
    let is_largest = logits
        .clone()
        .equal(logits.max_dim(1).expand([rows, vocab_size]));
    let ids = ids::<B>(rows, vocab_size, &is_largest.device());
    let lowest = ids
        .mask_fill(is_largest.bool_not(), vocab_size as i64)
        .min_dim(1);
    let lowest = lowest.mask_fill(has_no_choice, vocab_size as i64);
    lowest.reshape([rows]).into_primitive()
}

/// Whether a token cannot be chosen from a row: `[rows, 1]`.
///
/// Negative infinity is a token that was forbidden, and fine unless all are.
pub(in crate::kernels) fn has_no_choice<B: Backend>(logits: &Tensor<B, 2>) -> Tensor<B, 2, Bool> {
    let is_nan = logits.clone().is_nan();
    let is_infinite = logits.clone().equal_elem(f32::INFINITY);
    let all_forbidden = logits.clone().equal_elem(f32::NEG_INFINITY).all_dim(1);
    is_nan
        .bool_or(is_infinite)
        .any_dim(1)
        .bool_or(all_forbidden)
}

/// `0..vocab_size` in every row.
pub(in crate::kernels) fn ids<B: Backend>(
    rows: usize,
    vocab_size: usize,
    device: &B::Device,
) -> Tensor<B, 2, Int> {
    Tensor::<B, 1, Int>::arange(0..vocab_size as i64, device)
        .reshape([1, vocab_size])
        .repeat_dim(0, rows)
}
