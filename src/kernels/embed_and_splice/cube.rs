//! One vector of the output a unit: a gather from the table, then a copy for each picture.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{SplicedRows, TokenIds};
use crate::kernels::cube::elements::read;
use crate::kernels::cube::stored::{Storage, StoredMatrix, part_of};
use crate::kernels::launch::{DeviceProperties, Elementwise, Operand, in_vectors, output};
use crate::kernels::{LaunchRefused, Matrix};

/// Stands where a picture goes: no table has so many rows.
const NO_TOKEN: u32 = u32::MAX;

#[cube(launch)]
fn embed_kernel<T: Numeric, H: Float, I: Int, O: Float, M: Size, N: Size>(
    table: &Tensor<Vector<T, M>>,
    numbers: ComptimeOption<Tensor<H>>,
    token_ids: &Tensor<I>,
    embeds: &mut Tensor<Vector<O, N>>,
    #[comptime] storage: Storage,
    #[define(T)] _table_dtype: StorageType,
    #[define(H)] _numbers_dtype: StorageType,
    #[define(I)] _id_dtype: StorageType,
    #[define(O)] _dtype: StorageType,
) {
    let columns = embeds.shape(1) / embeds.vector_size();
    if ABSOLUTE_POS < embeds.shape(0) * columns {
        let (token, column) = (ABSOLUTE_POS / columns, ABSOLUTE_POS % columns);
        // A negative id becomes one that no table has.
        let id = u32::cast_from(token_ids[token * token_ids.stride(0)]) as usize;
        let mut embed = Vector::<f32, N>::new(0.0);
        if id < table.shape(0) {
            embed = read::<T, H, M, N>(table, &numbers, id, column, storage);
        }
        embeds[ABSOLUTE_POS] = Vector::cast_from(embed);
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
    table: &Matrix<CubeTensor<R>>,
    token_ids: &TokenIds<'_, CubeTensor<R>>,
    images: &[SplicedRows<CubeTensor<R>>],
    dtype: DType,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let [_, hidden_size] = table.dims();
    let device = DeviceProperties::of(&part_of(table).client);
    let dtypes = images.iter().map(|image| image.rows.dtype);
    if let Some(lacking) = dtypes.chain([dtype]).find(|dtype| !device.computes(*dtype)) {
        return Err(LaunchRefused::NotComputed(lacking));
    }
    let ids = match token_ids {
        TokenIds::Host(ids) => upload(part_of(table), looked_up(ids, images)),
        TokenIds::Device(ids) if matches!(ids.dtype, DType::I32 | DType::U32) => ids.clone(),
        TokenIds::Device(ids) => {
            let (operand, dtype) = ("token ids", ids.dtype);
            return Err(LaunchRefused::NoKernelFor { operand, dtype });
        }
    };
    let [num_tokens] = ids.shape().dims();
    let embeds = output(part_of(table), [num_tokens, hidden_size].into(), dtype);
    embed(table, ids, &embeds, &device)?;
    for image in images {
        splice(image, &embeds, &device)?;
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

/// The ids on the device of a tensor.
fn upload<R: CubeRuntime>(beside: &CubeTensor<R>, ids: Vec<u32>) -> CubeTensor<R> {
    let (client, device) = (beside.client.clone(), beside.device.clone());
    let bytes = client.create_from_slice(bytemuck::cast_slice(&ids));
    CubeTensor::new_contiguous(client, device, [ids.len()].into(), bytes, DType::U32)
}

fn embed<R: CubeRuntime>(
    table: &Matrix<CubeTensor<R>>,
    ids: CubeTensor<R>,
    embeds: &CubeTensor<R>,
    device: &DeviceProperties,
) -> Result<(), LaunchRefused> {
    let table = StoredMatrix::new(table, embeds, usize::MAX)?;
    let operands = [&table.tensor, &ids, embeds]
        .into_iter()
        .chain(&table.numbers);
    let operands: Vec<_> = operands.map(Operand::from).collect();
    let Elementwise { grid, .. } = Elementwise::of_width(
        embeds.shape().num_elements(),
        table.width,
        &operands,
        device,
    )?;
    let (cubes, units) = grid.size();
    let (table_dtype, id_dtype) = (table.tensor.dtype, ids.dtype);
    let numbers_dtype = table.numbers_dtype();
    embed_kernel::launch::<R>(
        &embeds.client,
        cubes,
        units,
        table.stored_width,
        table.width,
        table.tensor.into_tensor_arg(),
        table.numbers.map(CubeTensor::into_tensor_arg).into(),
        ids.into_tensor_arg(),
        embeds.clone().into_tensor_arg(),
        table.storage,
        table_dtype.into(),
        numbers_dtype.into(),
        id_dtype.into(),
        embeds.dtype.into(),
    );
    Ok(())
}

fn splice<R: CubeRuntime>(
    image: &SplicedRows<CubeTensor<R>>,
    embeds: &CubeTensor<R>,
    device: &DeviceProperties,
) -> Result<(), LaunchRefused> {
    let SplicedRows { start, rows } = image;
    let [num_rows, hidden_size] = rows.shape().dims();
    if num_rows == 0 {
        return Ok(());
    }
    let Elementwise { width, grid } = Elementwise::in_vectors(
        num_rows * hidden_size,
        hidden_size,
        &[rows, embeds].map(Operand::from),
        device,
    )?;
    let (cubes, units) = grid.size();
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
