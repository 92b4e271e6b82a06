//! The rows of a matrix, in whatever it is stored.

#![expect(unsafe_code, reason = "vector loads, from slices of the right length")]

use std::ops::Range;

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use super::{Element, Simd, StridedRows, dot_tile};
use crate::kernels::LaunchRefused;

/// The rows of a matrix where they lie. One of another order is for the reference, which may read a
/// transposed view, where a kernel would have to copy it at every call.
pub(in crate::kernels) fn matrix_rows<E: burn::tensor::Element + bytemuck::Pod>(
    matrix: &FlexTensor,
) -> Result<StridedRows<'_, E>, LaunchRefused> {
    let layout = matrix.layout();
    match *layout.strides() {
        [stride, 1] if stride >= 0 => {
            let storage = &matrix.storage()[layout.start_offset()..];
            Ok(StridedRows::new(
                storage,
                stride.unsigned_abs(),
                matrix.shape().dims(),
            ))
        }
        ref strides => Err(LaunchRefused::Scattered {
            operand: "a matrix",
            strides: strides.to_vec(),
        }),
    }
}

/// Rows that a kernel widens to f32 as it reads them.
pub(in crate::kernels) trait MatrixRows: Copy + Send + Sync {
    /// How many rows.
    fn count(&self) -> usize;

    /// Elements of a row.
    fn size(&self) -> usize;

    /// Bytes of a row.
    fn row_bytes(&self) -> usize;

    /// Some of the rows.
    fn range(&self, rows: Range<usize>) -> Self;

    /// An element of a row.
    fn widen(&self, row: usize, at: usize) -> f32;

    /// `S::LANES` elements of a row from `at` on, which is a multiple of as many.
    ///
    /// # Panics
    /// If the row has not so many.
    fn load<S: Simd>(&self, simd: S, row: usize, at: usize) -> S::Vector;

    /// A whole row.
    ///
    /// # Panics
    /// If `target` has not as many elements.
    #[inline(always)]
    fn copy_row<S: Simd>(&self, simd: S, row: usize, target: &mut [f32]) {
        assert_eq!(target.len(), self.size(), "a whole row");
        let mut chunks = target.chunks_exact_mut(S::LANES);
        let mut at = 0;
        for chunk in &mut chunks {
            // SAFETY: the slice has `LANES` elements.
            unsafe { simd.store(chunk.as_mut_ptr(), self.load(simd, row, at)) };
            at += S::LANES;
        }
        for (at, target) in (at..).zip(chunks.into_remainder()) {
            *target = self.widen(row, at);
        }
    }

    /// `sums[i][j]`, the dot product of the row `first + i` and `columns[j]`. See [`dot_tile`].
    fn dot_tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &self,
        simd: S,
        first: usize,
        columns: [&[f32]; COLUMNS],
    ) -> [[f32; COLUMNS]; ROWS];
}

impl<E: Element> MatrixRows for StridedRows<'_, E> {
    fn count(&self) -> usize {
        StridedRows::count(self)
    }

    fn size(&self) -> usize {
        StridedRows::size(self)
    }

    fn row_bytes(&self) -> usize {
        StridedRows::size(self) * size_of::<E>()
    }

    fn range(&self, rows: Range<usize>) -> Self {
        StridedRows::range(self, rows)
    }

    #[inline(always)]
    fn widen(&self, row: usize, at: usize) -> f32 {
        self.row(row)[at].widen()
    }

    #[inline(always)]
    fn load<S: Simd>(&self, simd: S, row: usize, at: usize) -> S::Vector {
        let source = &self.row(row)[at..at + S::LANES];
        // SAFETY: the slice has `LANES` elements.
        unsafe { E::load(simd, source.as_ptr()) }
    }

    #[inline(always)]
    fn dot_tile<S: Simd, const ROWS: usize, const COLUMNS: usize>(
        &self,
        simd: S,
        first: usize,
        columns: [&[f32]; COLUMNS],
    ) -> [[f32; COLUMNS]; ROWS] {
        let mut rows: [&[E]; ROWS] = [&[]; ROWS];
        for (row, index) in rows.iter_mut().zip(first..) {
            *row = self.row(index);
        }
        dot_tile(simd, rows, columns)
    }
}
