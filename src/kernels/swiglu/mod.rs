//! The gate of a Llama feed-forward block (Shazeer 2020).

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::Tensor;

use super::{VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "swiglu";

/// `gate * sigmoid(gate) * up`, element by element; computed in f32.
///
/// # Shapes
/// - `gate_up`: `[rows, 2 * intermediate_size]`, the gate first: what one linear layer gives
/// - output: `[rows, intermediate_size]`
///
/// # Panics
/// If the rows have no halves.
pub fn swiglu<B: VlmBackend>(gate_up: Tensor<B, 2>) -> Tensor<B, 2> {
    let [_, size] = gate_up.dims();
    assert!(size.is_multiple_of(2), "{size} columns are no gate and up");
    tensor(B::vlm_swiglu(primitive(gate_up)))
}
