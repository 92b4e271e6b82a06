//! Attention on matrix units, for queries, keys and values of one half-precision type; sums are f32.
//!
//! A plane answers 16 queries. Its products leave the matrix units through shared memory, where two
//! units share a query: which unit holds what of a product is the device's secret.

mod loads;
mod products;
mod softmax;
mod tile;

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

pub(super) use tile::{MatrixTile, ROWS};

use super::rows::{keys_of_tile, rows_of_cube};
use crate::kernels::AttentionMask;
use crate::kernels::attention_prefill::AttentionInputs;
use crate::kernels::launch::Grid;
use loads::{clear_padding, load_keys, load_queries};
use products::{multiply_keys, multiply_values};
use softmax::{add_values, new_softmax, store, weigh};
use tile::{ALIGNMENT, KEYS, PRODUCT_PITCH, WEIGHT_PITCH};

#[cube(launch)]
fn matrix_kernel<E: Float, N: Size>(
    query: &Tensor<E>,
    key: &Tensor<Vector<E, N>>,
    value: &Tensor<Vector<E, N>>,
    answer: &mut Tensor<E>,
    views: &Tensor<u32>,
    scale: f32,
    #[comptime] tile: MatrixTile,
    #[comptime] mask: AttentionMask,
    #[define(E)] _dtype: StorageType,
) {
    let rows = rows_of_cube::<E, Vector<E, N>>(query, key, views, ROWS);
    let (pitch, width) = comptime!((tile.pitch(), tile.width));
    let mut queries = SharedMemory::<E>::new_aligned(comptime!(ROWS * pitch), ALIGNMENT);
    let mut keys =
        SharedMemory::<Vector<E, N>>::new_aligned(comptime!(KEYS * pitch / width), ALIGNMENT);
    let mut weights = SharedMemory::<E>::new_aligned(comptime!(ROWS * WEIGHT_PITCH), ALIGNMENT);
    let mut products = SharedMemory::<f32>::new_aligned(comptime!(ROWS * PRODUCT_PITCH), ALIGNMENT);
    load_queries::<E>(query, &rows, &mut queries, tile);
    clear_padding::<E, N>(&mut keys, tile);

    let mut softmax = new_softmax(&rows, tile, mask);
    let (first_key, end) = keys_of_tile(&rows, ROWS, mask);
    let mut first = first_key;
    while first < end {
        load_keys::<E, N>(key, &rows, first, end, &mut keys, tile);
        sync_cube();
        multiply_keys::<E, N>(&queries, &keys, &mut products, tile);
        sync_cube();
        // From here on `keys` holds values.
        load_keys::<E, N>(value, &rows, first, end, &mut keys, tile);
        weigh::<E>(&products, first, scale, &mut softmax, &mut weights, tile);
        sync_cube();
        #[unroll]
        for chunk in 0..comptime!(tile.chunks()) {
            // Products are the plane's own, so that the others need not wait for them.
            multiply_values::<E, N>(&weights, &keys, chunk, &mut products, tile);
            sync_plane();
            add_values(&products, chunk, &mut softmax, tile);
            sync_plane();
        }
        sync_cube();
        first += KEYS;
    }
    store::<E>(&rows, &softmax, answer, tile);
}

/// Writes the answer.
pub(super) fn launch<R: CubeRuntime>(
    inputs: &AttentionInputs<CubeTensor<R>>,
    views: &CubeTensor<R>,
    mask: AttentionMask,
    answer: &CubeTensor<R>,
    (tile, grid): (MatrixTile, Grid),
) {
    let AttentionInputs { query, key, value } = inputs;
    let (cubes, units) = grid.size();
    matrix_kernel::launch::<R>(
        &query.client,
        cubes,
        units,
        tile.width,
        query.clone().into_tensor_arg(),
        key.clone().into_tensor_arg(),
        value.clone().into_tensor_arg(),
        answer.clone().into_tensor_arg(),
        views.clone().into_tensor_arg(),
        1.0 / (tile.head_dim as f32).sqrt(),
        tile,
        mask,
        query.dtype.into(),
    );
}
