//! A matrix that may be a part of something larger.

use std::ops::Range;

/// Rows of one size, a fixed distance apart, each in memory order.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct StridedRows<'a, E> {
    /// From the first element of the first row on.
    storage: &'a [E],
    stride: usize,
    count: usize,
    size: usize,
}

impl<'a, E> StridedRows<'a, E> {
    /// `count` rows of `size` elements that start `stride` apart.
    ///
    /// # Panics
    /// If the last one ends behind `storage`.
    pub(in crate::kernels) fn new(
        storage: &'a [E],
        stride: usize,
        [count, size]: [usize; 2],
    ) -> Self {
        let end = count.checked_sub(1).map_or(0, |last| last * stride + size);
        assert!(
            end <= storage.len(),
            "rows end at {end} of {}",
            storage.len()
        );
        Self {
            storage,
            stride,
            count,
            size,
        }
    }

    pub(in crate::kernels) fn count(&self) -> usize {
        self.count
    }

    pub(in crate::kernels) fn size(&self) -> usize {
        self.size
    }

    #[inline(always)]
    pub(in crate::kernels) fn row(&self, index: usize) -> &'a [E] {
        let start = index * self.stride;
        &self.storage[start..start + self.size]
    }

    /// Some elements of every row.
    ///
    /// # Panics
    /// If a row has not so many.
    pub(in crate::kernels) fn columns(&self, columns: Range<usize>) -> Self {
        assert!(columns.end <= self.size, "{columns:?} of {}", self.size);
        let start = columns.start.min(self.storage.len());
        Self {
            storage: &self.storage[start..],
            size: columns.len(),
            ..*self
        }
    }

    /// Some of the rows.
    pub(in crate::kernels) fn range(&self, rows: Range<usize>) -> Self {
        assert!(
            rows.start <= rows.end && rows.end <= self.count,
            "{rows:?} of {}",
            self.count
        );
        let start = (rows.start * self.stride).min(self.storage.len());
        Self {
            storage: &self.storage[start..],
            count: rows.len(),
            ..*self
        }
    }
}

impl<'a> StridedRows<'a, u32> {
    /// The same rows as bytes.
    pub(in crate::kernels) fn as_bytes(&self) -> StridedRows<'a, u8> {
        let word = size_of::<u32>();
        StridedRows {
            storage: bytemuck::cast_slice(self.storage),
            stride: self.stride * word,
            count: self.count,
            size: self.size * word,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_lie_a_stride_apart() {
        let storage: Vec<usize> = (0..11).collect();
        let rows = StridedRows::new(&storage, 4, [3, 3]);
        assert_eq!(rows.row(2), [8, 9, 10]);
        assert_eq!(rows.range(1..3).row(0), [4, 5, 6]);
        assert_eq!(rows.range(3..3).count(), 0);
    }

    #[test]
    #[should_panic(expected = "rows end at 12 of 11")]
    fn rows_must_fit_their_buffer() {
        StridedRows::new(&[0; 11], 4, [3, 4]);
    }
}
