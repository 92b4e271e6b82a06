//! The inner loop of everything that multiplies many rows with many: a tile of sums in registers, over
//! a panel of rows that were copied in the order in which it reads them.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, within lengths checked before"
)]

use std::ops::Range;

use super::{MAX_LANES, MatrixRows, Simd};

/// Vectors in a panel: as many numbers of it are multiplied with each number of the other side.
pub(in crate::kernels) const VECTORS: usize = 2;

/// The most rows in a tile of any tier.
pub(in crate::kernels) const MAX_TILE_ROWS: usize = 12;

/// Steps of a panel that are on their way from the second-level cache while one is multiplied.
const STEPS_AHEAD: usize = 8;

/// Rows of a tile: as many sums as registers hold besides the vectors of the panel and one number of
/// the other side.
pub(in crate::kernels) const fn tile_rows<S: Simd>() -> usize {
    match S::REGISTERS {
        32.. => MAX_TILE_ROWS,
        16.. => 6,
        _ => 3,
    }
}

/// `[depth, width]` of some rows, zeros where there are fewer than `width`: one behind another are the
/// numbers that rows have at the same place.
///
/// # Panics
/// If `target` is not of that size.
#[inline(always)]
pub(in crate::kernels) fn pack<S: Simd, W: MatrixRows>(
    simd: S,
    matrix: W,
    depth: &Range<usize>,
    target: &mut [f32],
) {
    let width = VECTORS * S::LANES;
    assert_eq!(
        target.len(),
        depth.len() * width,
        "every element has a place"
    );
    let whole = depth.len() - depth.len() % S::LANES;
    for first in (0..width).step_by(S::LANES) {
        let rows = first.min(matrix.count())..matrix.count().min(first + S::LANES);
        let mut square = [simd.splat(0.0); MAX_LANES];
        for at in (0..whole).step_by(S::LANES) {
            for (vector, row) in square.iter_mut().zip(rows.clone()) {
                *vector = matrix.load(simd, row, depth.start + at);
            }
            // SAFETY: `LANES` rows of the target begin at `at`, which is below `whole`, and
            // `LANES` columns of each at `first`, which is below `width`.
            unsafe {
                let target = target.as_mut_ptr().add(at * width + first);
                simd.store_transposed(&square, target, width);
            }
        }
        for (at, target) in target.chunks_exact_mut(width).enumerate().skip(whole) {
            let target = &mut target[first..first + S::LANES];
            target.fill(0.0);
            for (target, row) in target.iter_mut().zip(rows.clone()) {
                *target = matrix.widen(row, depth.start + at);
            }
        }
    }
}

/// The sums of the products of a tile: `x` is `[depth, ROWS]`, `panel` `[depth, width]`.
#[inline(always)]
pub(in crate::kernels) fn sum_tile<S: Simd, const ROWS: usize>(
    simd: S,
    x: &[f32],
    panel: &[f32],
) -> [[S::Vector; VECTORS]; ROWS] {
    let width = VECTORS * S::LANES;
    let mut sums = [[simd.splat(0.0); VECTORS]; ROWS];
    let steps = x.chunks_exact(ROWS);
    for (x, panel) in steps.zip(panel.chunks_exact(width)) {
        let mut loaded = [simd.splat(0.0); VECTORS];
        for (vector, numbers) in loaded.iter_mut().zip(panel.chunks_exact(S::LANES)) {
            let ahead = numbers.as_ptr().wrapping_add(STEPS_AHEAD * width);
            simd.prefetch(ahead.cast());
            // SAFETY: the slice has `LANES` elements.
            *vector = unsafe { simd.load_f32(numbers.as_ptr()) };
        }
        for (x, sums) in x.iter().zip(&mut sums) {
            let x = simd.splat(*x);
            for (vector, sum) in loaded.iter().zip(sums) {
                *sum = simd.mul_add(x, *vector, *sum);
            }
        }
    }
    sums
}

/// Writes a row of sums.
///
/// # Panics
/// If `target` is shorter.
#[inline(always)]
pub(in crate::kernels) fn store_sums<S: Simd>(
    simd: S,
    sums: &[S::Vector; VECTORS],
    target: &mut [f32],
) {
    let target = &mut target[..VECTORS * S::LANES];
    for (sum, target) in sums.iter().zip(target.chunks_exact_mut(S::LANES)) {
        // SAFETY: the slice has `LANES` elements.
        unsafe { simd.store(target.as_mut_ptr(), *sum) };
    }
}
