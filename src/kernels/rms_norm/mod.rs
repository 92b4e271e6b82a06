//! Root-mean-square normalisation (Zhang and Sennrich 2019), alone and after a residual addition.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::shape::assert_shape;
use super::{VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "rms_norm";
pub(super) const ADD_NAME: &str = "add_rms_norm";

/// `x / sqrt(mean(x^2) + epsilon) * weight`, row by row; statistics in f32.
///
/// # Shapes
/// - `x`: `[rows, hidden_size]`; `weight`: `[hidden_size]`
/// - output: as `x`, in its type
///
/// # Panics
/// If the shapes do not fit.
pub fn rms_norm<B: VlmBackend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 2> {
    let [_, hidden_size] = x.dims();
    assert_shape!(weight, [hidden_size]);
    tensor(B::vlm_rms_norm(primitive(x), primitive(weight), epsilon))
}

/// `sum = x + residual`, and `sum` normalised as [`rms_norm`] does: returns `(sum, normed)`.
///
/// # Shapes
/// - `x`, `residual` and both results: `[rows, hidden_size]`; `weight`: `[hidden_size]`
///
/// # Panics
/// If the shapes do not fit.
pub fn add_rms_norm<B: VlmBackend>(
    x: Tensor<B, 2>,
    residual: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    epsilon: f64,
) -> (Tensor<B, 2>, Tensor<B, 2>) {
    let [rows, hidden_size] = x.dims();
    assert_shape!(residual, [rows, hidden_size]);
    assert_shape!(weight, [hidden_size]);
    let (sum, normed) = B::vlm_add_rms_norm(
        primitive(x),
        primitive(residual),
        primitive(weight),
        epsilon,
    );
    (tensor(sum), tensor(normed))
}
