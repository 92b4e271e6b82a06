//! A cube a row: the sum of squares by all units, then the scaled row.

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cube::reduce::{Team, row_of_cube, sum_cube, sum_vector};
use crate::kernels::launch::{DeviceProperties, Operand, RowWise, in_vectors, output_like};

#[cube(launch)]
fn rms_norm_kernel<E: Float, W: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    weight: &Tensor<Vector<W, N>>,
    normed: &mut Tensor<Vector<E, N>>,
    epsilon: f32,
    #[comptime] team: Team,
    #[define(E)] _dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
) {
    let width = x.vector_size();
    let columns = x.shape(1) / width;
    let start = row_of_cube(x.shape(0)) * (x.stride(0) / width);
    let mut squares = Vector::<f32, N>::new(0.0);
    let mut column = UNIT_POS_X as usize;
    while column < columns {
        let value = Vector::<f32, N>::cast_from(x[start + column]);
        squares += value * value;
        column += comptime!(team.units as usize);
    }
    let total = sum_cube(sum_vector::<N>(squares), team);
    let scale = f32::inverse_sqrt(total / x.shape(1) as f32 + epsilon);
    scale_row::<E, W, N>(x, start, scale, weight, normed, team);
}

#[cube(launch)]
fn add_rms_norm_kernel<E: Float, W: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    residual: &Tensor<Vector<E, N>>,
    weight: &Tensor<Vector<W, N>>,
    sum: &mut Tensor<Vector<E, N>>,
    normed: &mut Tensor<Vector<E, N>>,
    epsilon: f32,
    #[comptime] team: Team,
    #[define(E)] _dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
) {
    let width = x.vector_size();
    let columns = x.shape(1) / width;
    let row = row_of_cube(x.shape(0));
    let x_start = row * (x.stride(0) / width);
    let residual_start = row * (residual.stride(0) / width);
    let start = row * columns;
    let mut squares = Vector::<f32, N>::new(0.0);
    let mut column = UNIT_POS_X as usize;
    while column < columns {
        let stored = x[x_start + column] + residual[residual_start + column];
        sum[start + column] = stored;
        // What is normalised is the sum as the next layers read it, rounded.
        let value = Vector::<f32, N>::cast_from(stored);
        squares += value * value;
        column += comptime!(team.units as usize);
    }
    let total = sum_cube(sum_vector::<N>(squares), team);
    let scale = f32::inverse_sqrt(total / x.shape(1) as f32 + epsilon);
    // Each unit reads what it wrote itself, so nobody has to wait.
    scale_row::<E, W, N>(sum, start, scale, weight, normed, team);
}

/// Writes the cube's row of `normed` from the row of `values` that begins at `start`.
#[cube]
fn scale_row<E: Float, W: Float, N: Size>(
    values: &Tensor<Vector<E, N>>,
    start: usize,
    scale: f32,
    weight: &Tensor<Vector<W, N>>,
    normed: &mut Tensor<Vector<E, N>>,
    #[comptime] team: Team,
) {
    let columns = normed.shape(1) / normed.vector_size();
    let normed_start = row_of_cube(normed.shape(0)) * columns;
    let mut column = UNIT_POS_X as usize;
    while column < columns {
        let value = Vector::<f32, N>::cast_from(values[start + column]);
        let weight = Vector::<f32, N>::cast_from(weight[column]);
        normed[normed_start + column] = Vector::cast_from(value * Vector::new(scale) * weight);
        column += comptime!(team.units as usize);
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    weight: &CubeTensor<R>,
    epsilon: f64,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let normed = output_like(x);
    let RowWise { width, team, grid } = RowWise::in_vectors(
        x.shape().dims(),
        &[x, weight, &normed].map(Operand::from),
        &DeviceProperties::of(&x.client),
    )?;
    let (cubes, units) = grid.size();
    rms_norm_kernel::launch::<R>(
        &x.client,
        cubes,
        units,
        width,
        in_vectors(x, width).into_tensor_arg(),
        in_vectors(weight, width).into_tensor_arg(),
        normed.clone().into_tensor_arg(),
        epsilon as f32,
        team,
        x.dtype.into(),
        weight.dtype.into(),
    );
    Ok(normed)
}

pub(in crate::kernels) fn launch_add<R: CubeRuntime>(
    x: &CubeTensor<R>,
    residual: &CubeTensor<R>,
    weight: &CubeTensor<R>,
    epsilon: f64,
) -> Result<(CubeTensor<R>, CubeTensor<R>), LaunchRefused> {
    if x.dtype != residual.dtype {
        let operands = "x and residual";
        return Err(LaunchRefused::TypesDiffer { operands });
    }
    let (sum, normed) = (output_like(x), output_like(x));
    let RowWise { width, team, grid } = RowWise::in_vectors(
        x.shape().dims(),
        &[x, residual, weight, &sum, &normed].map(Operand::from),
        &DeviceProperties::of(&x.client),
    )?;
    let (cubes, units) = grid.size();
    add_rms_norm_kernel::launch::<R>(
        &x.client,
        cubes,
        units,
        width,
        in_vectors(x, width).into_tensor_arg(),
        in_vectors(residual, width).into_tensor_arg(),
        in_vectors(weight, width).into_tensor_arg(),
        sum.clone().into_tensor_arg(),
        normed.clone().into_tensor_arg(),
        epsilon as f32,
        team,
        x.dtype.into(),
        weight.dtype.into(),
    );
    Ok((sum, normed))
}
