//! A part of a matrix that one of several threads writes.

#![expect(
    unsafe_code,
    reason = "rectangles of one matrix are disjoint, though their rows lie between each other"
)]

use std::marker::PhantomData;
use std::ops::Range;
use std::slice;

/// Some columns of some rows of a matrix that others may write elsewhere.
#[derive(Debug)]
pub(super) struct Rectangle<'a> {
    /// The element of its first row and column.
    start: *mut f32,
    /// Elements from one row to the next.
    stride: usize,
    rows: Range<usize>,
    columns: Range<usize>,
    matrix: PhantomData<&'a mut [f32]>,
}

// SAFETY: it owns its elements as a mutable slice would; no other rectangle has one of them.
unsafe impl Send for Rectangle<'_> {}

impl<'a> Rectangle<'a> {
    /// Cuts `matrix`, whose rows have `width` elements, into rectangles of at most these rows and columns.
    ///
    /// # Panics
    /// If a size is zero, or the matrix has a part of a row.
    pub(super) fn grid(
        matrix: &'a mut [f32],
        width: usize,
        [row_step, column_step]: [usize; 2],
    ) -> Vec<Self> {
        let num_rows = matrix.len().checked_div(width).unwrap_or(0);
        assert_eq!(num_rows * width, matrix.len(), "a matrix of whole rows");
        let start = matrix.as_mut_ptr();
        let columns = (0..width).step_by(column_step);
        let corners = columns.flat_map(|column| {
            let rows = (0..num_rows).step_by(row_step);
            rows.map(move |row| (row, column))
        });
        corners
            .map(|(row, column)| Self {
                // SAFETY: the corner is an element of the matrix.
                start: unsafe { start.add(row * width + column) },
                stride: width,
                rows: row..num_rows.min(row + row_step),
                columns: column..width.min(column + column_step),
                matrix: PhantomData,
            })
            .collect()
    }

    /// Its rows in the matrix.
    pub(super) fn rows(&self) -> Range<usize> {
        self.rows.clone()
    }

    /// Its columns in the matrix.
    pub(super) fn columns(&self) -> Range<usize> {
        self.columns.clone()
    }

    /// Its `index`-th row.
    ///
    /// # Panics
    /// If it has none.
    #[inline(always)]
    pub(super) fn row(&mut self, index: usize) -> &mut [f32] {
        assert!(index < self.rows.len(), "row {index} of {:?}", self.rows);
        // SAFETY: the row is a part of the matrix, which is borrowed for `'a`; no other rectangle has
        // an element of it, and `self` is borrowed as long as the slice.
        unsafe {
            slice::from_raw_parts_mut(self.start.add(index * self.stride), self.columns.len())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_grid_has_every_element_once() {
        let mut matrix = vec![0.0; 7 * 11];
        for mut rectangle in Rectangle::grid(&mut matrix, 11, [3, 4]) {
            let first = rectangle.columns().start;
            for (index, row) in rectangle.rows().enumerate() {
                for (column, value) in (first..).zip(rectangle.row(index)) {
                    *value += (row * 11 + column) as f32;
                }
            }
        }
        let expected: Vec<f32> = (0..77u8).map(f32::from).collect();
        assert_eq!(matrix, expected);
        assert!(Rectangle::grid(&mut [], 0, [3, 4]).is_empty());
    }
}
