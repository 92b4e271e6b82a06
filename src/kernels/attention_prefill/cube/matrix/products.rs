//! The products of a plane: 16 of its queries and a tile of keys, or of their weights and values.

use cubecl::prelude::*;

use super::tile::{KEYS, MatrixTile, PLANE, PRODUCT_PITCH, ROWS, SIDE, WEIGHT_PITCH};
use crate::kernels::cube::loops::one_at_run_time;

/// The first of the plane's rows.
#[cube]
fn first_row() -> usize {
    UNIT_POS_X as usize / PLANE * SIDE
}

/// The products of the plane's queries and the keys of the tile.
#[cube]
pub(super) fn multiply_keys<E: Float, N: Size>(
    queries: &SharedMemory<E>,
    keys: &SharedMemory<Vector<E, N>>,
    products: &mut SharedMemory<f32>,
    #[comptime] tile: MatrixTile,
) {
    let (pitch, width) = comptime!((tile.pitch(), tile.width));
    let mut block = 0usize;
    while block < comptime!(KEYS / SIDE) {
        let sum = zeros();
        #[unroll]
        for step in 0..comptime!(tile.padded() / SIDE) {
            let start = first_row() * pitch + comptime!(step * SIDE);
            let query = factor::<E, E>(
                &queries.slice(start, comptime!(ROWS * pitch)),
                cmma::MatrixIdent::A,
                cmma::MatrixLayout::RowMajor,
                pitch,
            );
            let start = block * comptime!(SIDE * pitch / width) + comptime!(step * SIDE / width);
            let key = factor::<E, Vector<E, N>>(
                &keys.slice(start, comptime!(KEYS * pitch / width)),
                cmma::MatrixIdent::B,
                cmma::MatrixLayout::ColMajor,
                pitch,
            );
            cmma::execute::<E, E, f32, f32>(&query, &key, &sum, &sum);
        }
        write_sum(&sum, products, block);
        block += one_at_run_time();
    }
}

/// The weighted values of the plane's queries, as many columns as there is room for.
#[cube]
pub(super) fn multiply_values<E: Float, N: Size>(
    weights: &SharedMemory<E>,
    values: &SharedMemory<Vector<E, N>>,
    #[comptime] chunk: usize,
    products: &mut SharedMemory<f32>,
    #[comptime] tile: MatrixTile,
) {
    let (pitch, width) = comptime!((tile.pitch(), tile.width));
    let mut block = 0usize;
    while block < comptime!(tile.columns_of_chunk(chunk) / SIDE) {
        let sum = zeros();
        #[unroll]
        for step in 0..comptime!(KEYS / SIDE) {
            let start = first_row() * WEIGHT_PITCH + comptime!(step * SIDE);
            let weight = factor::<E, E>(
                &weights.slice(start, comptime!(ROWS * WEIGHT_PITCH)),
                cmma::MatrixIdent::A,
                cmma::MatrixLayout::RowMajor,
                WEIGHT_PITCH,
            );
            let start = comptime!((step * SIDE * pitch + chunk * KEYS) / width)
                + block * comptime!(SIDE / width);
            let value = factor::<E, Vector<E, N>>(
                &values.slice(start, comptime!(KEYS * pitch / width)),
                cmma::MatrixIdent::B,
                cmma::MatrixLayout::RowMajor,
                pitch,
            );
            cmma::execute::<E, E, f32, f32>(&weight, &value, &sum, &sum);
        }
        write_sum(&sum, products, block);
        block += one_at_run_time();
    }
}

#[cube]
fn zeros() -> cmma::Matrix<f32> {
    cmma::Matrix::<f32>::from_value(
        cmma::MatrixIdent::Accumulator,
        SIDE,
        SIDE,
        SIDE,
        cmma::MatrixLayout::Undefined,
        0.0f32,
    )
}

/// A factor out of shared memory.
#[cube]
fn factor<E: Float, V: CubePrimitive>(
    memory: &Slice<V>,
    #[comptime] ident: cmma::MatrixIdent,
    #[comptime] layout: cmma::MatrixLayout,
    #[comptime] pitch: usize,
) -> cmma::Matrix<E> {
    // Zeros that the load overwrites, because a matrix of nothing yet would be unsafe.
    let factor = cmma::Matrix::<E>::from_value(ident, SIDE, SIDE, SIDE, layout, E::new(0.0));
    cmma::load(&factor, memory, comptime!(pitch as u32));
    factor
}

/// Writes the sums of the plane's rows and the columns of `block`.
#[cube]
fn write_sum(sum: &cmma::Matrix<f32>, products: &mut SharedMemory<f32>, block: usize) {
    let start = first_row() * PRODUCT_PITCH + block * SIDE;
    cmma::store(
        &mut products.slice_mut(start, comptime!(ROWS * PRODUCT_PITCH)),
        sum,
        comptime!(PRODUCT_PITCH as u32),
        cmma::MatrixLayout::RowMajor,
    );
}
