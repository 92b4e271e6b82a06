//! Loops over the rows of activations.

use rayon::prelude::*;

use super::MIN_ELEMENTS_PER_TASK;

/// Independent sums: as many as two of the widest registers hold, which also keeps each of them
/// short and so exact.
const SUMS: usize = 32;

/// Runs `work` on each row of `row_size` elements, on several threads where it pays.
pub(in crate::kernels) fn for_each_row(
    values: &mut [f32],
    row_size: usize,
    work: impl Fn(&mut [f32]) + Sync,
) {
    let row_size = row_size.max(1);
    let rows = MIN_ELEMENTS_PER_TASK.div_ceil(row_size);
    values
        .par_chunks_mut(rows * row_size)
        .for_each(|rows| rows.chunks_exact_mut(row_size).for_each(&work));
}

/// The sum of a row.
pub(in crate::kernels) fn sum(row: &[f32]) -> f32 {
    fold(row, |value| value)
}

/// The sum of the squared distances from `centre`.
pub(in crate::kernels) fn sum_of_squares(row: &[f32], centre: f32) -> f32 {
    fold(row, |value| (value - centre) * (value - centre))
}

#[inline]
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

    #[test]
    fn every_row_is_visited_once() {
        let mut values = vec![0.0; 3 * MIN_ELEMENTS_PER_TASK + 7 * 3];
        let row_size = 7;
        values.truncate(values.len() / row_size * row_size);
        for_each_row(&mut values, row_size, |row| row[0] += 1.0);
        assert!(
            values
                .chunks_exact(row_size)
                .all(|row| row[0] == 1.0 && row[1] == 0.0)
        );
    }
}
