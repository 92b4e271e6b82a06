//! `y = activation(x W^T + bias) + residual`, with `W` stored as checkpoints store it.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::shape::assert_shape;
use super::{MatrixTensor, VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "linear";

/// What a linear layer does to its product before it is stored.
#[derive(Debug, Clone)]
pub struct LinearEpilogue<T> {
    /// Added to every row: `[out_features]`.
    pub bias: Option<T>,
    /// Applied after the bias.
    pub activation: Activation,
    /// Added last: the shape of the output.
    pub residual: Option<T>,
}

impl<T> Default for LinearEpilogue<T> {
    fn default() -> Self {
        Self {
            bias: None,
            activation: Activation::Identity,
            residual: None,
        }
    }
}

impl<T> LinearEpilogue<T> {
    /// The same epilogue over another tensor type.
    pub fn map<U>(self, mut change: impl FnMut(T) -> U) -> LinearEpilogue<U> {
        LinearEpilogue {
            bias: self.bias.map(&mut change),
            activation: self.activation,
            residual: self.residual.map(change),
        }
    }
}

/// An element-wise function between two linear layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Activation {
    /// `x`
    Identity,
    /// `x * Phi(x)`, with the exact error function.
    Gelu,
    /// The tanh approximation of GELU (`gelu_pytorch_tanh`).
    GeluTanh,
    /// `x * sigmoid(1.702 x)`, what CLIP was trained with.
    QuickGelu,
    /// `x` where it is above zero, else 0: OPT.
    Relu,
}

/// An activation alone, for what is added to a product in front of it.
pub(crate) fn activate<B: VlmBackend>(x: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    reference::activate(x, activation)
}

/// `activation(x weight^T + bias) + residual`, accumulated in f32.
///
/// `weight` may be stored in any way whatever the type of `x`; the result has the type of `x`.
///
/// # Shapes
/// - `x`: `[rows, in_features]`
/// - `weight`: `[out_features, in_features]`
/// - `epilogue.bias`: `[out_features]`; `epilogue.residual`: `[rows, out_features]`
/// - output: `[rows, out_features]`
///
/// # Panics
/// If the shapes do not fit.
pub fn linear<B: VlmBackend>(
    x: Tensor<B, 2>,
    weight: impl Into<MatrixTensor<B>>,
    bias: Option<Tensor<B, 1>>,
    activation: Activation,
    residual: Option<Tensor<B, 2>>,
) -> Tensor<B, 2> {
    let weight = weight.into().into_primitive();
    let [rows, in_features] = x.dims();
    let [out_features, _] = weight.dims();
    assert_shape!(weight, [out_features, in_features]);
    if let Some(bias) = &bias {
        assert_shape!(bias, [out_features]);
    }
    if let Some(residual) = &residual {
        assert_shape!(residual, [rows, out_features]);
    }
    let epilogue = LinearEpilogue {
        bias: bias.map(primitive),
        activation,
        residual: residual.map(primitive),
    };
    tensor(B::vlm_linear(primitive(x), weight, epilogue))
}
