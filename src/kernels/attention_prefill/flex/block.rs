//! Some queries over the keys and values of one head.

use std::ops::Range;

use super::partial::{Partial, Scale};
use super::slab::ViewRows;
use crate::kernels::cpu::{Element, Kernel, Simd, dot_tile, exp, weighted_sum};

/// Keys in a tile.
const TILE: usize = 4;

/// Values that pass by before the next queries take their turn: 32 KiB at 128 elements of 2 bytes.
const STRETCH: usize = 128;

/// One query.
#[derive(Debug, Clone)]
pub(super) struct Line {
    /// The keys it sees.
    pub(super) seen: Range<usize>,
}

/// Some queries, and all keys and values there are for them.
pub(super) struct Block<'a, E> {
    /// `[lines, head_dim]`
    pub(super) queries: Vec<f32>,
    pub(super) lines: Vec<Line>,
    /// `[num_keys, head_dim]`, from the first that any line sees.
    pub(super) keys: ViewRows<'a, E>,
    /// As `keys`.
    pub(super) values: ViewRows<'a, E>,
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = Partial;

    #[inline(always)]
    fn run<S: Simd>(mut self, simd: S) -> Partial {
        let head_dim = self.keys.size();
        let scale = 1.0 / (head_dim as f32).sqrt();
        self.queries.iter_mut().for_each(|query| *query *= scale);
        let num_seen = union(&self.lines).end;
        let mut scores = vec![0.0; self.lines.len() * num_seen];
        let mut partial = Partial::nothing(self.lines.len(), head_dim);
        if num_seen == 0 {
            return partial;
        }
        // Large tiles of sums where there are registers for them.
        if S::REGISTERS >= 32 {
            self.score::<S, 4>(simd, num_seen, &mut scores);
        } else {
            self.score::<S, 2>(simd, num_seen, &mut scores);
        }
        let scores_of_lines = scores.chunks_exact_mut(num_seen);
        for ((line, scores), scale) in self
            .lines
            .iter()
            .zip(scores_of_lines)
            .zip(&mut partial.scales)
        {
            *scale = weigh(scores, &line.seen);
        }
        if S::REGISTERS >= 32 {
            self.sum_values::<S, 4, 4>(simd, num_seen, &scores, &mut partial.sums);
        } else {
            self.sum_values::<S, 2, 4>(simd, num_seen, &scores, &mut partial.sums);
        }
        partial
    }
}

/// Turns scores into weights relative to the largest; what is not seen gets none.
#[inline(always)]
fn weigh(scores: &mut [f32], seen: &Range<usize>) -> Scale {
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let seen = &mut scores[seen.clone()];
    let mut largest = f32::NEG_INFINITY;
    for score in seen.iter() {
        largest = if *score > largest { *score } else { largest };
    }
    let mut sums = [0.0; 16];
    for chunk in seen.chunks_mut(16) {
        for (score, sum) in chunk.iter_mut().zip(&mut sums) {
            *score = exp(*score - largest);
            *sum += *score;
        }
    }
    Scale {
        largest,
        total: sums.iter().sum(),
    }
}

/// From the first key to the last that a line sees.
#[inline(always)]
fn union(lines: &[Line]) -> Range<usize> {
    let seen = lines.iter().map(|line| line.seen.clone());
    let union =
        |all: Range<usize>, seen: Range<usize>| all.start.min(seen.start)..all.end.max(seen.end);
    seen.reduce(union).unwrap_or(0..0)
}

impl Line {
    /// Whether it sees one of `keys`.
    #[inline(always)]
    fn sees(&self, keys: Range<usize>) -> bool {
        self.seen.start < keys.end && keys.start < self.seen.end
    }
}

impl<E: Element> Block<'_, E> {
    /// Dot products of the queries and the first `num_seen` keys: `[lines, num_seen]`.
    #[inline(always)]
    fn score<S: Simd, const COUNT: usize>(&self, simd: S, num_seen: usize, scores: &mut [f32]) {
        let whole = num_seen - num_seen % TILE;
        for key in (0..whole).step_by(TILE) {
            self.score_keys::<S, TILE, COUNT>(simd, key, num_seen, scores);
        }
        for key in whole..num_seen {
            self.score_keys::<S, 1, COUNT>(simd, key, num_seen, scores);
        }
    }

    /// Some keys, with every query that sees one of them.
    #[inline(always)]
    fn score_keys<S: Simd, const KEYS: usize, const COUNT: usize>(
        &self,
        simd: S,
        key: usize,
        num_seen: usize,
        scores: &mut [f32],
    ) {
        let lines = self.lines.len();
        let whole = lines - lines % COUNT;
        let keys = key..key + KEYS;
        for line in (0..whole).step_by(COUNT) {
            if self.lines[line..line + COUNT]
                .iter()
                .any(|line| line.sees(keys.clone()))
            {
                self.score_tile::<S, KEYS, COUNT>(simd, [line, key], num_seen, scores);
            }
        }
        for line in whole..lines {
            if self.lines[line].sees(keys.clone()) {
                self.score_tile::<S, KEYS, 1>(simd, [line, key], num_seen, scores);
            }
        }
    }

    #[inline(always)]
    fn score_tile<S: Simd, const KEYS: usize, const COUNT: usize>(
        &self,
        simd: S,
        [line, key]: [usize; 2],
        num_seen: usize,
        scores: &mut [f32],
    ) {
        let head_dim = self.keys.size();
        let mut keys: [&[E]; KEYS] = [&[]; KEYS];
        for (row, index) in keys.iter_mut().zip(key..) {
            *row = self.keys.row(index);
        }
        let mut queries: [&[f32]; COUNT] = [&[]; COUNT];
        for (query, index) in queries.iter_mut().zip(line..) {
            *query = &self.queries[index * head_dim..][..head_dim];
        }
        let products = dot_tile(simd, keys, queries);
        for (key, products) in (key..).zip(&products) {
            for (line, product) in (line..).zip(products) {
                scores[line * num_seen + key] = *product;
            }
        }
    }

    /// Adds the weighted values to the answers.
    #[inline(always)]
    fn sum_values<S: Simd, const SUMS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        num_seen: usize,
        weights: &[f32],
        answers: &mut [f32],
    ) {
        let lines = self.lines.len();
        let whole = lines - lines % SUMS;
        for stretch in self.values.stretches(num_seen, STRETCH) {
            let weights = |line: usize| &weights[line * num_seen..][..num_seen][stretch.clone()];
            for line in (0..whole).step_by(SUMS) {
                let weights = std::array::from_fn::<_, SUMS, _>(|index| weights(line + index));
                self.sum_lines::<S, SUMS, VECTORS>(simd, &stretch, line, weights, answers);
            }
            for line in whole..lines {
                self.sum_lines::<S, 1, VECTORS>(simd, &stretch, line, [weights(line)], answers);
            }
        }
    }

    /// The lines from `line` on, over a stretch of the values.
    #[inline(always)]
    fn sum_lines<S: Simd, const SUMS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        stretch: &Range<usize>,
        line: usize,
        weights: [&[f32]; SUMS],
        answers: &mut [f32],
    ) {
        let head_dim = self.values.size();
        let seen = union(&self.lines[line..line + SUMS]);
        let start = seen.start.clamp(stretch.start, stretch.end);
        let end = seen.end.clamp(start, stretch.end);
        if start == end {
            return;
        }
        let values = self.values.range(start..end);
        let part = start - stretch.start..end - stretch.start;
        let weights = weights.map(|weights| &weights[part.clone()]);
        let answers = &mut answers[line * head_dim..][..SUMS * head_dim];
        let mut at = 0;
        while at + VECTORS * S::LANES <= head_dim {
            let sums = columns(answers, head_dim, at, VECTORS * S::LANES);
            weighted_sum::<S, E, SUMS, VECTORS>(simd, weights, values, at, sums);
            at += VECTORS * S::LANES;
        }
        while at + S::LANES <= head_dim {
            let sums = columns(answers, head_dim, at, S::LANES);
            weighted_sum::<S, E, SUMS, 1>(simd, weights, values, at, sums);
            at += S::LANES;
        }
        for (weights, answer) in weights.iter().zip(answers.chunks_exact_mut(head_dim)) {
            for (step, weight) in weights.iter().enumerate() {
                for (sum, value) in answer[at..].iter_mut().zip(&values.row(step)[at..]) {
                    *sum += weight * value.widen();
                }
            }
        }
    }
}

/// `size` elements from `at` on of each of `SUMS` rows.
#[inline(always)]
fn columns<const SUMS: usize>(
    rows: &mut [f32],
    row_size: usize,
    at: usize,
    size: usize,
) -> [&mut [f32]; SUMS] {
    let mut rows = rows.chunks_exact_mut(row_size);
    std::array::from_fn(|_| {
        let row = rows.next().expect("the caller has cut as many rows");
        &mut row[at..at + size]
    })
}
