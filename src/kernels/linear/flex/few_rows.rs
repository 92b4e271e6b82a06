//! A few rows of `x`: bound by reading the weight.

use rayon::prelude::*;

use super::Product;
use crate::kernels::cpu::{Buffer, Kernel, MatrixRows, Simd, Tier};

/// Rows of the weight at hand: enough independent sums to hide the latency of one.
const TILE: usize = 4;

/// Bytes of the weight to a task: some 10 us of one core's memory bandwidth.
const TASK_BYTES: usize = 128 << 10;

/// `[rows, out_features]`
pub(super) fn multiply<W: MatrixRows>(tier: Tier, product: Product<'_, W>) -> Buffer {
    let Product { x, weight } = product;
    let (rows, out_features) = (x.count(), weight.count());
    let mut y = Buffer::of_len(rows * out_features);
    if rows == 1 {
        run_tasks(tier, product, &mut y);
        return y;
    }
    // A task owns features, not rows: it writes `[out_features, rows]`.
    let mut transposed = Buffer::of_len(y.len());
    run_tasks(tier, product, &mut transposed);
    for (feature, values) in transposed.chunks_exact(rows.max(1)).enumerate() {
        for (row, value) in values.iter().enumerate() {
            y[row * out_features + feature] = *value;
        }
    }
    y
}

/// `y` is `[out_features, rows]`.
fn run_tasks<W: MatrixRows>(tier: Tier, product: Product<'_, W>, y: &mut [f32]) {
    let Product { x, weight } = product;
    let row_bytes = weight.row_bytes().max(1);
    let features = TASK_BYTES.div_ceil(row_bytes).next_multiple_of(TILE);
    y.par_chunks_mut((features * x.count()).max(1))
        .enumerate()
        .for_each(|(index, y)| {
            tier.run(Task {
                product,
                first: index * features,
                y,
            });
        });
}

/// The features from `first` on: `[features, rows]`.
struct Task<'a, W> {
    product: Product<'a, W>,
    first: usize,
    y: &'a mut [f32],
}

impl<W: MatrixRows> Kernel for Task<'_, W> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) {
        let rows = self.product.x.count();
        // As many sums as stay in registers: 4 x 4 of 32, 4 x 2 of 16.
        let most = if S::REGISTERS >= 32 { 4 } else { 2 };
        let mut row = 0;
        while row < rows {
            let count = (rows - row).min(most);
            match count {
                1 => self.columns::<S, 1>(simd, row),
                2 => self.columns::<S, 2>(simd, row),
                3 => self.columns::<S, 3>(simd, row),
                _ => self.columns::<S, 4>(simd, row),
            }
            row += count;
        }
    }
}

impl<W: MatrixRows> Task<'_, W> {
    /// All features of this task, for `COUNT` rows of `x`.
    #[inline(always)]
    fn columns<S: Simd, const COUNT: usize>(&mut self, simd: S, row: usize) {
        let features = self.y.len() / self.product.x.count();
        let whole = features - features % TILE;
        for feature in (0..whole).step_by(TILE) {
            self.tile::<S, TILE, COUNT>(simd, feature, row);
        }
        for feature in whole..features {
            self.tile::<S, 1, COUNT>(simd, feature, row);
        }
    }

    #[inline(always)]
    fn tile<S: Simd, const FEATURES: usize, const COUNT: usize>(
        &mut self,
        simd: S,
        feature: usize,
        row: usize,
    ) {
        let Product { x, weight } = self.product;
        let mut columns: [&[f32]; COUNT] = [&[]; COUNT];
        for (column, index) in columns.iter_mut().zip(row..) {
            *column = x.row(index);
        }
        let sums: [[f32; COUNT]; FEATURES] = weight.dot_tile(simd, self.first + feature, columns);
        for (index, sums) in (feature..).zip(&sums) {
            let start = index * x.count() + row;
            self.y[start..start + COUNT].copy_from_slice(sums);
        }
    }
}
