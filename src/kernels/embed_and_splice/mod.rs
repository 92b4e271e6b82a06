//! Token embeddings, with the rows of pictures in the places the prompt reserved for them.

#[cfg(feature = "testing")]
pub(super) mod cases;
#[cfg(feature = "cube")]
pub(super) mod cube;
#[cfg(feature = "flex")]
pub(super) mod flex;
pub(super) mod reference;
mod token_ids;

use burn::tensor::{DType, Tensor};

use super::shape::assert_shape;
use super::{MatrixTensor, VlmBackend, primitive, tensor};

pub use token_ids::{TokenIds, TokenIdsPrimitive, TokenIdsTensor};

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
/// - `table`: `[vocab_size, hidden_size]`, stored in any way
/// - `token_ids`: `[num_tokens]`
/// - `images`, in order of `start`, not overlapping: rows `[num_rows, hidden_size]`
/// - output: `[num_tokens, hidden_size]`, in `dtype`; zeros for an id on the device that is not in
///   the table
///
/// # Panics
/// If an id on the host, outside the images, is not below `vocab_size`, or an image does not fit.
pub fn embed_and_splice<'a, B: VlmBackend>(
    table: impl Into<MatrixTensor<B>>,
    token_ids: impl Into<TokenIdsTensor<'a, B>>,
    images: Vec<SplicedRows<Tensor<B, 2>>>,
    dtype: DType,
) -> Tensor<B, 2> {
    let (table, token_ids) = (table.into().into_primitive(), token_ids.into());
    check(table.dims(), &token_ids, &images);
    let images = images.into_iter().map(|image| SplicedRows {
        start: image.start,
        rows: primitive(image.rows),
    });
    tensor(B::vlm_embed_and_splice(
        table,
        token_ids.map(Tensor::into_primitive),
        images.collect(),
        dtype,
    ))
}

fn check<B: VlmBackend>(
    [vocab_size, hidden_size]: [usize; 2],
    token_ids: &TokenIdsTensor<'_, B>,
    images: &[SplicedRows<Tensor<B, 2>>],
) {
    let is_known = |id: &u32| (*id as usize) < vocab_size;
    let check_text = |text: std::ops::Range<usize>| {
        if let TokenIds::Host(ids) = token_ids {
            let is_in_table = ids[text].iter().all(is_known);
            assert!(is_in_table, "token id outside the table");
        }
    };
    let (count, mut next) = (token_ids.count(), 0);
    for SplicedRows { start, rows } in images {
        let [num_rows, _] = rows.dims();
        assert_shape!(rows, [num_rows, hidden_size]);
        assert!(
            *start >= next && start + num_rows <= count,
            "image rows do not fit"
        );
        check_text(next..*start);
        next = start + num_rows;
    }
    check_text(next..count);
}
