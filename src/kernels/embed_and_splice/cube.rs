//! One vector of the output a unit: a gather from the table, then a copy for each picture.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::SplicedRows;
use crate::kernels::LaunchRefused;
use crate::kernels::cube::stored::{Storage, StoredMatrix, unpack};
use crate::kernels::launch::{Grid, in_vectors, output, refuse, supports, vector_width};

/// Stands where a picture goes: no table has so many rows.
const NO_TOKEN: u32 = u32::MAX;

#[cube(launch)]
fn embed_kernel<T: Numeric, O: Float, M: Size, N: Size>(
    table: &Tensor<Vector<T, M>>,
    token_ids: &Tensor<u32>,
    embeds: &mut Tensor<Vector<O, N>>,
    #[comptime] storage: Storage,
    #[define(T)] _table_dtype: StorageType,
    #[define(O)] _dtype: StorageType,
) {
    let columns = embeds.shape(1) / embeds.vector_size();
    if ABSOLUTE_POS < embeds.shape(0) * columns {
        let (token, column) = (ABSOLUTE_POS / columns, ABSOLUTE_POS % columns);
        let id = token_ids[token] as usize;
        if id < table.shape(0) {
            let stored = table[id * (table.stride(0) / table.vector_size()) + column];
            embeds[ABSOLUTE_POS] = Vector::cast_from(unpack::<T, M, N>(stored, storage));
        }
    }
}

#[cube(launch)]
fn splice_kernel<E: Float, O: Float, N: Size>(
    rows: &Tensor<Vector<E, N>>,
    embeds: &mut Tensor<Vector<O, N>>,
    start: u32,
    #[define(E)] _rows_dtype: StorageType,
    #[define(O)] _dtype: StorageType,
) {
    let columns = embeds.shape(1) / embeds.vector_size();
    if ABSOLUTE_POS < rows.shape(0) * columns {
        let (row, column) = (ABSOLUTE_POS / columns, ABSOLUTE_POS % columns);
        let value = rows[row * (rows.stride(0) / rows.vector_size()) + column];
        embeds[(start as usize + row) * columns + column] = Vector::cast_from(value);
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    table: &CubeTensor<R>,
    token_ids: &[u32],
    images: &[SplicedRows<CubeTensor<R>>],
    dtype: DType,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let [_, hidden_size] = table.shape().dims();
    let dtypes = images.iter().map(|image| image.rows.dtype);
    if let Some(lacking) = dtypes
        .chain([dtype])
        .find(|dtype| !supports(&table.client, *dtype))
    {
        return refuse(format!("the device does not compute in {}", lacking.name()));
    }
    let embeds = output(table, [token_ids.len(), hidden_size].into(), dtype);
    embed(table, looked_up(token_ids, images), &embeds)?;
    for image in images {
        splice(image, &embeds)?;
    }
    Ok(embeds)
}

/// The ids without those that pictures replace, which may be any number.
fn looked_up<R: CubeRuntime>(token_ids: &[u32], images: &[SplicedRows<CubeTensor<R>>]) -> Vec<u32> {
    let mut looked_up = token_ids.to_vec();
    for SplicedRows { start, rows } in images {
        let [num_rows, _] = rows.shape().dims();
        looked_up[*start..start + num_rows].fill(NO_TOKEN);
    }
    looked_up
}

fn embed<R: CubeRuntime>(
    table: &CubeTensor<R>,
    token_ids: Vec<u32>,
    embeds: &CubeTensor<R>,
) -> Result<(), LaunchRefused> {
    let client = &table.client;
    let ids = client.create_from_slice(bytemuck::cast_slice(&token_ids));
    let shape = [token_ids.len()].into();
    let ids =
        CubeTensor::new_contiguous(client.clone(), table.device.clone(), shape, ids, DType::U32);
    let table = StoredMatrix::new(table, embeds, usize::MAX)?;
    let grid = Grid::elementwise(embeds.shape().num_elements() / table.width);
    let (cubes, units) = grid.check(&[&table.tensor, &ids, embeds])?;
    let table_dtype = table.tensor.dtype;
    embed_kernel::launch::<R>(
        client,
        cubes,
        units,
        table.stored_width,
        table.width,
        table.tensor.into_tensor_arg(),
        ids.into_tensor_arg(),
        embeds.clone().into_tensor_arg(),
        table.storage,
        table_dtype.into(),
        embeds.dtype.into(),
    );
    Ok(())
}

fn splice<R: CubeRuntime>(
    image: &SplicedRows<CubeTensor<R>>,
    embeds: &CubeTensor<R>,
) -> Result<(), LaunchRefused> {
    let SplicedRows { start, rows } = image;
    let [num_rows, hidden_size] = rows.shape().dims();
    if num_rows == 0 {
        return Ok(());
    }
    let width = vector_width(&[rows, embeds], hidden_size);
    let grid = Grid::elementwise(num_rows * hidden_size / width);
    let (cubes, units) = grid.check(&[rows, embeds])?;
    splice_kernel::launch::<R>(
        &rows.client,
        cubes,
        units,
        width,
        in_vectors(rows, width).into_tensor_arg(),
        embeds.clone().into_tensor_arg(),
        *start as u32,
        rows.dtype.into(),
        embeds.dtype.into(),
    );
    Ok(())
}
