//! The parts of a row put together: each weighs what its largest score does beside the others'.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::strategy::DecodeStrategy;
use super::tile::{Tile, keys_of_part};
use crate::kernels::cube::view::seen_by_last;
use crate::kernels::launch::Grid;

/// Numbers of a part behind its sums: the largest score, and the weights summed.
pub(super) const NUMBERS: usize = 2;

/// An element of the answer a unit.
#[cube(launch)]
fn combine_kernel<E: Float>(
    partial: &Tensor<f32>,
    views: &Tensor<u32>,
    answer: &mut Tensor<E>,
    wanted_parts: u32,
    #[comptime] tile: Tile,
    #[define(E)] _dtype: StorageType,
) {
    let head_dim = comptime!(tile.head_dim);
    let pitch = comptime!(tile.head_dim + NUMBERS);
    let row = ABSOLUTE_POS / head_dim;
    if row < partial.shape(0) * partial.shape(1) {
        let seen = seen_by_last(views, row / partial.shape(1));
        let parts = seen.div_ceil(keys_of_part(seen, wanted_parts as usize, tile));
        let start = row * partial.shape(2) * pitch;
        let mut largest = f32::min_value();
        for part in 0..parts {
            largest = max(largest, partial[start + part * pitch + head_dim]);
        }
        let mut sum = 0.0f32;
        let mut total = 0.0f32;
        for part in 0..parts {
            let start = start + part * pitch;
            let weight = (partial[start + head_dim] - largest).exp();
            sum += weight * partial[start + ABSOLUTE_POS % head_dim];
            total += weight * partial[start + head_dim + 1];
        }
        // A row that saw no key has sums of zero.
        let total = select(total == 0.0f32, 1.0f32, total);
        answer[ABSOLUTE_POS] = E::cast_from(sum / total);
    }
}

/// Writes the answer from its parts.
pub(super) fn launch<R: CubeRuntime>(
    partial: &CubeTensor<R>,
    views: &CubeTensor<R>,
    answer: &CubeTensor<R>,
    strategy: &DecodeStrategy,
    grid: Grid,
) {
    let (cubes, units) = grid.size();
    combine_kernel::launch::<R>(
        &partial.client,
        cubes,
        units,
        partial.clone().into_tensor_arg(),
        views.clone().into_tensor_arg(),
        answer.clone().into_tensor_arg(),
        strategy.wanted_parts as u32,
        strategy.tile,
        answer.dtype.into(),
    );
}
