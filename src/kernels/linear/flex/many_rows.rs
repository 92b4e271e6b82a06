//! Many rows of `x`: bound by arithmetic.

use std::ops::Range;

use rayon::prelude::*;

use super::Product;
use crate::kernels::cpu::{Element, Kernel, Simd, StridedRows, Tier, dot_tile};

/// Elements of a row in one pass: the widened tile of the weight and as much of `x` share a
/// first-level cache of 32 to 48 KiB.
const DEPTH: usize = 1024;

/// The most features in a tile.
const MAX_TILE: usize = 4;

/// Rows of `x` to a task: at most some 512 KiB, which stay in the second-level cache while the
/// weight passes by.
const TASK_ROWS: usize = 120;

/// Features to a task.
const TASK_FEATURES: usize = 80;

/// `[rows, out_features]`
pub(super) fn multiply<E: Element>(tier: Tier, product: Product<'_, E>) -> Vec<f32> {
    let (rows, out_features) = (product.x.count(), product.weight.count());
    let mut y = vec![0.0; rows * out_features];
    let row_blocks = y
        .par_chunks_mut((TASK_ROWS * out_features).max(1))
        .enumerate();
    row_blocks.for_each(|(index, y)| {
        let first = index * TASK_ROWS;
        let x = product.x.range(first..rows.min(first + TASK_ROWS));
        let starts: Vec<_> = (0..out_features).step_by(TASK_FEATURES).collect();
        let blocks = starts.into_par_iter().map(|start| {
            let features = start..out_features.min(start + TASK_FEATURES);
            let weight = product.weight.range(features);
            tier.run(Block {
                x,
                weight,
                y: vec![0.0; x.count() * weight.count()],
            })
        });
        let blocks: Vec<_> = blocks.collect();
        for (row, y) in y.chunks_exact_mut(out_features).enumerate() {
            for (y, block) in y.chunks_mut(TASK_FEATURES).zip(&blocks) {
                y.copy_from_slice(&block[row * y.len()..][..y.len()]);
            }
        }
    });
    y
}

/// One rectangle of the output.
struct Block<'a, E> {
    x: StridedRows<'a, f32>,
    weight: StridedRows<'a, E>,
    /// `[x.count(), weight.count()]`
    y: Vec<f32>,
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = Vec<f32>;

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) -> Vec<f32> {
        let size = self.x.size();
        let mut widened = [0.0; MAX_TILE * DEPTH];
        for start in (0..size).step_by(DEPTH) {
            let depth = start..size.min(start + DEPTH);
            // As many sums as the compiler keeps in registers: 5 x 5 would fit 32 of them, yet it
            // spills. Four columns, since four sums of lanes are as fast as one.
            if S::REGISTERS >= 32 {
                self.pass::<S, 4, 4>(simd, depth, &mut widened);
            } else if S::REGISTERS >= 16 {
                self.pass::<S, 2, 4>(simd, depth, &mut widened);
            } else {
                self.pass::<S, 2, 2>(simd, depth, &mut widened);
            }
        }
        self.y
    }
}

impl<E: Element> Block<'_, E> {
    /// Adds the products of one stretch of the rows.
    #[inline(always)]
    fn pass<S: Simd, const FEATURES: usize, const COUNT: usize>(
        &mut self,
        simd: S,
        depth: Range<usize>,
        widened: &mut [f32],
    ) {
        let features = self.weight.count();
        let whole = features - features % FEATURES;
        for feature in (0..whole).step_by(FEATURES) {
            self.widen(simd, feature..feature + FEATURES, &depth, widened);
            self.meet_rows::<S, FEATURES, COUNT>(simd, feature, &depth, widened);
        }
        for feature in whole..features {
            self.widen(simd, feature..feature + 1, &depth, widened);
            self.meet_rows::<S, 1, COUNT>(simd, feature, &depth, widened);
        }
    }

    /// Puts a stretch of some rows of the weight into `widened`, one behind another.
    #[inline(always)]
    fn widen<S: Simd>(
        &self,
        simd: S,
        features: Range<usize>,
        depth: &Range<usize>,
        widened: &mut [f32],
    ) {
        for (target, feature) in widened.chunks_exact_mut(depth.len()).zip(features) {
            E::widen_slice(simd, &self.weight.row(feature)[depth.clone()], target);
        }
    }

    /// A tile of the weight with all rows of `x`.
    #[inline(always)]
    fn meet_rows<S: Simd, const FEATURES: usize, const COUNT: usize>(
        &mut self,
        simd: S,
        feature: usize,
        depth: &Range<usize>,
        widened: &[f32],
    ) {
        let rows = self.x.count();
        let whole = rows - rows % COUNT;
        for row in (0..whole).step_by(COUNT) {
            self.tile::<S, FEATURES, COUNT>(simd, [row, feature], depth, widened);
        }
        for row in whole..rows {
            self.tile::<S, FEATURES, 1>(simd, [row, feature], depth, widened);
        }
    }

    /// Adds `FEATURES * COUNT` products to the output.
    #[inline(always)]
    fn tile<S: Simd, const FEATURES: usize, const COUNT: usize>(
        &mut self,
        simd: S,
        [row, feature]: [usize; 2],
        depth: &Range<usize>,
        widened: &[f32],
    ) {
        let mut weights: [&[f32]; FEATURES] = [&[]; FEATURES];
        for (weights, widened) in weights.iter_mut().zip(widened.chunks_exact(depth.len())) {
            *weights = widened;
        }
        let mut columns: [&[f32]; COUNT] = [&[]; COUNT];
        for (column, index) in columns.iter_mut().zip(row..) {
            *column = &self.x.row(index)[depth.clone()];
        }
        let sums = dot_tile(simd, weights, columns);
        for (feature, sums) in (feature..).zip(&sums) {
            for (row, sum) in (row..).zip(sums) {
                self.y[row * self.weight.count() + feature] += sum;
            }
        }
    }
}
