//! Online softmax over the products of matrix units. Two units share a query: one has its even keys
//! and columns, the other its odd ones.

use cubecl::prelude::*;

use super::super::rows::{Rows, is_seen, start_of_answer, visible};
use super::tile::{KEYS, MatrixTile, PRODUCT_PITCH, SHARERS, WEIGHT_PITCH};
use crate::kernels::AttentionMask;
use crate::kernels::cube::loops::one_at_run_time;

/// From the lane of one sharer to that of the other.
const OTHER: u32 = 1;

/// What a unit knows of the query that it shares.
#[derive(CubeType)]
pub(super) struct Softmax {
    /// The key behind the last that the query sees, and how many it sees at most.
    seen: usize,
    window: usize,
    /// The largest score so far. Arrays of one, since a kernel does not assign to a field.
    largest: Array<f32>,
    /// The weights of this unit's keys so far, summed.
    total: Array<f32>,
    /// The weighted values so far, summed, of this unit's columns.
    sums: Array<f32>,
}

/// The row of the tile that the unit shares.
#[cube]
fn shared_row() -> usize {
    UNIT_POS_X as usize / SHARERS
}

/// Which of the sharers the unit is.
#[cube]
fn sharer() -> usize {
    UNIT_POS_X as usize % SHARERS
}

#[cube]
pub(super) fn new_softmax(
    rows: &Rows,
    #[comptime] tile: MatrixTile,
    #[comptime] mask: AttentionMask,
) -> Softmax {
    let columns = comptime!(tile.padded() / SHARERS);
    let mut largest = Array::<f32>::new(1usize);
    let mut total = Array::<f32>::new(1usize);
    let mut sums = Array::<f32>::new(columns);
    largest[0] = f32::min_value();
    total[0] = 0.0f32;
    #[unroll]
    for column in 0..columns {
        sums[column] = 0.0f32;
    }
    Softmax {
        seen: visible(min(rows.first + shared_row(), rows.count - 1), rows, mask),
        window: rows.window,
        largest,
        total,
        sums,
    }
}

/// Turns the products of a tile into weights relative to the largest score so far, and what was
/// summed before with them. Every unit of the cube must call it.
#[cube]
pub(super) fn weigh<E: Float>(
    products: &SharedMemory<f32>,
    first: usize,
    scale: f32,
    softmax: &mut Softmax,
    weights: &mut SharedMemory<E>,
    #[comptime] tile: MatrixTile,
) {
    let mut largest = softmax.largest[0];
    let mut key = sharer();
    while key < KEYS {
        let score = products[shared_row() * PRODUCT_PITCH + key] * scale;
        let is_seen = is_seen(first + key, softmax.seen, softmax.window);
        largest = max(largest, select(is_seen, score, f32::min_value()));
        key += SHARERS * one_at_run_time();
    }
    let largest = max(largest, plane_shuffle_xor(largest, OTHER));
    let mut total = 0.0f32;
    let mut key = sharer();
    while key < KEYS {
        let score = products[shared_row() * PRODUCT_PITCH + key] * scale;
        let is_seen = is_seen(first + key, softmax.seen, softmax.window);
        let weight = E::cast_from(select(is_seen, (score - largest).exp(), 0.0f32));
        weights[shared_row() * WEIGHT_PITCH + key] = weight;
        // What is summed is the weight as the values are multiplied by it, rounded.
        total += f32::cast_from(weight);
        key += SHARERS * one_at_run_time();
    }
    let shrink = (softmax.largest[0] - largest).exp();
    softmax.largest[0] = largest;
    softmax.total[0] = softmax.total[0] * shrink + total;
    #[unroll]
    for column in 0..comptime!(tile.padded() / SHARERS) {
        softmax.sums[column] = softmax.sums[column] * shrink;
    }
}

/// Adds the weighted values of a chunk of columns to the sums.
#[cube]
pub(super) fn add_values(
    products: &SharedMemory<f32>,
    #[comptime] chunk: usize,
    softmax: &mut Softmax,
    #[comptime] tile: MatrixTile,
) {
    let start = shared_row() * PRODUCT_PITCH + sharer();
    #[unroll]
    for step in 0..comptime!(tile.columns_of_chunk(chunk) / SHARERS) {
        let column = comptime!(chunk * KEYS / SHARERS + step);
        let product = products[start + comptime!(step * SHARERS)];
        softmax.sums[column] = softmax.sums[column] + product;
    }
}

/// Every unit of the cube must call it.
#[cube]
pub(super) fn store<E: Float>(
    rows: &Rows,
    softmax: &Softmax,
    answer: &mut Tensor<E>,
    #[comptime] tile: MatrixTile,
) {
    let total = softmax.total[0] + plane_shuffle_xor(softmax.total[0], OTHER);
    // A row that saw no key has sums of zero.
    let total = select(total == 0.0f32, 1.0f32, total);
    let row = rows.first + shared_row();
    if row < rows.count {
        let start = start_of_answer::<E>(answer, rows, row);
        #[unroll]
        for step in 0..comptime!(tile.padded() / SHARERS) {
            let column = comptime!(step * SHARERS) + sharer();
            if column < tile.head_dim {
                answer[start + column] = E::cast_from(softmax.sums[step] / total);
            }
        }
    }
}
