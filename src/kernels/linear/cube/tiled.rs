//! The product of prefill: tiles of both operands in shared memory, each number used 64 times.
#![allow(
    clippy::collapsible_if,
    reason = "in a kernel both sides of `&&` always run"
)]

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::Operands;
use super::epilogue::finish;
use crate::kernels::cube::elements::read;
use crate::kernels::cube::stored::Storage;
use crate::kernels::launch::{Grid, in_vectors};
use crate::kernels::linear::{Activation, LinearEpilogue};
use crate::kernels::{LaunchRefused, Matrix};

/// Rows, and output features, of a cube.
const TILE: usize = 64;
/// Columns of both operands that are in shared memory at a time.
const DEPTH: usize = 16;
/// A cube is `SIDE` by `SIDE` units, and each computes `SHARE` by `SHARE` products.
const SIDE: usize = 16;
const SHARE: usize = TILE / SIDE;
const UNITS: usize = SIDE * SIDE;
/// A column of a tile, and one more against conflicts of banks.
const PITCH: usize = TILE + 1;
/// With wider vectors some units would have nothing to load.
const MAX_WIDTH: usize = TILE * DEPTH / UNITS;

#[cube(launch)]
fn tiled_kernel<E: Float, W: Numeric, H: Float, P: Float, M: Size, N: Size>(
    x: &Tensor<Vector<E, N>>,
    weight: &Tensor<Vector<W, M>>,
    numbers: ComptimeOption<Tensor<H>>,
    bias: ComptimeOption<Tensor<P>>,
    residual: ComptimeOption<Tensor<E>>,
    y: &mut Tensor<E>,
    #[comptime] storage: Storage,
    #[comptime] activation: Activation,
    #[define(E)] _dtype: StorageType,
    #[define(W)] _weight_dtype: StorageType,
    #[define(H)] _numbers_dtype: StorageType,
    #[define(P)] _bias_dtype: StorageType,
) {
    let unit_x = UNIT_POS_X as usize % SIDE;
    let unit_y = UNIT_POS_X as usize / SIDE;
    let tiles = y.shape(1).div_ceil(TILE);
    let first_feature = CUBE_POS % tiles * TILE;
    let first_row = CUBE_POS / tiles * TILE;
    let columns = x.shape(1) / x.vector_size();

    let mut x_tile = SharedMemory::<f32>::new(DEPTH * PITCH);
    let mut weight_tile = SharedMemory::<f32>::new(DEPTH * PITCH);
    let mut products = Array::<f32>::new(SHARE * SHARE);
    #[unroll]
    for product in 0..SHARE * SHARE {
        products[product] = 0.0f32;
    }
    let mut first_column = 0usize;
    while first_column < columns {
        let mut index = UNIT_POS_X as usize;
        while index < comptime!(TILE * DEPTH / x.vector_size()) {
            let depth = comptime!(DEPTH / x.vector_size());
            let (row, column) = (index / depth, index % depth);
            let (x_row, feature) = (first_row + row, first_feature + row);
            let source = first_column + column;
            let none = ComptimeOption::<Tensor<H>>::new_None();
            let from_x = load::<E, H, N, N>(x, &none, x_row, source, columns, Storage::Native);
            let from_weight =
                load::<W, H, M, N>(weight, &numbers, feature, source, columns, storage);
            store_turned::<N>(from_x, row, column, &mut x_tile);
            store_turned::<N>(from_weight, row, column, &mut weight_tile);
            // Not `UNITS`: NVIDIA's compiler would unroll the loop and run out of registers.
            index += CUBE_DIM_X as usize;
        }
        sync_cube();
        for depth in 0..DEPTH {
            multiply(
                &x_tile,
                &weight_tile,
                depth * PITCH,
                unit_x,
                unit_y,
                &mut products,
            );
        }
        sync_cube();
        first_column += comptime!(DEPTH / x.vector_size());
    }
    #[unroll]
    for i in 0..SHARE {
        #[unroll]
        for j in 0..SHARE {
            let (row, feature) = (
                first_row + i * SIDE + unit_y,
                first_feature + j * SIDE + unit_x,
            );
            if row < y.shape(0) {
                if feature < y.shape(1) {
                    let product = products[i * SHARE + j];
                    finish::<E, P>(product, row, feature, &bias, &residual, y, activation);
                }
            }
        }
    }
}

/// Some elements of a row of `matrix`. Rows beyond the last repeat it, and their products are not
/// stored; columns beyond the last are zero.
#[cube]
fn load<W: Numeric, H: Float, M: Size, N: Size>(
    matrix: &Tensor<Vector<W, M>>,
    numbers: &ComptimeOption<Tensor<H>>,
    row: usize,
    column: usize,
    columns: usize,
    #[comptime] storage: Storage,
) -> Vector<f32, N> {
    let mut elements = Vector::<f32, N>::new(0.0);
    if column < columns {
        let row = min(row, matrix.shape(0) - 1);
        elements = read::<W, H, M, N>(matrix, numbers, row, column, storage);
    }
    elements
}

/// Stores a piece of a row so that a column of the tile lies in one piece.
#[cube]
fn store_turned<N: Size>(
    elements: Vector<f32, N>,
    row: usize,
    column: usize,
    tile: &mut SharedMemory<f32>,
) {
    #[unroll]
    for element in 0..N::value() {
        tile[(column * N::value() + element) * PITCH + row] = elements[element];
    }
}

/// Adds the outer product of one column of each tile, as far as it is this unit's.
#[cube]
fn multiply(
    x_tile: &SharedMemory<f32>,
    weight_tile: &SharedMemory<f32>,
    start: usize,
    unit_x: usize,
    unit_y: usize,
    products: &mut Array<f32>,
) {
    let mut weights = Array::<f32>::new(SHARE);
    #[unroll]
    for j in 0..SHARE {
        weights[j] = weight_tile[start + j * SIDE + unit_x];
    }
    #[unroll]
    for i in 0..SHARE {
        let value = x_tile[start + i * SIDE + unit_y];
        #[unroll]
        for j in 0..SHARE {
            products[i * SHARE + j] = products[i * SHARE + j] + value * weights[j];
        }
    }
}

/// A cube for every tile of the answer, those of one row of tiles one behind the other.
pub(super) fn grid([rows, out_features]: [usize; 2]) -> Grid {
    let shared_memory_bytes = 2 * DEPTH * PITCH * size_of::<f32>();
    let tiles = rows.div_ceil(TILE) * out_features.div_ceil(TILE);
    Grid::folded(tiles, UNITS as u32, shared_memory_bytes)
}

pub(super) fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    weight: &Matrix<CubeTensor<R>>,
    epilogue: &LinearEpilogue<CubeTensor<R>>,
    grid: Grid,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let operands = Operands::new(x, weight, epilogue, MAX_WIDTH)?;
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
    tiled_kernel::launch::<R>(
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
        weight.storage,
        activation,
        x.dtype.into(),
        weight_dtype.into(),
        numbers_dtype.into(),
        bias_dtype.into(),
    );
    Ok(y)
}
