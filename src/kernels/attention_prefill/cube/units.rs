//! Attention on the units that everything else runs on.
//!
//! The units of a cube stand in `groups` of `lanes`. A group owns every `groups`-th row of the tile;
//! a lane owns one key of each tile while scores are computed, and every `lanes`-th column of the
//! answer while values are summed.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::rows::{
    Rows, is_seen, keys_of_tile, rows_of_cube, start_of_answer, start_of_query, visible,
};
use super::tile::Tile;
use crate::kernels::AttentionMask;
use crate::kernels::attention_prefill::AttentionInputs;
use crate::kernels::cube::loops::at_run_time;
use crate::kernels::cube::view::start_of_key;
use crate::kernels::launch::Grid;

#[cube(launch)]
fn attention_kernel<E: Float, C: Float>(
    query: &Tensor<E>,
    key: &Tensor<C>,
    value: &Tensor<C>,
    answer: &mut Tensor<E>,
    views: &Tensor<u32>,
    scale: f32,
    #[comptime] tile: Tile,
    #[comptime] mask: AttentionMask,
    #[define(E)] _dtype: StorageType,
    #[define(C)] _cache_dtype: StorageType,
) {
    let rows = rows_of_cube::<E, C>(query, key, views, tile.rows);
    let mut queries = SharedMemory::<f32>::new(comptime!(tile.rows * tile.pitch()));
    let mut keys = SharedMemory::<f32>::new(comptime!(tile.lanes * tile.pitch()));
    let mut scores = SharedMemory::<f32>::new(comptime!(tile.rows * tile.lanes));
    let mut weights = SharedMemory::<f32>::new(comptime!(tile.rows * tile.lanes));
    let mut softmax = new_softmax(&rows, tile, mask);
    load_queries::<E>(query, &rows, scale, &mut queries, tile);
    let (first, end) = keys_of_tile(&rows, tile.rows, mask);
    let mut first_key = first;
    while first_key < end {
        load_keys::<C>(key, &rows, first_key, end, &mut keys, tile);
        sync_cube();
        score(
            &queries,
            &keys,
            first_key,
            query.shape(3),
            &softmax,
            &mut scores,
            tile,
        );
        sync_cube();
        // From here on `keys` holds values.
        load_keys::<C>(value, &rows, first_key, end, &mut keys, tile);
        weigh(&scores, first_key, &mut softmax, &mut weights, tile);
        sync_cube();
        add_values(&weights, &keys, &mut softmax, tile);
        sync_cube();
        first_key += tile.lanes;
    }
    store::<E>(&rows, &softmax, answer, tile);
}

/// What a unit knows of the rows of its group.
#[derive(CubeType)]
struct Softmax {
    /// The key behind the last that each row sees, by [`visible()`].
    seen: Array<usize>,
    /// Keys that a row sees at most.
    window: usize,
    /// The largest score of each row so far.
    largest: Array<f32>,
    /// The weights of each row so far, summed.
    total: Array<f32>,
    /// The weighted values so far, summed, of each row and each column of this lane.
    sums: Array<f32>,
}

#[cube]
fn lane(#[comptime] tile: Tile) -> usize {
    UNIT_POS_X as usize % tile.lanes
}

/// The row of the tile that is the `owned`-th of the unit's group.
#[cube]
fn row_of(#[comptime] owned: usize, #[comptime] tile: Tile) -> usize {
    comptime!(owned * tile.groups) + UNIT_POS_X as usize / tile.lanes
}

#[cube]
fn new_softmax(rows: &Rows, #[comptime] tile: Tile, #[comptime] mask: AttentionMask) -> Softmax {
    let (owned_rows, owned_sums) = comptime!((
        tile.rows_of_group(),
        tile.rows_of_group() * tile.columns_of_lane()
    ));
    let mut seen = Array::<usize>::new(owned_rows);
    let mut largest = Array::<f32>::new(owned_rows);
    let mut total = Array::<f32>::new(owned_rows);
    let mut sums = Array::<f32>::new(owned_sums);
    #[unroll]
    for owned in 0..owned_rows {
        let row = min(rows.first + row_of(owned, tile), rows.count - 1);
        seen[owned] = visible(row, rows, mask);
        largest[owned] = f32::min_value();
        total[owned] = 0.0f32;
    }
    #[unroll]
    for sum in 0..owned_sums {
        sums[sum] = 0.0f32;
    }
    Softmax {
        seen,
        window: rows.window,
        largest,
        total,
        sums,
    }
}

/// Rows beyond the last repeat it, and are not stored.
#[cube]
fn load_queries<E: Float>(
    query: &Tensor<E>,
    rows: &Rows,
    scale: f32,
    queries: &mut SharedMemory<f32>,
    #[comptime] tile: Tile,
) {
    let mut index = UNIT_POS_X as usize;
    while index < comptime!(tile.rows * tile.head_dim) {
        let (row, column) = (index / tile.head_dim, index % tile.head_dim);
        let at = start_of_query::<E>(query, rows, row) + column * query.stride(3);
        queries[row * comptime!(tile.pitch()) + column] = f32::cast_from(query[at]) * scale;
        // Not `tile.units()`, for the reason of [`at_run_time`].
        index += CUBE_DIM_X as usize;
    }
}

/// Keys beyond the last visible one repeat it: what lies there was never written, and a weight of
/// zero would not silence a NaN.
#[cube]
fn load_keys<C: Float>(
    slab: &Tensor<C>,
    rows: &Rows,
    first_key: usize,
    end: usize,
    keys: &mut SharedMemory<f32>,
    #[comptime] tile: Tile,
) {
    let mut index = UNIT_POS_X as usize;
    while index < comptime!(tile.lanes * tile.head_dim) {
        let (key, column) = (index / tile.head_dim, index % tile.head_dim);
        let key_in_view = min(first_key + key, end - 1);
        let start = start_of_key::<C>(slab, &rows.view, rows.kv_head, key_in_view);
        let at = start + column * slab.stride(3);
        keys[key * comptime!(tile.pitch()) + column] = f32::cast_from(slab[at]);
        // Not `tile.units()`, for the reason of [`at_run_time`].
        index += CUBE_DIM_X as usize;
    }
}

/// The score of each row of the group and the key of the lane.
///
/// The head is as long as at run time, for the reason of [`at_run_time`].
#[cube]
fn score(
    queries: &SharedMemory<f32>,
    keys: &SharedMemory<f32>,
    first_key: usize,
    head_dim: usize,
    softmax: &Softmax,
    scores: &mut SharedMemory<f32>,
    #[comptime] tile: Tile,
) {
    let (pitch, owned_rows) = comptime!((tile.pitch(), tile.rows_of_group()));
    let lane = lane(tile);
    let mut sums = Array::<f32>::new(owned_rows);
    #[unroll]
    for owned in 0..owned_rows {
        sums[owned] = 0.0f32;
    }
    for column in 0..head_dim {
        let key = keys[lane * pitch + column];
        #[unroll]
        for owned in 0..owned_rows {
            sums[owned] = sums[owned] + queries[row_of(owned, tile) * pitch + column] * key;
        }
    }
    #[unroll]
    for owned in 0..owned_rows {
        let is_seen = is_seen(first_key + lane, softmax.seen[owned], softmax.window);
        let score = select(is_seen, sums[owned], f32::min_value());
        scores[row_of(owned, tile) * tile.lanes + lane] = score;
    }
}

/// Turns scores into weights relative to the largest so far, and what was summed before with them.
#[cube]
fn weigh(
    scores: &SharedMemory<f32>,
    first_key: usize,
    softmax: &mut Softmax,
    weights: &mut SharedMemory<f32>,
    #[comptime] tile: Tile,
) {
    let lane = lane(tile);
    let columns = comptime!(tile.columns_of_lane());
    #[unroll]
    for owned in 0..comptime!(tile.rows_of_group()) {
        let start = row_of(owned, tile) * tile.lanes;
        let mut largest = softmax.largest[owned];
        for key in 0..at_run_time(tile.lanes, comptime!(tile.units())) {
            largest = max(largest, scores[start + key]);
        }
        let weight = (scores[start + lane] - largest).exp();
        // In a row that has seen no key yet, the lowest score weighs exp(0).
        let is_seen = is_seen(first_key + lane, softmax.seen[owned], softmax.window);
        weights[start + lane] = select(is_seen, weight, 0.0f32);
        let shrink = (softmax.largest[owned] - largest).exp();
        softmax.largest[owned] = largest;
        softmax.total[owned] = softmax.total[owned] * shrink;
        #[unroll]
        for step in 0..columns {
            let sum = comptime!(owned * columns + step);
            softmax.sums[sum] = softmax.sums[sum] * shrink;
        }
    }
}

/// Adds a tile of weighted values to the sums, and its weights to the totals.
#[cube]
fn add_values(
    weights: &SharedMemory<f32>,
    values: &SharedMemory<f32>,
    softmax: &mut Softmax,
    #[comptime] tile: Tile,
) {
    let lane = lane(tile);
    let columns = comptime!(tile.columns_of_lane());
    for key in 0..at_run_time(tile.lanes, comptime!(tile.units())) {
        #[unroll]
        for owned in 0..comptime!(tile.rows_of_group()) {
            let weight = weights[row_of(owned, tile) * tile.lanes + key];
            softmax.total[owned] = softmax.total[owned] + weight;
            #[unroll]
            for step in 0..columns {
                let sum = comptime!(owned * columns + step);
                // A lane past the head sums a column that it will not store.
                let column = min(
                    comptime!(step * tile.lanes) + lane,
                    comptime!(tile.head_dim - 1),
                );
                let value = values[key * comptime!(tile.pitch()) + column];
                softmax.sums[sum] = softmax.sums[sum] + weight * value;
            }
        }
    }
}

#[cube]
fn store<E: Float>(rows: &Rows, softmax: &Softmax, answer: &mut Tensor<E>, #[comptime] tile: Tile) {
    let columns = comptime!(tile.columns_of_lane());
    #[unroll]
    for owned in 0..comptime!(tile.rows_of_group()) {
        let row = rows.first + row_of(owned, tile);
        if row < rows.count {
            let start = start_of_answer::<E>(answer, rows, row);
            // A row that saw no key has sums of zero.
            let total = select(softmax.total[owned] == 0.0f32, 1.0f32, softmax.total[owned]);
            #[unroll]
            for step in 0..columns {
                let column = comptime!(step * tile.lanes) + lane(tile);
                if column < tile.head_dim {
                    let sum = softmax.sums[comptime!(owned * columns + step)];
                    answer[start + column] = E::cast_from(sum / total);
                }
            }
        }
    }
}

/// Writes the answer.
pub(super) fn launch<R: CubeRuntime>(
    inputs: &AttentionInputs<CubeTensor<R>>,
    views: &CubeTensor<R>,
    mask: AttentionMask,
    answer: &CubeTensor<R>,
    (tile, grid): (Tile, Grid),
) {
    let AttentionInputs { query, key, value } = inputs;
    let (cubes, units) = grid.size();
    attention_kernel::launch::<R>(
        &query.client,
        cubes,
        units,
        query.clone().into_tensor_arg(),
        key.clone().into_tensor_arg(),
        value.clone().into_tensor_arg(),
        answer.clone().into_tensor_arg(),
        views.clone().into_tensor_arg(),
        1.0 / (tile.head_dim as f32).sqrt(),
        tile,
        mask,
        query.dtype.into(),
        key.dtype.into(),
    );
}
