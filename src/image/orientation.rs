//! Which way up a stored picture is.

use super::ImageSize;

/// How stored rows and columns become those of the upright picture.
///
/// A picture is turned where it is used, not in memory: a resize reads it in its stored order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Orientation {
    /// Stored rows are upright columns.
    pub(crate) is_transposed: bool,
    /// The first stored row is the last upright row, or column.
    pub(crate) has_reversed_rows: bool,
    /// The first stored column is the last upright column, or row.
    pub(crate) has_reversed_columns: bool,
}

impl Orientation {
    pub(crate) const UPRIGHT: Self = Self {
        is_transposed: false,
        has_reversed_rows: false,
        has_reversed_columns: false,
    };

    /// The orientation of a number of EXIF; numbers that mean nothing leave the picture as it is.
    pub(crate) fn from_number(number: u8) -> Self {
        let [is_transposed, has_reversed_rows, has_reversed_columns] = match number {
            2 => [false, false, true],
            3 => [false, true, true],
            4 => [false, true, false],
            5 => [true, false, false],
            6 => [true, true, false],
            7 => [true, true, true],
            8 => [true, false, true],
            _ => [false, false, false],
        };
        Self {
            is_transposed,
            has_reversed_rows,
            has_reversed_columns,
        }
    }

    /// The size of the upright picture, or of the stored one given the upright.
    pub(crate) fn turn(self, size: ImageSize) -> ImageSize {
        if self.is_transposed {
            ImageSize::new(size.width, size.height)
        } else {
            size
        }
    }

    /// The pixels of the upright picture.
    pub(crate) fn upright(self, stored: &[u8], size: ImageSize) -> Vec<u8> {
        let (pixels, _) = stored.as_chunks::<3>();
        let ImageSize { height, width } = self.turn(size);
        let from = |is_reversed, len: usize, at| if is_reversed { len - 1 - at } else { at };
        let mut upright = Vec::with_capacity(stored.len());
        for row in 0..height {
            for column in 0..width {
                let (row, column) = if self.is_transposed {
                    (column, row)
                } else {
                    (row, column)
                };
                let row = from(self.has_reversed_rows, size.height, row);
                let column = from(self.has_reversed_columns, size.width, column);
                upright.extend_from_slice(&pixels[row * size.width + column]);
            }
        }
        upright
    }
}
