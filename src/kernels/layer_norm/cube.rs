//! A cube a row: the mean, then the variance around it, then the scaled row.

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cube::reduce::{Team, sum_cube, sum_vector};
use crate::kernels::launch::{Grid, in_vectors, output_like, refuse, vector_width};

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
    let start = CUBE_POS_X as usize * (x.stride(0) / width);
    let normed_start = CUBE_POS_X as usize * columns;

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
        return refuse("weight and bias differ in type");
    }
    let [rows, hidden_size] = x.shape().dims();
    let width = vector_width(&[x, weight, bias], hidden_size);
    let normed = output_like(x);
    let grid = Grid::row_wise(rows, hidden_size / width);
    let (cubes, units) = grid.check(&[x, weight, bias, &normed])?;
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
        grid.team(&x.client),
        x.dtype.into(),
        weight.dtype.into(),
    );
    Ok(normed)
}
