//! The gate of a Llama feed-forward block (Shazeer 2020).

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

pub(super) const NAME: &str = "swiglu";

/// `gate * sigmoid(gate) * up`, element by element; computed in f32.
///
/// # Shapes
/// - `gate`, `up` and the output: `[rows, intermediate_size]`
///
/// # Panics
/// If the shapes differ.
pub fn swiglu<B: VlmBackend>(gate: Tensor<B, 2>, up: Tensor<B, 2>) -> Tensor<B, 2> {
    assert_shape!(up, gate.dims());
    tensor(B::vlm_swiglu(primitive(gate), primitive(up)))
}
