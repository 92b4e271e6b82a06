//! Loops over the rows of activations.

use rayon::prelude::*;

use super::{Kernel, MIN_ELEMENTS_PER_TASK, Simd, Tier};

/// Independent sums: as many as two of the widest registers hold, which also keeps each of them
/// short and so exact.
const SUMS: usize = 32;

/// What is done to a row, compiled once a tier.
pub(in crate::kernels) trait RowKernel: Sync {
    /// Changes or writes row `index`. As [`Kernel::run`](super::Kernel::run), implementations are
    /// `#[inline(always)]`.
    fn row<S: Simd>(&self, simd: S, index: usize, row: &mut [f32]);
}

/// Runs `kernel` on each row of `row_size` elements, on several threads where it pays.
pub(in crate::kernels) fn for_each_row(
    tier: Tier,
    values: &mut [f32],
    row_size: usize,
    kernel: &impl RowKernel,
) {
    let row_size = row_size.max(1);
    let rows = MIN_ELEMENTS_PER_TASK.div_ceil(row_size);
    let tasks = values.par_chunks_mut(rows * row_size).enumerate();
    tasks.for_each(|(index, values)| {
        tier.run(SomeRows {
            kernel,
            first: index * rows,
            values,
            row_size,
        });
    });
}

/// The rows of a task.
struct SomeRows<'a, K> {
    kernel: &'a K,
    first: usize,
    values: &'a mut [f32],
    row_size: usize,
}

impl<K: RowKernel> Kernel for SomeRows<'_, K> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        let rows = self.values.chunks_exact_mut(self.row_size);
        for (index, row) in (self.first..).zip(rows) {
            self.kernel.row(simd, index, row);
        }
    }
}

/// The sum of a row.
#[inline(always)]
pub(in crate::kernels) fn sum(row: &[f32]) -> f32 {
    fold(row, |value| value)
}

/// The sum of the squared distances from `centre`.
#[inline(always)]
pub(in crate::kernels) fn sum_of_squares(row: &[f32], centre: f32) -> f32 {
    fold(row, |value| (value - centre) * (value - centre))
}

#[inline(always)]
fn fold(row: &[f32], term: impl Fn(f32) -> f32) -> f32 {
    let mut sums = [0.0; SUMS];
    let chunks = row.chunks_exact(SUMS);
    let rest = chunks.remainder();
    for chunk in chunks {
        for (sum, value) in sums.iter_mut().zip(chunk) {
            *sum += term(*value);
        }
    }
    for (sum, value) in sums.iter_mut().zip(rest) {
        *sum += term(*value);
    }
    sums.iter().sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_take_every_element_once() {
        for size in [0, 1, 31, 32, 33, 100] {
            let row: Vec<f32> = (0..size).map(|at| at as f32).collect();
            assert_eq!(sum(&row), (0..size).sum::<i32>() as f32);
            let squares = (0..size).map(|at| (at - 3) * (at - 3)).sum::<i32>() as f32;
            assert_eq!(sum_of_squares(&row, 3.0), squares);
        }
    }

    struct AddIndex;

    impl RowKernel for AddIndex {
        #[inline(always)]
        fn row<S: Simd>(&self, _: S, index: usize, row: &mut [f32]) {
            row[0] += index as f32;
        }
    }

    #[test]
    fn every_row_is_visited_once() {
        let row_size = 7;
        let mut values = vec![0.0; (3 * MIN_ELEMENTS_PER_TASK / row_size + 3) * row_size];
        for_each_row(Tier::best(), &mut values, row_size, &AddIndex);
        for (index, row) in values.chunks_exact(row_size).enumerate() {
            assert!(row[0] == index as f32 && row[1] == 0.0);
        }
    }
}
