//! [`embed_and_splice()`](super::embed_and_splice()) on the CPU.

use std::borrow::Cow;

use burn::tensor::DType;
use burn_flex::FlexTensor;

use super::{SplicedRows, TokenIds};
use crate::kernels::cpu::{
    Buffer, Bytes, HalfBytes, MatrixRows, RowKernel, Simd, Tier, activations, float_tensor,
    for_each_row, matrix_rows, no_kernel_for, packed_rows, with_element,
};
use crate::kernels::{LaunchRefused, Matrix, PackedType};

pub(in crate::kernels) fn run(
    table: &Matrix<FlexTensor>,
    token_ids: &TokenIds<'_, FlexTensor>,
    images: &[SplicedRows<FlexTensor>],
    dtype: DType,
) -> Result<FlexTensor, LaunchRefused> {
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(no_kernel_for("embeddings", dtype));
    }
    let ids = places(token_ids)?;
    match table {
        Matrix::Float(table) => with_element!(table.dtype(), E => {
            embed(matrix_rows::<E>(table)?, &ids, images, dtype)
        })
        .unwrap_or_else(|| Err(no_kernel_for("a table", table.dtype()))),
        Matrix::Packed(packed) => match packed.packed_type() {
            PackedType::Q8 => embed(packed_rows::<Bytes>(packed)?, &ids, images, dtype),
            PackedType::Q4 | PackedType::Q4WithMinimum => {
                embed(packed_rows::<HalfBytes>(packed)?, &ids, images, dtype)
            }
        },
    }
}

/// `[ids, hidden_size]`
fn embed<W: MatrixRows>(
    table: W,
    ids: &[usize],
    images: &[SplicedRows<FlexTensor>],
    dtype: DType,
) -> Result<FlexTensor, LaunchRefused> {
    let hidden_size = table.size();
    let rows: Vec<Cow<'_, [f32]>> = images
        .iter()
        .map(|image| activations(&image.rows))
        .collect::<Result<_, _>>()?;
    let mut sources: Vec<Source<'_>> = ids.iter().map(|id| Source::Table(*id)).collect();
    for (image, rows) in images.iter().zip(&rows) {
        let rows = rows.chunks_exact(hidden_size.max(1));
        for (source, row) in sources[image.start..].iter_mut().zip(rows) {
            *source = Source::Image(row);
        }
    }
    let mut embeddings = Buffer::of_len(ids.len() * hidden_size);
    let kernel = CopyRows { table, sources };
    for_each_row(Tier::best(), &mut embeddings, hidden_size, &kernel);
    Ok(float_tensor(embeddings, [ids.len(), hidden_size], dtype))
}

/// The row that each id names, in the table or not.
fn places(token_ids: &TokenIds<'_, FlexTensor>) -> Result<Vec<usize>, LaunchRefused> {
    let ids = match token_ids {
        TokenIds::Host(ids) => return Ok(ids.iter().map(|id| *id as usize).collect()),
        TokenIds::Device(ids) => ids.to_contiguous(),
    };
    // A negative id names none; so does the largest place.
    let place = |id: i64| usize::try_from(id).unwrap_or(usize::MAX);
    if let Some(ids) = ids.as_slice::<i32>() {
        return Ok(ids.iter().map(|id| place(i64::from(*id))).collect());
    }
    if let Some(ids) = ids.as_slice::<i64>() {
        return Ok(ids.iter().map(|id| place(*id)).collect());
    }
    Err(no_kernel_for("token ids", ids.dtype()))
}

/// Where a row comes from.
enum Source<'a> {
    Image(&'a [f32]),
    /// A row of the table, or zeros where it has none of that index.
    Table(usize),
}

struct CopyRows<'a, W> {
    table: W,
    sources: Vec<Source<'a>>,
}

impl<W: MatrixRows> RowKernel for CopyRows<'_, W> {
    #[inline(always)]
    fn row<S: Simd>(&self, simd: S, index: usize, row: &mut [f32]) {
        match self.sources[index] {
            Source::Image(source) => row.copy_from_slice(source),
            Source::Table(place) if place < self.table.count() => {
                self.table.copy_row(simd, place, row);
            }
            Source::Table(_) => row.fill(0.0),
        }
    }
}
