//! Many rows of `x`: bound by arithmetic.
//!
//! The plan is that of Goto and van de Geijn (2008). A block of the weight is copied so that the vectors
//! of a tile lie one behind another, and stays in the second-level cache while all rows of `x`, copied
//! in the order in which a tile reads them, pass by. A tile's sums stay in registers.

mod packed_rows;
mod rectangle;

use std::ops::Range;

use rayon::prelude::*;

use super::{Epilogue, Product};
use crate::kernels::cpu::panel::{
    MAX_TILE_ROWS, VECTORS, add_sums, pack, store_sums, sum_tile, tile_rows,
};
use crate::kernels::cpu::{Buffer, Kernel, MAX_LANES, MatrixRows, Simd, Tier};
use packed_rows::PackedRows;
use rectangle::Rectangle;

/// The most elements of a row in one pass: the part of `x` in a tile takes at most 24 KiB of the
/// first-level cache.
const MAX_DEPTH: usize = 512;

/// Numbers in a cache line of most processors.
const LINE: usize = 16;

/// Tiles of features to a task: with 16 lanes they take 256 KiB of the second-level cache.
const TASK_TILES: usize = 4;

/// Rows and features of a tile.
#[derive(Debug, Clone, Copy)]
struct TileShape {
    rows: usize,
    features: usize,
}

/// `[rows, out_features]`, with what follows the product, of a weight that is not empty.
pub(super) fn multiply<W: MatrixRows>(
    tier: Tier,
    product: Product<'_, W>,
    epilogue: Epilogue<'_>,
) -> Buffer {
    let (rows, out_features) = (product.x.count(), product.weight.count());
    let mut y = Buffer::of_len(rows * out_features);
    let tile = tier.run(ShapeOfTile);
    let x = PackedRows::new(tier, product.x, tile.rows);
    let sizes = task_sizes([rows, out_features], tile, rayon::current_num_threads());
    Rectangle::grid(&mut y, out_features, sizes)
        .into_par_iter()
        .for_each(|y| {
            tier.run(Task {
                x: &x,
                weight: product.weight.range(y.columns()),
                epilogue,
                y,
            });
        });
    y
}

/// Rows and features to a task: all rows, and few enough features that every thread has its share;
/// fewer rows where there are more threads than tiles of features.
fn task_sizes([rows, out_features]: [usize; 2], tile: TileShape, threads: usize) -> [usize; 2] {
    let tiles = out_features.div_ceil(tile.features).max(1);
    let columns = tiles.div_ceil(TASK_TILES).next_multiple_of(threads);
    let tiles_to_task = tiles.div_ceil(columns);
    let columns = tiles.div_ceil(tiles_to_task);
    let row_tiles = rows.div_ceil(tile.rows).max(1);
    let row_tiles_to_task = row_tiles.div_ceil(threads.div_ceil(columns));
    [row_tiles_to_task * tile.rows, tiles_to_task * tile.features]
}

/// As many sums as registers hold besides the vectors of the weight and one number of `x`.
struct ShapeOfTile;

impl Kernel for ShapeOfTile {
    type Output = TileShape;

    #[inline(always)]
    fn run<S: Simd>(self, _: S) -> TileShape {
        TileShape {
            rows: tile_rows::<S>(),
            features: VECTORS * S::LANES,
        }
    }
}

/// One rectangle of the output.
struct Task<'a, W> {
    x: &'a PackedRows,
    /// The features of `y`.
    weight: W,
    epilogue: Epilogue<'a>,
    y: Rectangle<'a>,
}

impl<W: MatrixRows> Kernel for Task<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let size = self.weight.size();
        let width = VECTORS * S::LANES;
        let features = self.weight.count().next_multiple_of(width);
        // As even as whole vectors allow.
        let passes = size.div_ceil(MAX_DEPTH);
        let step = size.div_ceil(passes).next_multiple_of(MAX_LANES);
        let mut packed = Buffer::of_len(features * step.min(size));
        for start in (0..size).step_by(step) {
            let depth = start..size.min(start + step);
            let packed = &mut packed[..features * depth.len()];
            let tiles = packed.chunks_exact_mut(width * depth.len()).enumerate();
            for (tile, packed) in tiles {
                let first = tile * width;
                let features = first..self.weight.count().min(first + width);
                pack(simd, self.weight.range(features), &depth, packed);
            }
            self.pass(simd, &depth, packed);
        }
    }
}

/// Where a tile is added.
#[derive(Clone, Copy)]
struct Place {
    row: usize,
    column: usize,
    /// Nothing is there yet.
    is_first: bool,
    /// Nothing more will be added.
    is_last: bool,
}

impl<W: MatrixRows> Task<'_, W> {
    /// Adds the products of one stretch of the rows.
    #[inline(always)]
    fn pass<S: Simd>(&mut self, simd: S, depth: &Range<usize>, packed: &[f32]) {
        let width = VECTORS * S::LANES;
        for tile in self.x.tiles(self.y.rows()) {
            let x = self.x.part(&tile, depth);
            let height = x.len() / depth.len();
            for (index, weight) in packed.chunks_exact(width * depth.len()).enumerate() {
                let y = Place {
                    row: tile.start - self.y.rows().start,
                    column: index * width,
                    is_first: depth.start == 0,
                    is_last: depth.end == self.weight.size(),
                };
                // A tile of rows, or a third or two thirds of one.
                match (S::REGISTERS, height) {
                    (32.., 4) => self.tile::<S, 4>(simd, x, weight, y),
                    (32.., 8) => self.tile::<S, 8>(simd, x, weight, y),
                    (32.., _) => self.tile::<S, 12>(simd, x, weight, y),
                    (16.., 2) => self.tile::<S, 2>(simd, x, weight, y),
                    (16.., 4) => self.tile::<S, 4>(simd, x, weight, y),
                    (16.., _) => self.tile::<S, 6>(simd, x, weight, y),
                    (_, 1) => self.tile::<S, 1>(simd, x, weight, y),
                    (_, 2) => self.tile::<S, 2>(simd, x, weight, y),
                    (_, _) => self.tile::<S, 3>(simd, x, weight, y),
                }
            }
        }
    }

    /// Adds one tile at its place in `y`.
    #[inline(always)]
    fn tile<S: Simd, const ROWS: usize>(
        &mut self,
        simd: S,
        x: &[f32],
        weight: &[f32],
        place: Place,
    ) {
        let Place {
            row,
            column,
            is_first,
            is_last,
        } = place;
        let width = VECTORS * S::LANES;
        let rows = ROWS.min(self.y.rows().len() - row);
        let columns = width.min(self.y.columns().len() - column);
        if !is_first {
            // On its way while the products are summed.
            for row in row..row + rows {
                let y = self.y.row(row)[column..column + columns].chunks(LINE);
                y.for_each(|line| simd.prefetch(line.as_ptr().cast()));
            }
        }
        let sums = sum_tile::<S, ROWS, VECTORS>(simd, x, weight);
        if rows == ROWS && columns == width {
            // A loop of constant length: with another the sums would have to leave their registers.
            for (index, sums) in sums.iter().enumerate() {
                let y = &mut self.y.row(row + index)[column..column + width];
                match is_first {
                    true => store_sums(simd, sums, y),
                    false => add_sums(simd, sums, y),
                }
            }
        } else {
            let mut tile = [0.0; MAX_TILE_ROWS * VECTORS * MAX_LANES];
            for (sums, tile) in sums.iter().zip(tile.chunks_exact_mut(width)) {
                store_sums(simd, sums, tile);
            }
            for (index, tile) in tile.chunks_exact(width).take(rows).enumerate() {
                let y = &mut self.y.row(row + index)[column..column + columns];
                let before = |y: f32| if is_first { 0.0 } else { y };
                let sums = y.iter_mut().zip(tile);
                sums.for_each(|(y, sum)| *y = before(*y) + sum);
            }
        }
        if is_last {
            let (first_row, first_column) = (self.y.rows().start, self.y.columns().start);
            for row in row..row + rows {
                let y = &mut self.y.row(row)[column..column + columns];
                self.epilogue
                    .apply(y, first_row + row, first_column + column);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_thread_has_its_share() {
        let tile = TileShape {
            rows: 12,
            features: 32,
        };
        // Features alone, evenly.
        assert_eq!(task_sizes([256, 576], tile, 2), [264, 96]);
        assert_eq!(task_sizes([256, 4096], tile, 2), [264, 128]);
        // More threads than tiles of features: rows too.
        assert_eq!(task_sizes([577, 64], tile, 16), [84, 32]);
        assert_eq!(task_sizes([9, 0], tile, 2), [12, 32]);
    }
}
