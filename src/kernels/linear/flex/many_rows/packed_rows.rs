//! Rows of `x` in the order in which tiles read them.

use std::ops::Range;

use rayon::prelude::*;

use crate::kernels::cpu::panel::pack_tile;
use crate::kernels::cpu::{Buffer, Kernel, Simd, StridedRows, Tier};

/// Rows in tiles of one height, of which the last may be a third or two thirds; what is missing to that
/// is zeros.
pub(super) struct PackedRows {
    /// `[tile, size, height of the tile]`
    values: Buffer,
    /// Elements of a row.
    size: usize,
    /// Rows of a tile.
    height: usize,
}

impl PackedRows {
    /// # Panics
    /// If `height` is no multiple of three.
    pub(super) fn new(tier: Tier, x: StridedRows<'_, f32>, height: usize) -> Self {
        assert!(height.is_multiple_of(3), "a tile has thirds");
        let (rows, size) = (x.count(), x.size());
        let mut values = Buffer::of_len(rows.next_multiple_of(height / 3) * size);
        let tiles = values.par_chunks_mut((height * size).max(1)).enumerate();
        tiles.for_each(|(tile, values)| {
            let first = tile * height;
            let height = values.len() / size;
            tier.run(PackTile {
                rows: x.range(first..rows.min(first + height)),
                height,
                target: values,
            });
        });
        Self {
            values,
            size,
            height,
        }
    }

    /// The tiles of some rows, which begin with a tile; the last may end with `rows`.
    pub(super) fn tiles(&self, rows: Range<usize>) -> impl Iterator<Item = Range<usize>> + use<> {
        let (height, end) = (self.height, rows.end);
        rows.step_by(height)
            .map(move |first| first..end.min(first + height))
    }

    /// A stretch of the rows of a tile: `[depth, height of the tile]`.
    pub(super) fn part(&self, tile: &Range<usize>, depth: &Range<usize>) -> &[f32] {
        let height = tile.len().next_multiple_of(self.height / 3);
        let tile = &self.values[tile.start * self.size..];
        &tile[depth.start * height..depth.end * height]
    }
}

/// The rows of a tile.
struct PackTile<'a> {
    rows: StridedRows<'a, f32>,
    height: usize,
    target: &'a mut [f32],
}

impl Kernel for PackTile<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) {
        pack_tile(simd, self.rows, self.height, self.target);
    }
}
