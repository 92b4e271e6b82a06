//! The weighted values of a part's keys, summed and stored.

use cubecl::prelude::*;

use super::combine::NUMBERS;
use super::partial::{Shared, Work, lane, load_rows, row};
use super::scores::{largest_of, total_of};
use super::tile::Tile;
use crate::kernels::cube::loops::one_at_run_time;

/// The unit's vector of the weighted values of every `rows`-th key, summed, of each head.
#[cube]
pub(super) fn sum_values<C: Float, N: Size>(
    value: &Tensor<Vector<C, N>>,
    work: &Work,
    shared: &Shared,
    #[comptime] tile: Tile,
) -> Array<Vector<f32, N>> {
    let heads = comptime!(tile.heads);
    let mut sums = Array::<Vector<f32, N>>::new(heads);
    #[unroll]
    for head in 0..heads {
        sums[head] = Vector::<f32, N>::new(0.0f32);
    }
    let mut first = work.first + row(work);
    while first < work.end {
        let loaded = load_rows::<C, N>(value, work, first, tile);
        #[unroll]
        for load in 0..comptime!(tile.loads) {
            let key = first + comptime!(load * tile.rows());
            let numbers = Vector::<f32, N>::cast_from(loaded[load]);
            let at = (min(key, work.end - 1) - work.first) * heads;
            #[unroll]
            for head in 0..heads {
                let weight = select(key < work.end, shared.scores[at + head], 0.0f32);
                sums[head] = sums[head] + numbers * Vector::<f32, N>::new(weight);
            }
        }
        first += comptime!(tile.keys());
    }
    sums
}

/// Sums over the rows of units, as many heads at a time as the scratch holds.
#[cube]
pub(super) fn store<A: Float, N: Size>(
    work: &Work,
    sums: &Array<Vector<f32, N>>,
    shared: &mut Shared,
    answer: &mut Tensor<A>,
    #[comptime] tile: Tile,
) {
    let at_once = comptime!(tile.heads_at_once());
    #[unroll]
    for round in 0..comptime!(tile.heads.div_ceil(at_once)) {
        let first_head = comptime!(round * at_once);
        share_sums::<N>(work, sums, first_head, shared, tile);
        sync_cube();
        let mut index = UNIT_POS_X as usize;
        while index < comptime!(at_once * tile.head_dim) {
            let head = first_head + index / tile.head_dim;
            if head < work.heads {
                let mut sum = 0.0f32;
                let mut row = 0usize;
                while row < comptime!(tile.rows()) {
                    sum += shared.scratch[row * comptime!(at_once * tile.head_dim) + index];
                    row += one_at_run_time();
                }
                store_number::<A>(work, head, index % tile.head_dim, sum, shared, answer, tile);
            }
            index += CUBE_DIM_X as usize;
        }
        sync_cube();
    }
}

/// Puts the unit's sums of as many heads as there is room for into the scratch: `[row, head, column]`.
#[cube]
fn share_sums<N: Size>(
    work: &Work,
    sums: &Array<Vector<f32, N>>,
    #[comptime] first_head: usize,
    shared: &mut Shared,
    #[comptime] tile: Tile,
) {
    let at_once = comptime!(tile.heads_at_once());
    if row(work) < comptime!(tile.rows()) {
        #[unroll]
        for head in 0..at_once {
            if comptime!(first_head + head < tile.heads) {
                let sum = sums[comptime!(first_head + head)];
                let start = (row(work) * at_once + head) * tile.head_dim + lane(work) * tile.width;
                #[unroll]
                for element in 0..comptime!(tile.width) {
                    shared.scratch[start + element] = sum[element];
                }
            }
        }
    }
}

/// The whole row gives the answer; a part gives what [`combine`](super::combine) needs.
#[cube]
fn store_number<A: Float>(
    work: &Work,
    head: usize,
    column: usize,
    sum: f32,
    shared: &Shared,
    answer: &mut Tensor<A>,
    #[comptime] tile: Tile,
) {
    let row = work.first_head + head;
    let total = total_of(shared, head);
    if comptime!(tile.is_whole) {
        let start = (work.batch * answer.shape(2) + row) * tile.head_dim;
        // A row that saw no key has sums of zero.
        let total = select(total == 0.0f32, 1.0f32, total);
        answer[start + column] = A::cast_from(sum / total);
    } else if work.first < work.end {
        let numbers = comptime!(tile.head_dim + NUMBERS);
        let start = ((work.batch * answer.shape(1) + row) * work.parts + work.part) * numbers;
        answer[start + column] = A::cast_from(sum);
        if column == 0 {
            answer[start + tile.head_dim] = A::cast_from(largest_of(shared, head));
            answer[start + comptime!(tile.head_dim + 1)] = A::cast_from(total);
        }
    }
}
