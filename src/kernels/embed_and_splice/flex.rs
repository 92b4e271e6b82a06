//! [`embed_and_splice()`](super::embed_and_splice()) on the CPU.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::FlexTensor;

use super::SplicedRows;
use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{FloatSlice, activations, answer, refused};

pub(in crate::kernels) fn run(
    table: &FlexTensor,
    token_ids: &[u32],
    images: &[SplicedRows<FlexTensor>],
    dtype: DType,
) -> Result<FlexTensor, LaunchRefused> {
    if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
        return Err(refused(format!(
            "no kernel for embeddings of type {dtype:?}"
        )));
    }
    let [_, hidden_size] = table.shape().dims();
    let mut embeddings = vec![0.0; token_ids.len() * hidden_size];
    let mut next = 0;
    for image in images {
        let rows = activations(&image.rows)?;
        let start = image.start * hidden_size;
        embeddings[start..start + rows.len()].copy_from_slice(&rows);
        look_up(
            table,
            &token_ids[next..image.start],
            &mut embeddings[next * hidden_size..],
        )?;
        next = image.start + rows.len() / hidden_size.max(1);
    }
    look_up(
        table,
        &token_ids[next..],
        &mut embeddings[next * hidden_size..],
    )?;
    Ok(answer(embeddings, [token_ids.len(), hidden_size], dtype))
}

/// Copies a row of the table for each id to the front of `target`.
fn look_up(table: &FlexTensor, token_ids: &[u32], target: &mut [f32]) -> Result<(), LaunchRefused> {
    let [vocab_size, hidden_size] = table.shape().dims();
    let [stride, 1] = *table.layout().strides() else {
        return Err(refused(format!(
            "a table with strides {:?}",
            table.layout().strides()
        )));
    };
    let rows = FloatSlice::storage(table);
    let rows = rows.ok_or_else(|| refused(format!("no kernel for a {:?} table", table.dtype())))?;
    for (id, target) in token_ids
        .iter()
        .zip(target.chunks_exact_mut(hidden_size.max(1)))
    {
        let id = *id as usize;
        assert!(id < vocab_size, "token id {id} of {vocab_size}");
        let start = table
            .layout()
            .start_offset()
            .strict_add_signed(id as isize * stride);
        rows.read(start, target);
    }
    Ok(())
}
