//! Small kernels, right ones and wrong ones.

use cubecl::prelude::*;

/// `out = x * factor`, in vectors of `N`.
#[cube(launch, launch_unchecked)]
pub(crate) fn scale<E: Float, N: Size>(
    x: &Tensor<Vector<E, N>>,
    out: &mut Tensor<Vector<E, N>>,
    factor: f32,
    #[define(E)] _dtype: StorageType,
) {
    if ABSOLUTE_POS < out.len() {
        let scaled = Vector::<f32, N>::cast_from(x[ABSOLUTE_POS]) * Vector::new(factor);
        out[ABSOLUTE_POS] = Vector::cast_from(scaled);
    }
}

/// The sum of a block's values, as a tree in shared memory.
#[cube(launch)]
pub(crate) fn block_sum(x: &Tensor<f32>, out: &mut Tensor<f32>, #[comptime] units: u32) {
    let mut partial = SharedMemory::<f32>::new(comptime!(units as usize));
    partial[UNIT_POS as usize] = x[ABSOLUTE_POS];
    sync_cube();
    #[unroll]
    for step in 0..comptime!(units.ilog2()) {
        let half = comptime!(units >> (step + 1));
        if UNIT_POS < half {
            let other = partial[(UNIT_POS + half) as usize];
            partial[UNIT_POS as usize] += other;
        }
        sync_cube();
    }
    if UNIT_POS == 0 {
        out[CUBE_POS] = partial[0];
    }
}

/// Neighbour, maximum and first value of each plane, added up.
#[cube(launch)]
pub(crate) fn plane_exchange(x: &Tensor<f32>, out: &mut Tensor<f32>) {
    let value = x[ABSOLUTE_POS];
    let neighbour = plane_shuffle_xor(value, 1u32);
    let highest = plane_max(value);
    let first = plane_broadcast(value, 0u32);
    out[ABSOLUTE_POS] = neighbour + highest + first;
}

/// How [`reverse_block`] waits between writing and reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Wait {
    All,
    Nobody,
    FirstThreads,
    FirstThreadsApart,
}

/// Reverses a block by way of shared memory.
#[cube(launch)]
pub(crate) fn reverse_block(
    x: &Tensor<f32>,
    out: &mut Tensor<f32>,
    #[comptime] units: u32,
    #[comptime] wait: Wait,
) {
    let mut values = SharedMemory::<f32>::new(comptime!(units as usize));
    values[UNIT_POS as usize] = x[ABSOLUTE_POS];
    match comptime!(wait) {
        Wait::All => {
            sync_cube();
        }
        Wait::Nobody => {}
        Wait::FirstThreads => {
            if UNIT_POS < 40 {
                sync_cube();
            }
            sync_cube();
        }
        Wait::FirstThreadsApart => {
            if UNIT_POS < 40 {
                sync_cube();
            } else {
                values[0] = plane_max(x[ABSOLUTE_POS]);
            }
        }
    }
    out[ABSOLUTE_POS] = values[(units - 1 - UNIT_POS) as usize];
}

/// Half of the lanes take part in an operation of the whole plane.
#[cube(launch)]
pub(crate) fn half_a_plane(x: &Tensor<f32>, out: &mut Tensor<f32>) {
    if UNIT_POS_PLANE < 16 {
        out[ABSOLUTE_POS] = plane_sum(x[ABSOLUTE_POS]);
    }
}

/// Writes one place to the right.
#[cube(launch, launch_unchecked)]
pub(crate) fn shift_right(x: &Tensor<f32>, out: &mut Tensor<f32>) {
    out[ABSOLUTE_POS + 1] = x[ABSOLUTE_POS];
}

/// Each block reads what the block before it wrote.
#[cube(launch)]
pub(crate) fn chain_of_blocks(out: &mut Tensor<f32>) {
    if UNIT_POS == 0 && CUBE_POS > 0 {
        let before = out[CUBE_POS - 1];
        out[CUBE_POS] = before + 1.0f32;
    }
}

/// A loop that cannot be unrolled, since its end is not known.
#[cube(launch)]
pub(crate) fn endless_unroll(out: &mut Tensor<f32>, end: u32) {
    #[unroll]
    for i in 0..end {
        out[i as usize] = 1.0f32;
    }
}

/// More live values than a thread has registers for, at 1024 threads a block.
#[cube(launch)]
pub(crate) fn too_many_live_values(
    x: &Tensor<f32>,
    out: &mut Tensor<f32>,
    rounds: u32,
    #[comptime] live: usize,
) {
    let mut values = Array::<f32>::new(live);
    #[unroll]
    for i in 0..live {
        values[i] = x[ABSOLUTE_POS * live + i];
    }
    for round in 0..rounds {
        #[unroll]
        for i in 0..live {
            values[i] = values[i] * values[(i + 1) % live] + f32::cast_from(round);
        }
    }
    #[unroll]
    for i in 0..live {
        out[ABSOLUTE_POS * live + i] = values[i];
    }
}

/// One 16x16 tile of `a b^T` on the matrix units, with `a` and `b` `[16, k]`.
#[cube(launch)]
pub(crate) fn matrix_tile<E: Float>(
    a: &Tensor<E>,
    b: &Tensor<E>,
    out: &mut Tensor<f32>,
    #[comptime] k: usize,
    #[define(E)] _dtype: StorageType,
) {
    let sum = cmma::Matrix::<f32>::from_value(
        cmma::MatrixIdent::Accumulator,
        16usize,
        16usize,
        16usize,
        cmma::MatrixLayout::Undefined,
        0.0f32,
    );
    for step in 0..comptime!(k / 16) {
        let start = step * 16;
        let tile_a = cmma::Matrix::<E>::from_slice(
            cmma::MatrixIdent::A,
            16usize,
            16usize,
            16usize,
            cmma::MatrixLayout::RowMajor,
            &a.slice(start, a.len()),
            k as u32,
        );
        let tile_b = cmma::Matrix::<E>::from_slice(
            cmma::MatrixIdent::B,
            16usize,
            16usize,
            16usize,
            cmma::MatrixLayout::ColMajor,
            &b.slice(start, b.len()),
            k as u32,
        );
        cmma::execute::<E, E, f32, f32>(&tile_a, &tile_b, &sum, &sum);
    }
    cmma::store(
        &mut out.slice_mut(0, 256),
        &sum,
        16,
        cmma::MatrixLayout::RowMajor,
    );
}
