//! The most likely token of each row: greedy decoding.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::{Int, Tensor};

use super::{VlmBackend, primitive};

pub(super) const NAME: &str = "argmax";

/// The index of each row's largest value; of equal ones the lowest.
///
/// A row that holds NaN or positive infinity, or nothing but negative infinity, gives `vocab_size`,
/// so that the caller can tell nonsense from an answer without a second read.
///
/// # Shapes
/// - `logits`: `[rows, vocab_size]`
/// - output: `[rows]`
pub fn argmax<B: VlmBackend>(logits: Tensor<B, 2>) -> Tensor<B, 1, Int> {
    Tensor::from_primitive(B::vlm_argmax(primitive(logits)))
}
