//! [`embed_and_splice()`](super::embed_and_splice()) on the CPU.

use burn::tensor::DType;
use burn_flex::FlexTensor;

use super::{SplicedRows, TokenIds};
use crate::kernels::cpu::{
    Buffer, Bytes, HalfBytes, MatrixRows, activations, float_tensor, matrix_rows, no_kernel_for,
    packed_rows, with_element,
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
    let [_, hidden_size] = table.dims();
    let ids = places(token_ids)?;
    let look_up = |places: &[usize], target: &mut [f32]| look_up(table, places, target);
    let mut embeddings = Buffer::zeros(ids.len() * hidden_size);
    let mut next = 0;
    for image in images {
        let rows = activations(&image.rows)?;
        let start = image.start * hidden_size;
        embeddings[start..start + rows.len()].copy_from_slice(&rows);
        look_up(
            &ids[next..image.start],
            &mut embeddings[next * hidden_size..],
        )?;
        next = image.start + rows.len() / hidden_size.max(1);
    }
    look_up(&ids[next..], &mut embeddings[next * hidden_size..])?;
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

/// Copies a row of the table for each place to the front of `target`, which holds zeros for those
/// that are not in the table.
fn look_up(
    table: &Matrix<FlexTensor>,
    places: &[usize],
    target: &mut [f32],
) -> Result<(), LaunchRefused> {
    match table {
        Matrix::Float(table) => with_element!(table.dtype(), E => {
            widen_rows(matrix_rows::<E>(table)?, places, target);
        })
        .ok_or_else(|| no_kernel_for("a table", table.dtype())),
        Matrix::Packed(packed) => {
            match packed.packed_type() {
                PackedType::Q8 => widen_rows(packed_rows::<Bytes>(packed)?, places, target),
                PackedType::Q4 | PackedType::Q4WithMinimum => {
                    widen_rows(packed_rows::<HalfBytes>(packed)?, places, target);
                }
            }
            Ok(())
        }
    }
}

fn widen_rows<W: MatrixRows>(table: W, places: &[usize], target: &mut [f32]) {
    let targets = target.chunks_exact_mut(table.size().max(1));
    for (place, target) in places.iter().zip(targets) {
        if *place < table.count() {
            for (at, target) in target.iter_mut().enumerate() {
                *target = table.widen(*place, at);
            }
        }
    }
}
