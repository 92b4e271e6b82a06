//! The two inner loops of everything that multiplies matrices: dot products of a tile of rows, and
//! weighted sums of rows.

#![expect(
    unsafe_code,
    reason = "vector loads, in loops over lengths checked once"
)]

use super::{Element, MAX_LANES, Simd, StridedRows};

/// Bytes that memory gives at once.
pub(super) const CACHE_LINE: usize = 64;

/// Bytes that are on their way from memory while as many are multiplied.
const IN_FLIGHT: usize = 4096;

/// From a tile of rows, of which these are the first bytes, to what is multiplied soon. Rows begin where
/// the one before ends, so the processor's own prefetcher loses them at every tile: it needs to be told.
#[inline(always)]
pub(super) fn bytes_ahead<E, const ROWS: usize>(rows: &[&[E]; ROWS]) -> usize {
    let tile = match rows.as_slice() {
        [first, second, ..] => {
            let stride = second.as_ptr().addr().wrapping_sub(first.as_ptr().addr());
            stride.wrapping_mul(ROWS)
        }
        _ => rows.iter().map(|row| size_of_val(*row)).sum(),
    };
    match tile < IN_FLIGHT {
        true => 4 * tile,
        false => tile,
    }
}

/// `sums[i][j]`, the dot product of `rows[i]` and `columns[j]`.
///
/// The sums stay in registers: `ROWS * COLUMNS` of them, besides one for each column and one for
/// the row at hand.
///
/// # Panics
/// If the lengths differ.
#[inline(always)]
pub(in crate::kernels) fn dot_tile<S: Simd, E: Element, const ROWS: usize, const COLUMNS: usize>(
    simd: S,
    rows: [&[E]; ROWS],
    columns: [&[f32]; COLUMNS],
) -> [[f32; COLUMNS]; ROWS] {
    let len = columns[0].len();
    for row in rows {
        assert_eq!(row.len(), len, "rows and columns have one length");
    }
    for column in columns {
        assert_eq!(column.len(), len, "columns have one length");
    }
    let ahead = bytes_ahead(&rows);
    let mut sums = [[simd.splat(0.0); COLUMNS]; ROWS];
    let whole = len - len % S::LANES;
    let mut at = 0;
    while at < whole {
        if (at * size_of::<E>()).is_multiple_of(CACHE_LINE) {
            for row in &rows {
                simd.prefetch(
                    row.as_ptr()
                        .wrapping_add(at)
                        .cast::<u8>()
                        .wrapping_add(ahead),
                );
            }
        }
        let mut loaded = [simd.splat(0.0); COLUMNS];
        for (vector, column) in loaded.iter_mut().zip(&columns) {
            // SAFETY: `at + LANES <= len`, the length of every column.
            *vector = unsafe { simd.load_f32(column.as_ptr().add(at)) };
        }
        for (row, sums) in rows.iter().zip(&mut sums) {
            // SAFETY: `at + LANES <= len`, the length of every row.
            let row = unsafe { E::load(simd, row.as_ptr().add(at)) };
            for (column, sum) in loaded.iter().zip(sums) {
                *sum = simd.mul_add(row, *column, *sum);
            }
        }
        at += S::LANES;
    }
    if whole < len {
        for (row, sums) in rows.iter().zip(&mut sums) {
            let row = load_tail(simd, &row[whole..]);
            for (column, sum) in columns.iter().zip(sums) {
                *sum = simd.mul_add(row, load_tail(simd, &column[whole..]), *sum);
            }
        }
    }
    let mut totals = [[0.0; COLUMNS]; ROWS];
    for (sums, totals) in sums.iter().zip(&mut totals) {
        add_lanes(simd, sums, totals);
    }
    totals
}

/// The sum of the lanes of each vector.
#[inline(always)]
pub(super) fn add_lanes<S: Simd>(simd: S, sums: &[S::Vector], totals: &mut [f32]) {
    if let [a, b, c, d] = *sums {
        totals.copy_from_slice(&simd.sum_each([a, b, c, d]));
        return;
    }
    for (total, sum) in totals.iter_mut().zip(sums) {
        *total = simd.sum(*sum);
    }
}

/// The last few elements of a row, zeros behind them.
#[inline(always)]
fn load_tail<S: Simd, E: Element>(simd: S, tail: &[E]) -> S::Vector {
    let mut lanes = [0.0; MAX_LANES];
    for (lane, value) in lanes.iter_mut().zip(tail) {
        *lane = value.widen();
    }
    // SAFETY: no tier has more than `MAX_LANES` lanes.
    unsafe { simd.load_f32(lanes.as_ptr()) }
}

/// Adds `weights[i][t] * values.row(t)[at + e]`, summed over `t`, to `sums[i][e]`, for the
/// `VECTORS * S::LANES` elements `e` of each sum.
///
/// The sums stay in registers while all rows pass by, and begin at zero: added to what is there only
/// once, they are as exact as a sum of so few rows.
///
/// # Panics
/// If a row of weights is not as long as there are values, or the elements are not there.
#[inline(always)]
pub(in crate::kernels) fn weighted_sum<
    S: Simd,
    E: Element,
    const SUMS: usize,
    const VECTORS: usize,
>(
    simd: S,
    weights: [&[f32]; SUMS],
    values: StridedRows<'_, E>,
    at: usize,
    mut sums: [&mut [f32]; SUMS],
) {
    assert!(
        at + VECTORS * S::LANES <= values.size(),
        "the elements are part of a row"
    );
    for (weights, sum) in weights.iter().zip(&sums) {
        assert_eq!(weights.len(), values.count(), "one weight for each row");
        assert_eq!(sum.len(), VECTORS * S::LANES, "one sum for each element");
    }
    let mut totals = [[simd.splat(0.0); VECTORS]; SUMS];
    for step in 0..values.count() {
        let row = &values.row(step)[at..];
        let mut loaded = [simd.splat(0.0); VECTORS];
        for (index, vector) in loaded.iter_mut().enumerate() {
            // SAFETY: from `at` on, a row has `VECTORS * LANES` elements.
            *vector = unsafe { E::load(simd, row.as_ptr().add(index * S::LANES)) };
        }
        for (weights, total) in weights.iter().zip(&mut totals) {
            let weight = simd.splat(weights[step]);
            for (vector, total) in loaded.iter().zip(total) {
                *total = simd.mul_add(weight, *vector, *total);
            }
        }
    }
    let one = simd.splat(1.0);
    for (total, sum) in totals.iter().zip(&mut sums) {
        for (index, total) in total.iter().enumerate() {
            // SAFETY: each sum has `VECTORS * LANES` elements.
            unsafe {
                let sum = sum.as_mut_ptr().add(index * S::LANES);
                simd.store(sum, simd.mul_add(one, *total, simd.load_f32(sum)));
            }
        }
    }
}
