//! The inner loop of everything that multiplies many rows with many: a tile of sums in registers, over
//! a panel of rows that were copied in the order in which it reads them.

#![expect(
    unsafe_code,
    reason = "vector loads and stores, within lengths checked before"
)]

use std::ops::Range;

use super::{MAX_LANES, MatrixRows, Simd, StridedRows};

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

/// `[depth, height]` of a tile's rows, zeros where there are fewer than `height`: one behind another are
/// the numbers that rows have at the same place.
///
/// # Panics
/// If there are more rows than `height`, or `target` is not of that size.
#[inline(always)]
pub(in crate::kernels) fn pack_tile<S: Simd>(
    simd: S,
    rows: StridedRows<'_, f32>,
    height: usize,
    target: &mut [f32],
) {
    let size = rows.size();
    assert!(
        rows.count() <= height && height <= S::LANES,
        "a tile's rows are at most as many as lanes"
    );
    assert_eq!(target.len(), size * height, "every element has a place");
    let mut square = [simd.splat(0.0); MAX_LANES];
    let mut at = 0;
    // Whole vectors are written, also where the height is less: what is too much of one is written
    // again by the next, as long as there is a next.
    while at + S::LANES <= size && (at + S::LANES - 1) * height + S::LANES <= target.len() {
        for (vector, row) in square.iter_mut().zip(0..rows.count()) {
            let numbers = &rows.row(row)[at..at + S::LANES];
            // SAFETY: the slice has `LANES` elements.
            *vector = unsafe { simd.load_f32(numbers.as_ptr()) };
        }
        // SAFETY: of the `LANES` rows that begin at `at`, the last ends within the target: see above.
        unsafe { simd.store_transposed(&square, target.as_mut_ptr().add(at * height), height) };
        at += S::LANES;
    }
    for (at, target) in target.chunks_exact_mut(height).enumerate().skip(at) {
        target.fill(0.0);
        for (target, row) in target.iter_mut().zip(0..rows.count()) {
            *target = rows.row(row)[at];
        }
    }
}

/// The sums of the products of a tile: `x` is `[depth, ROWS]`, `panel` `[depth, WIDTH * S::LANES]`.
///
/// They stay in registers if all that is done with them is in loops of constant length.
#[inline(always)]
pub(in crate::kernels) fn sum_tile<S: Simd, const ROWS: usize, const WIDTH: usize>(
    simd: S,
    x: &[f32],
    panel: &[f32],
) -> [[S::Vector; WIDTH]; ROWS] {
    let width = WIDTH * S::LANES;
    let mut sums = [[simd.splat(0.0); WIDTH]; ROWS];
    let (steps, _) = x.as_chunks::<ROWS>();
    for (x, panel) in steps.iter().zip(panel.chunks_exact(width)) {
        let mut loaded = [simd.splat(0.0); WIDTH];
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
pub(in crate::kernels) fn store_sums<S: Simd, const WIDTH: usize>(
    simd: S,
    sums: &[S::Vector; WIDTH],
    target: &mut [f32],
) {
    let target = &mut target[..WIDTH * S::LANES];
    for (sum, target) in sums.iter().zip(target.chunks_exact_mut(S::LANES)) {
        // SAFETY: the slice has `LANES` elements.
        unsafe { simd.store(target.as_mut_ptr(), *sum) };
    }
}

/// Adds a row of sums to as many numbers.
///
/// # Panics
/// If `target` is shorter.
#[inline(always)]
pub(in crate::kernels) fn add_sums<S: Simd, const WIDTH: usize>(
    simd: S,
    sums: &[S::Vector; WIDTH],
    target: &mut [f32],
) {
    let one = simd.splat(1.0);
    let target = &mut target[..WIDTH * S::LANES];
    for (sum, target) in sums.iter().zip(target.chunks_exact_mut(S::LANES)) {
        // SAFETY: the slice has `LANES` elements.
        unsafe {
            let sum = simd.mul_add(one, *sum, simd.load_f32(target.as_ptr()));
            simd.store(target.as_mut_ptr(), sum);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::cpu::{Kernel, Tier};

    struct Pack<'a> {
        rows: StridedRows<'a, f32>,
        /// Of what the tier's tiles have: all, two thirds, one third.
        thirds: usize,
    }

    impl Kernel for Pack<'_> {
        type Output = (usize, Vec<f32>);

        #[inline(always)]
        fn run<S: Simd>(self, simd: S) -> (usize, Vec<f32>) {
            let height = tile_rows::<S>() / 3 * self.thirds;
            let count = self.rows.count().min(height);
            let mut packed = vec![f32::NAN; height * self.rows.size()];
            pack_tile(simd, self.rows.range(0..count), height, &mut packed);
            (height, packed)
        }
    }

    #[test]
    fn a_packed_tile_has_every_number_at_its_place_and_zeros_where_there_is_no_row() {
        let numbers: Vec<f32> = (1..=12 * 70).map(|at| at as f32).collect();
        for (size, count, thirds) in (0..=67).flat_map(|size| {
            let counts = [0, 1, 2, 5, 12].into_iter();
            counts.flat_map(move |count| [1, 2, 3].map(|thirds| (size, count, thirds)))
        }) {
            let rows = StridedRows::new(&numbers, 70, [count, size]);
            for tier in Tier::all() {
                let (height, packed) = tier.run(Pack { rows, thirds });
                for (place, found) in packed.into_iter().enumerate() {
                    let (at, row) = (place / height, place % height);
                    let expected = if row < count { rows.row(row)[at] } else { 0.0 };
                    assert_eq!(found, expected, "{tier:?} {size} {count} {height} {place}");
                }
            }
        }
    }
}
