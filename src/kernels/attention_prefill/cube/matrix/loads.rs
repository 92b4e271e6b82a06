//! Queries, keys and values into shared memory, as matrix units read them.

use cubecl::prelude::*;

use super::super::rows::{Rows, start_of_query};
use super::tile::{KEYS, MatrixTile, ROWS};
use crate::kernels::cube::view::start_of_key;

/// Rows beyond the last repeat it, and are not stored.
#[cube]
pub(super) fn load_queries<E: Float>(
    query: &Tensor<E>,
    rows: &Rows,
    queries: &mut SharedMemory<E>,
    #[comptime] tile: MatrixTile,
) {
    let (padded, pitch) = comptime!((tile.padded(), tile.pitch()));
    let mut index = UNIT_POS_X as usize;
    while index < comptime!(ROWS * tile.padded()) {
        let (row, column) = (index / padded, index % padded);
        let source = min(column, comptime!(tile.head_dim - 1));
        let at = start_of_query::<E>(query, rows, row) + source * query.stride(3);
        queries[row * pitch + column] = select(column < tile.head_dim, query[at], E::new(0.0));
        // Not the number of units, which the compiler would unroll by.
        index += CUBE_DIM_X as usize;
    }
}

/// Zeros behind each row of keys, where no key is ever written.
#[cube]
pub(super) fn clear_padding<E: Float, N: Size>(
    keys: &mut SharedMemory<Vector<E, N>>,
    #[comptime] tile: MatrixTile,
) {
    let padding = comptime!((tile.padded() - tile.head_dim) / tile.width);
    if comptime!(padding > 0) {
        let mut index = UNIT_POS_X as usize;
        while index < comptime!(KEYS * padding) {
            let start = index / padding * comptime!(tile.pitch() / tile.width);
            let at = start + comptime!(tile.head_dim / tile.width) + index % padding;
            keys[at] = Vector::new(E::new(0.0));
            index += CUBE_DIM_X as usize;
        }
    }
}

/// Keys beyond the last visible one repeat it: what lies there was never written, and a weight of
/// zero would not silence a NaN.
#[cube]
pub(super) fn load_keys<E: Float, N: Size>(
    slab: &Tensor<Vector<E, N>>,
    rows: &Rows,
    first: usize,
    end: usize,
    keys: &mut SharedMemory<Vector<E, N>>,
    #[comptime] tile: MatrixTile,
) {
    let vectors = comptime!(tile.head_dim / tile.width);
    let mut index = UNIT_POS_X as usize;
    while index < comptime!(KEYS * vectors) {
        let (key, vector) = (index / vectors, index % vectors);
        let key_in_view = min(first + key, end - 1);
        let start = start_of_key::<Vector<E, N>>(slab, &rows.view, rows.kv_head, key_in_view);
        // The last axis is dense, or the width is one.
        let from = start / slab.vector_size() + vector * slab.stride(3);
        keys[key * comptime!(tile.pitch() / tile.width) + vector] = slab[from];
        index += CUBE_DIM_X as usize;
    }
}
