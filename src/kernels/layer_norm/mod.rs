//! Layer normalisation (Ba et al. 2016), what vision encoders use.

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

pub(super) const NAME: &str = "layer_norm";

/// `(x - mean(x)) / sqrt(var(x) + epsilon) * weight + bias`, row by row; statistics in f32, the
/// variance is the biased one.
///
/// # Shapes
/// - `x`: `[rows, hidden_size]`; `weight`, `bias`: `[hidden_size]`
/// - output: as `x`, in its type
///
/// # Panics
/// If the shapes do not fit.
pub fn layer_norm<B: VlmBackend>(
    x: Tensor<B, 2>,
    weight: Tensor<B, 1>,
    bias: Tensor<B, 1>,
    epsilon: f64,
) -> Tensor<B, 2> {
    let [_, hidden_size] = x.dims();
    assert_shape!(weight, [hidden_size]);
    assert_shape!(bias, [hidden_size]);
    tensor(B::vlm_layer_norm(
        primitive(x),
        primitive(weight),
        primitive(bias),
        epsilon,
    ))
}
