//! A token drawn from each row's distribution.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::{Int, Tensor};

use super::{VlmBackend, primitive};

pub(super) const NAME: &str = "sample";

/// How one row is drawn.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampleRow {
    /// Divides the logits; above 0, and no subnormal number, which a GPU may take for 0.
    pub temperature: f32,
    /// Only the `top_k` most likely tokens may be drawn; at least 1. `usize::MAX` for all.
    pub top_k: usize,
    /// Of these, only the most likely ones that together reach this probability (Holtzman et al.
    /// 2020); in `(0, 1]`, 1 for all. The token that crosses the border stays in.
    pub top_p: f32,
    /// Of these, only tokens at least this likely, relative to the most likely one; in `[0, 1]`,
    /// 0 for all.
    pub min_p: f32,
    /// A uniform random number in `[0, 1)`, drawn by the caller from the request's own generator.
    ///
    /// Devices have one generator for everybody; a request that owns its numbers repeats its
    /// answer whatever runs beside it.
    pub uniform: f32,
}

/// Draws one token from each row, filtered in the order temperature, top-k, top-p, min-p (that of
/// Hugging Face's logits warpers).
///
/// The tokens that remain are laid out from the most to the least likely (of equal ones the lower
/// id first), and the one under `uniform` of their total is taken. A row that holds NaN or
/// positive infinity, or nothing but negative infinity, gives `vocab_size`.
///
/// # Shapes
/// - `logits`: `[rows.len(), vocab_size]`
/// - output: `[rows.len()]`
///
/// # Panics
/// If the number of rows differs.
pub fn sample<B: VlmBackend>(logits: Tensor<B, 2>, rows: &[SampleRow]) -> Tensor<B, 1, Int> {
    assert_eq!(
        logits.dims()[0],
        rows.len(),
        "one way of drawing for each row"
    );
    Tensor::from_primitive(B::vlm_sample(primitive(logits), rows))
}
