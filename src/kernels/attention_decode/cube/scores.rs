//! The weights of a part's keys.

use cubecl::prelude::*;

use super::partial::{Shared, Work, lane, load_rows, row};
use super::tile::{HEAD_PITCH, HEAD_UNITS, Tile};
use crate::kernels::cube::loops::one_at_run_time;
use crate::kernels::cube::reduce::sum_vector;

/// The part's scores of each head.
#[cube]
pub(super) fn score<E: Float, C: Float, N: Size>(
    query: &Tensor<E>,
    key: &Tensor<Vector<C, N>>,
    work: &Work,
    scale: f32,
    shared: &mut Shared,
    #[comptime] tile: Tile,
) {
    let (heads, pitch) = comptime!((tile.heads, tile.pitch()));
    let (lane, row) = (lane(work), row(work));
    let queries = load_query::<E, N>(query, work, scale, tile);
    let mut first = work.first;
    while first < work.end {
        if row < comptime!(tile.rows()) {
            let loaded = load_rows::<C, N>(key, work, first + row, tile);
            #[unroll]
            for load in 0..comptime!(tile.loads) {
                let numbers = Vector::<f32, N>::cast_from(loaded[load]);
                #[unroll]
                for head in 0..heads {
                    let pair = (comptime!(load * tile.rows()) + row) * heads + head;
                    let product = sum_vector::<N>(numbers * queries[head]);
                    shared.scratch[pair * pitch + lane] = product;
                }
            }
        }
        sync_cube();
        add_products(first, work, shared, tile);
        sync_cube();
        first += comptime!(tile.keys());
    }
}

/// The unit's vector of each query head, scaled; a head beyond the last repeats it.
#[cube]
fn load_query<E: Float, N: Size>(
    query: &Tensor<E>,
    work: &Work,
    scale: f32,
    #[comptime] tile: Tile,
) -> Array<Vector<f32, N>> {
    let heads = comptime!(tile.heads);
    let mut queries = Array::<Vector<f32, N>>::new(heads);
    #[unroll]
    for head in 0..heads {
        let query_head = work.first_head + min(head, work.heads - 1);
        let start = work.batch * query.stride(0) + query_head * query.stride(1);
        let mut vector = Vector::<f32, N>::new(0.0f32);
        #[unroll]
        for element in 0..comptime!(tile.width) {
            let column = lane(work) * tile.width + element;
            vector[element] = f32::cast_from(query[start + column * query.stride(3)]) * scale;
        }
        queries[head] = vector;
    }
    queries
}

/// The scores of the keys from `first` on whose products are in shared memory.
#[cube]
fn add_products(first: usize, work: &Work, shared: &mut Shared, #[comptime] tile: Tile) {
    let (heads, pitch) = comptime!((tile.heads, tile.pitch()));
    let mut pair = UNIT_POS_X as usize;
    while pair < comptime!(tile.keys() * tile.heads) {
        if first + pair / heads < work.end {
            let mut sum = 0.0f32;
            let mut lane = 0usize;
            while lane < work.lanes {
                sum += shared.scratch[pair * pitch + lane];
                lane += one_at_run_time();
            }
            shared.scores[(first - work.first) * heads + pair] = sum;
        }
        // Not the number of units, which the compiler would unroll by.
        pair += CUBE_DIM_X as usize;
    }
}

/// Turns the scores of each head into weights relative to the largest, and sums them: both stay in
/// [`HEAD_UNITS`] pieces.
#[cube]
pub(super) fn weigh(work: &Work, shared: &mut Shared, #[comptime] tile: Tile) {
    let heads = comptime!(tile.heads);
    let (head, unit) = (
        UNIT_POS_X as usize / HEAD_UNITS,
        UNIT_POS_X as usize % HEAD_UNITS,
    );
    let count = work.end - work.first;
    if head < heads {
        let mut largest = f32::min_value();
        let mut key = unit;
        while key < count {
            largest = max(largest, shared.scores[key * heads + head]);
            key += HEAD_UNITS;
        }
        shared.largest[head * HEAD_PITCH + unit] = largest;
    }
    sync_cube();
    if head < heads {
        let largest = largest_of(shared, head);
        let mut total = 0.0f32;
        let mut key = unit;
        while key < count {
            let weight = (shared.scores[key * heads + head] - largest).exp();
            shared.scores[key * heads + head] = weight;
            total += weight;
            key += HEAD_UNITS;
        }
        shared.totals[head * HEAD_PITCH + unit] = total;
    }
    sync_cube();
}

/// The largest score of a head.
#[cube]
pub(super) fn largest_of(shared: &Shared, head: usize) -> f32 {
    let mut largest = f32::min_value();
    let mut unit = 0usize;
    while unit < HEAD_UNITS {
        largest = max(largest, shared.largest[head * HEAD_PITCH + unit]);
        unit += one_at_run_time();
    }
    largest
}

/// The weights of a head, summed.
#[cube]
pub(super) fn total_of(shared: &Shared, head: usize) -> f32 {
    let mut total = 0.0f32;
    let mut unit = 0usize;
    while unit < HEAD_UNITS {
        total += shared.totals[head * HEAD_PITCH + unit];
        unit += one_at_run_time();
    }
    total
}
