//! Token embeddings, with the rows of pictures in the places the prompt reserved for them.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;

use burn::tensor::{DType, Tensor};

use super::shape::assert_shape;
use super::{VlmBackend, primitive, tensor};

pub(super) const NAME: &str = "embed_and_splice";

/// Rows that replace the embeddings of placeholder tokens.
#[derive(Debug, Clone)]
pub struct SplicedRows<T> {
    /// Position of the first replaced token.
    pub start: usize,
    /// `[num_rows, hidden_size]`
    pub rows: T,
}

/// Looks up `token_ids` and puts each of `images` over the places it names.
///
/// What `token_ids` holds under an image is not looked up, so a placeholder may be any number.
///
/// # Shapes
/// - `table`: `[vocab_size, hidden_size]`, f32, f16 or bf16
/// - `images`, in order of `start`, not overlapping: rows `[num_rows, hidden_size]`
/// - output: `[token_ids.len(), hidden_size]`, in `dtype`
///
/// # Panics
/// If an id outside the images is not below `vocab_size` (an unchecked index on a GPU would read
/// foreign memory), or an image does not fit.
pub fn embed_and_splice<B: VlmBackend>(
    table: Tensor<B, 2>,
    token_ids: &[u32],
    images: Vec<SplicedRows<Tensor<B, 2>>>,
    dtype: DType,
) -> Tensor<B, 2> {
    check(&table, token_ids, &images);
    let images = images.into_iter().map(|image| SplicedRows {
        start: image.start,
        rows: primitive(image.rows),
    });
    tensor(B::vlm_embed_and_splice(
        primitive(table),
        token_ids,
        images.collect(),
        dtype,
    ))
}

fn check<B: VlmBackend>(
    table: &Tensor<B, 2>,
    token_ids: &[u32],
    images: &[SplicedRows<Tensor<B, 2>>],
) {
    let [vocab_size, hidden_size] = table.dims();
    let is_known = |id: &u32| (*id as usize) < vocab_size;
    let mut next = 0;
    for SplicedRows { start, rows } in images {
        let [num_rows, _] = rows.dims();
        assert_shape!(rows, [num_rows, hidden_size]);
        assert!(
            *start >= next && start + num_rows <= token_ids.len(),
            "image rows do not fit"
        );
        assert!(
            token_ids[next..*start].iter().all(is_known),
            "token id outside the table"
        );
        next = start + num_rows;
    }
    assert!(
        token_ids[next..].iter().all(is_known),
        "token id outside the table"
    );
}
