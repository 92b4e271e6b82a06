use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{Bool, DType, Int, Tensor};

use crate::kernels::tensor;

pub(crate) fn run<B: Backend>(logits: FloatTensor<B>) -> IntTensor<B> {
    let logits = tensor::<B, 2>(logits).cast(DType::F32);
    let [rows, vocab_size] = logits.dims();
    let not_finite = not_finite(&logits);
    let is_largest = logits.clone().equal(logits.max_dim(1).expand([rows, vocab_size]));
    let ids = ids::<B>(rows, vocab_size, &is_largest.device());
    let lowest = ids.mask_fill(is_largest.bool_not(), vocab_size as i64).min_dim(1);
    let lowest = lowest.mask_fill(not_finite, vocab_size as i64);
    lowest.reshape([rows]).into_primitive()
}

/// Whether a row holds NaN or positive infinity: `[rows, 1]`.
///
/// Negative infinity is a token that was forbidden, and fine.
pub(in crate::kernels) fn not_finite<B: Backend>(logits: &Tensor<B, 2>) -> Tensor<B, 2, Bool> {
    let is_nan = logits.clone().is_nan();
    is_nan.bool_or(logits.clone().equal_elem(f32::INFINITY)).any_dim(1)
}

/// `0..vocab_size` in every row.
fn ids<B: Backend>(rows: usize, vocab_size: usize, device: &B::Device) -> Tensor<B, 2, Int> {
    Tensor::<B, 1, Int>::arange(0..vocab_size as i64, device)
        .reshape([1, vocab_size])
        .repeat_dim(0, rows)
}
