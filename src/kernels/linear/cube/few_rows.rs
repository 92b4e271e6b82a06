//! The product of decoding: bound by reading the weights, which are read once for all rows.
#![allow(
    clippy::collapsible_if,
    reason = "in a kernel both sides of `&&` always run"
)]

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::Operands;
use super::epilogue::finish;
use crate::kernels::cube::elements::{Scale, column_of_piece, piece_of};
use crate::kernels::cube::loops::at_run_time;
use crate::kernels::cube::reduce::sum_vector;
use crate::kernels::cube::stored::Storage;
use crate::kernels::launch::{Grid, in_vectors};
use crate::kernels::linear::{Activation, LinearEpilogue};
use crate::kernels::{LaunchRefused, Matrix};

/// Rows that the kernel takes; each costs a unit one sum in registers.
pub(super) const MAX_ROWS: usize = 8;
/// Numbers of `x` that a unit holds at a time, all rows together. With 64, NVIDIA's compiler runs out
/// of registers.
const MAX_NUMBERS: usize = 32;

/// Output features of a cube. `LANES` units share the row of weights of one.
const FEATURES: usize = 8;
/// With vectors of 16 bytes, the lanes read 512 neighbouring bytes of weights at a time.
const LANES: usize = 32;
const UNITS: usize = FEATURES * LANES;
/// Lanes of a sum, and one more against conflicts of banks.
const PITCH: usize = LANES + 1;

#[cube(launch)]
fn few_rows_kernel<E: Float, W: Numeric, H: Float, P: Float, M: Size, N: Size>(
    x: &Tensor<Vector<E, N>>,
    weight: &Tensor<Vector<W, M>>,
    numbers: ComptimeOption<Tensor<H>>,
    bias: ComptimeOption<Tensor<P>>,
    residual: ComptimeOption<Tensor<E>>,
    y: &mut Tensor<E>,
    #[comptime] rows: usize,
    #[comptime] storage: Storage,
    #[comptime] activation: Activation,
    #[define(E)] _dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
    #[define(H)] _numbers_dtype: StorageType,
    #[define(P)] _bias_dtype: StorageType,
) {
    let lane = UNIT_POS_X as usize % LANES;
    let group = UNIT_POS_X as usize / LANES;
    let (num_rows, out_features) = (y.shape(0), y.shape(1));
    let feature = CUBE_POS * FEATURES + group;
    // Rows and features beyond the last repeat it and are not stored.
    let weight_row = min(feature, out_features - 1);
    let weight_start = weight_row * (weight.stride(0) / weight.vector_size());
    let pitch = x.stride(0) / x.vector_size();
    let words = weight.vector_size();
    let pieces = comptime!(storage.pieces(words));
    let columns = x.shape(1) / x.vector_size() / pieces;

    let mut sums = Array::<f32>::new(rows);
    #[unroll]
    for row in 0..rows {
        sums[row] = 0.0f32;
    }
    let mut column = lane;
    while column < columns {
        let stored = weight[weight_start + column];
        let scale = Scale::of_load::<H>(&numbers, weight_row, column, words, storage);
        #[unroll]
        for piece in 0..pieces {
            let weights = piece_of::<W, M, N>(stored, &scale, piece, storage);
            let x_column = column_of_piece(column, piece, words, storage);
            #[unroll]
            for row in 0..rows {
                let at = min(row.runtime(), num_rows - 1) * pitch + x_column;
                sums[row] += sum_vector::<N>(Vector::cast_from(x[at]) * weights);
            }
        }
        column += at_run_time(LANES, UNITS);
    }

    let mut parts = SharedMemory::<f32>::new(comptime!(FEATURES * rows * PITCH));
    #[unroll]
    for row in 0..rows {
        parts[(group * rows + row) * PITCH + lane] = sums[row];
    }
    sync_cube();
    if (UNIT_POS_X as usize) < FEATURES * rows {
        let row = UNIT_POS_X as usize % rows;
        let feature = CUBE_POS * FEATURES + UNIT_POS_X as usize / rows;
        let mut product = 0.0f32;
        for part in 0..LANES {
            product += parts[UNIT_POS_X as usize * PITCH + part];
        }
        if row < num_rows {
            if feature < out_features {
                finish::<E, P>(product, row, feature, &bias, &residual, y, activation);
            }
        }
    }
}

/// A cube for every `FEATURES` output features.
pub(super) fn grid(kernel_rows: usize, out_features: usize) -> Grid {
    let shared_memory_bytes = FEATURES * kernel_rows * PITCH * size_of::<f32>();
    Grid::folded(
        out_features.div_ceil(FEATURES),
        UNITS as u32,
        shared_memory_bytes,
    )
}

pub(super) fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    weight: &Matrix<CubeTensor<R>>,
    epilogue: &LinearEpilogue<CubeTensor<R>>,
    kernel_rows: usize,
    grid: Grid,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let max_width = MAX_NUMBERS / kernel_rows;
    let operands = Operands::new(x, weight, epilogue, max_width)?;
    let operands = Operands {
        weight: operands.weight.in_loads(max_width),
        ..operands
    };
    let (cubes, units) = grid.size();
    let (bias_dtype, weight_dtype) = (operands.bias_dtype(), operands.weight.tensor.dtype);
    let numbers_dtype = operands.weight.numbers_dtype();
    let Operands {
        x,
        weight,
        bias,
        activation,
        residual,
        y,
    } = operands;
    few_rows_kernel::launch::<R>(
        &x.client,
        cubes,
        units,
        weight.stored_width,
        weight.width,
        in_vectors(&x, weight.width).into_tensor_arg(),
        weight.tensor.into_tensor_arg(),
        weight.numbers.map(CubeTensor::into_tensor_arg).into(),
        bias.map(CubeTensor::into_tensor_arg).into(),
        residual.map(CubeTensor::into_tensor_arg).into(),
        y.clone().into_tensor_arg(),
        kernel_rows,
        weight.storage,
        activation,
        x.dtype.into(),
        weight_dtype.into(),
        numbers_dtype.into(),
        bias_dtype.into(),
    );
    Ok(y)
}
