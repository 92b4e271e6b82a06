//! A cube a row: the mean, then the variance around it, then the scaled row.

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cube::reduce::{Team, row_of_cube, sum_cube, sum_vector};
use crate::kernels::launch::{DeviceProperties, Operand, RowWise, in_vectors, output_like};

#[cube(launch)]
fn layer_norm_kernel<E: Float, W: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    weight: &Tensor<Vector<W, N>>,
    bias: &Tensor<Vector<W, N>>,
    normed: &mut Tensor<Vector<E, N>>,
    epsilon: f32,
    #[comptime] team: Team,
    #[define(E)] _dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
) {
    let width = x.vector_size();
    let columns = x.shape(1) / width;
    let count = x.shape(1) as f32;
    let row = row_of_cube(x.shape(0));
    let (start, normed_start) = (row * (x.stride(0) / width), row * columns);

    let mut sums = Vector::<f32, N>::new(0.0);
    let mut column = UNIT_POS_X as usize;
    while column < columns {
        sums += Vector::cast_from(x[start + column]);
        column += comptime!(team.units as usize);
    }
    let mean = Vector::<f32, N>::new(sum_cube(sum_vector::<N>(sums), team) / count);

    // A second pass: the mean of the squares less the square of the mean would cancel.
    let mut squares = Vector::<f32, N>::new(0.0);
    let mut column = UNIT_POS_X as usize;
    while column < columns {
        let centred = Vector::<f32, N>::cast_from(x[start + column]) - mean;
        squares += centred * centred;
        column += comptime!(team.units as usize);
    }
    let variance = sum_cube(sum_vector::<N>(squares), team) / count;
    let scale = Vector::<f32, N>::new(f32::inverse_sqrt(variance + epsilon));

    let mut column = UNIT_POS_X as usize;
    while column < columns {
        let centred = Vector::<f32, N>::cast_from(x[start + column]) - mean;
        let weight = Vector::<f32, N>::cast_from(weight[column]);
        let bias = Vector::<f32, N>::cast_from(bias[column]);
        normed[normed_start + column] = Vector::cast_from(centred * scale * weight + bias);
        column += comptime!(team.units as usize);
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    weight: &CubeTensor<R>,
    bias: &CubeTensor<R>,
    epsilon: f64,
) -> Result<CubeTensor<R>, LaunchRefused> {
    if weight.dtype != bias.dtype {
        let operands = "weight and bias";
        return Err(LaunchRefused::TypesDiffer { operands });
    }
    let normed = output_like(x);
    let RowWise { width, team, grid } = RowWise::in_vectors(
        x.shape().dims(),
        &[x, weight, bias, &normed].map(Operand::from),
        &DeviceProperties::of(&x.client),
    )?;
    let (cubes, units) = grid.size();
    layer_norm_kernel::launch::<R>(
        &x.client,
        cubes,
        units,
        width,
        in_vectors(x, width).into_tensor_arg(),
        in_vectors(weight, width).into_tensor_arg(),
        in_vectors(bias, width).into_tensor_arg(),
        normed.clone().into_tensor_arg(),
        epsilon as f32,
        team,
        x.dtype.into(),
        weight.dtype.into(),
    );
    Ok(normed)
}
