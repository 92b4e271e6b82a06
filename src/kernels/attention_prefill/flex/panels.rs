//! Many queries over keys and values that are copied for them.
//!
//! Scores and answers are two products of matrices, in the tiles of [`panel`](crate::kernels::cpu::panel):
//! of queries and keys, and of weights and values. Between them the scores of a few tiles of queries are
//! in the second-level cache, where they become weights.

use std::ops::Range;

use super::block::{Block, Line, STRETCH, union, weigh};
use super::partial::Partial;
use crate::kernels::cpu::panel::{VECTORS, add_sums, pack, pack_tile, store_sums, sum_tile};
use crate::kernels::cpu::{Buffer, Element, MAX_LANES, MatrixRows, Simd, StridedRows};

/// Scores at hand: 256 KiB.
const SCORES: usize = 64 << 10;

/// What a block reads, in the order in which tiles do.
pub(super) struct Panels<'a, E> {
    block: &'a Block<'a, E>,
    /// From the first key to the last that a line sees.
    seen: Range<usize>,
    /// Of each stretch of keys a panel: `[head_dim, keys]`.
    keys: Buffer,
    /// Of each panel of columns: `[num_keys, columns]`.
    values: Buffer,
}

impl<'a, E: Element> Panels<'a, E> {
    #[inline(always)]
    pub(super) fn new<S: Simd>(simd: S, block: &'a Block<'a, E>) -> Self {
        let seen = union(&block.lines);
        let head_dim = block.keys.size();
        let width = VECTORS * S::LANES;
        let num_panels = block.keys.stretches(seen.end, width).count();
        let mut keys = Buffer::of_len(num_panels * head_dim * width);
        let panels = keys.chunks_exact_mut(head_dim * width);
        for (keys, panel) in block.keys.stretches(seen.end, width).zip(panels) {
            if keys.end > seen.start {
                pack(simd, block.keys.range(keys), &(0..head_dim), panel);
            }
        }
        let mut values = Buffer::of_len(seen.end * head_dim.next_multiple_of(S::LANES));
        let mut target = &mut values[..];
        for columns in columns::<S>(head_dim) {
            let width = columns.len().next_multiple_of(S::LANES);
            let panel = target.split_off_mut(..seen.end * width);
            let panel = panel.expect("as many elements as the columns of all panels have");
            for (row, panel) in (0..seen.end)
                .zip(panel.chunks_exact_mut(width))
                .skip(seen.start)
            {
                let row = block.values.range(row..row + 1);
                copy_columns(simd, row, columns.clone(), panel);
            }
        }
        Self {
            block,
            seen,
            keys,
            values,
        }
    }

    /// The answers of all lines.
    #[inline(always)]
    pub(super) fn attend<S: Simd, const ROWS: usize>(&self, simd: S, partial: &mut Partial) {
        let head_dim = self.block.keys.size();
        let softmax_scale = 1.0 / (head_dim as f32).sqrt();
        // Whole vectors are written, also of the last keys.
        let stride = self.seen.end + VECTORS * S::LANES;
        let lines_at_once = (SCORES / stride / ROWS).max(1) * ROWS;
        let lines_at_once = lines_at_once.min(self.block.lines.len().next_multiple_of(ROWS));
        let mut scores = Buffer::of_len(lines_at_once * stride);
        let mut queries = Buffer::of_len(lines_at_once * head_dim);
        let mut weights = Buffer::of_len(STRETCH * ROWS);
        let blocks = self.block.lines.chunks(lines_at_once);
        let of_blocks = blocks
            .zip(self.block.queries.chunks(lines_at_once * head_dim))
            .zip(partial.sums.chunks_mut(lines_at_once * head_dim))
            .zip(partial.scales.chunks_mut(lines_at_once));
        for (((lines, of_lines), answers), scales) in of_blocks {
            let of_lines = StridedRows::new(of_lines, head_dim, [lines.len(), head_dim]);
            let tiles = queries.chunks_exact_mut(ROWS * head_dim);
            for (first, tile) in (0..lines.len()).step_by(ROWS).zip(tiles) {
                let rows = first..lines.len().min(first + ROWS);
                pack_tile(simd, of_lines.range(rows), ROWS, tile);
            }
            self.score::<S, ROWS>(simd, lines, &queries, stride, &mut scores);
            for ((line, scores), scale) in lines
                .iter()
                .zip(scores.chunks_exact_mut(stride))
                .zip(scales)
            {
                *scale = weigh(scores, &line.seen, softmax_scale);
            }
            let tiles = lines
                .chunks(ROWS)
                .zip(scores.chunks_exact(ROWS * stride))
                .zip(answers.chunks_mut(ROWS * head_dim));
            for ((lines, scores), answers) in tiles {
                let scores = StridedRows::new(scores, stride, [lines.len(), stride]);
                self.sum_values::<S, ROWS>(simd, lines, scores, &mut weights, answers);
            }
        }
    }

    /// Dot products of queries, `[tiles, head_dim, ROWS]`, and keys, which stand in rows `stride` apart:
    /// `[tiles, ROWS, stride]`.
    #[inline(always)]
    fn score<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        lines: &[Line],
        queries: &[f32],
        stride: usize,
        scores: &mut [f32],
    ) {
        let head_dim = self.block.keys.size();
        let width = VECTORS * S::LANES;
        let stretches = self.block.keys.stretches(self.seen.end, width);
        for (keys, panel) in stretches.zip(self.keys.chunks_exact(head_dim * width)) {
            let tiles = lines
                .chunks(ROWS)
                .zip(queries.chunks_exact(head_dim * ROWS))
                .zip(scores.chunks_exact_mut(ROWS * stride));
            for ((lines, queries), scores) in tiles {
                if !lines.iter().any(|line| line.sees(keys.clone())) {
                    continue;
                }
                let sums = sum_tile::<S, ROWS, VECTORS>(simd, queries, panel);
                for (index, sums) in sums.iter().enumerate() {
                    store_sums(simd, sums, &mut scores[index * stride + keys.start..]);
                }
            }
        }
    }

    /// Adds the values, each times its weight, to the answers of a tile.
    #[inline(always)]
    fn sum_values<S: Simd, const ROWS: usize>(
        &self,
        simd: S,
        lines: &[Line],
        weights: StridedRows<'_, f32>,
        packed: &mut [f32],
        answers: &mut [f32],
    ) {
        let head_dim = self.block.keys.size();
        let seen = union(lines);
        for stretch in self.block.values.stretches(self.seen.end, STRETCH) {
            let part = stretch.start.max(seen.start)..stretch.end.min(seen.end);
            if part.is_empty() {
                continue;
            }
            let packed = &mut packed[..part.len() * ROWS];
            pack_tile(simd, weights.columns(part.clone()), ROWS, packed);
            let mut values = &self.values[..];
            for columns in columns::<S>(head_dim) {
                let width = columns.len().next_multiple_of(S::LANES);
                let panel = values.split_off(..self.seen.end * width);
                let panel = panel.expect("as many elements as the columns of all panels have");
                let panel = &panel[part.start * width..part.end * width];
                let target = Columns {
                    rows: &mut *answers,
                    row_size: head_dim,
                    columns,
                };
                match width / S::LANES {
                    VECTORS => target.add(simd, sum_tile::<S, ROWS, VECTORS>(simd, packed, panel)),
                    _ => target.add(simd, sum_tile::<S, ROWS, 1>(simd, packed, panel)),
                }
            }
        }
    }
}

/// The columns of each panel of values: as many as a panel of keys has keys, and those that are left in
/// panels of one vector.
#[inline(always)]
fn columns<S: Simd>(head_dim: usize) -> impl Iterator<Item = Range<usize>> {
    let width = VECTORS * S::LANES;
    let whole = head_dim - head_dim % width;
    let wide = (0..whole)
        .step_by(width)
        .map(move |start| start..start + width);
    let narrow = (whole..head_dim).step_by(S::LANES);
    wide.chain(narrow.map(move |start| start..head_dim.min(start + S::LANES)))
}

/// Some elements of a row, zeros behind them.
#[inline(always)]
fn copy_columns<S: Simd, E: Element>(
    simd: S,
    row: StridedRows<'_, E>,
    columns: Range<usize>,
    target: &mut [f32],
) {
    let targets = target.chunks_exact_mut(S::LANES);
    for (at, target) in columns.clone().step_by(S::LANES).zip(targets) {
        if at + S::LANES <= columns.end {
            store_sums(simd, &[row.load(simd, 0, at)], target);
            continue;
        }
        target.fill(0.0);
        for (target, value) in target.iter_mut().zip(&row.row(0)[at..columns.end]) {
            *target = value.widen();
        }
    }
}

/// Some columns of a few rows.
struct Columns<'a> {
    rows: &'a mut [f32],
    row_size: usize,
    columns: Range<usize>,
}

impl Columns<'_> {
    /// Adds sums to as many rows as there are; they may have more columns, and be of more rows.
    #[inline(always)]
    fn add<S: Simd, const ROWS: usize, const WIDTH: usize>(
        self,
        simd: S,
        sums: [[S::Vector; WIDTH]; ROWS],
    ) {
        let Self {
            rows,
            row_size,
            columns,
        } = self;
        if columns.len() == WIDTH * S::LANES && rows.len() == ROWS * row_size {
            // A loop of constant length: with another the sums would have to leave their registers.
            for (index, sums) in sums.iter().enumerate() {
                add_sums(simd, sums, &mut rows[index * row_size..][columns.clone()]);
            }
            return;
        }
        let mut whole = [[0.0; VECTORS * MAX_LANES]; ROWS];
        for (sums, whole) in sums.iter().zip(&mut whole) {
            store_sums(simd, sums, whole);
        }
        for (row, whole) in rows.chunks_exact_mut(row_size).zip(&whole) {
            let row = row[columns.clone()].iter_mut();
            row.zip(whole).for_each(|(sum, more)| *sum += more);
        }
    }
}
