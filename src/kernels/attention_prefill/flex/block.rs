//! Some queries over the keys and values of one head.

use std::ops::Range;

use super::panels::Panels;
use super::partial::{Partial, Scale};
use super::slab::ViewRows;
use crate::kernels::cpu::{Buffer, Element, Kernel, MAX_LANES, Simd, dot_tile, exp, weighted_sum};

/// Keys in a tile of few queries.
const TILE: usize = 4;

/// Values that pass by before the next queries take their turn: 32 KiB at 128 elements of 2 bytes.
pub(super) const STRETCH: usize = 128;

/// Sums of the last vector of as many lines as are summed at once.
const MAX_TAIL: usize = 8 * MAX_LANES;

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
    /// Whether keys and values are copied for tiles of queries.
    pub(super) has_panels: bool,
}

impl<E: Element> Kernel for Block<'_, E> {
    type Output = Partial;

    #[inline(always)]
    fn run<S: Simd>(self, simd: S) -> Partial {
        let head_dim = self.keys.size();
        let softmax_scale = 1.0 / (head_dim as f32).sqrt();
        let num_seen = union(&self.lines).end;
        let mut partial = Partial::nothing(self.lines.len(), head_dim);
        if num_seen == 0 || head_dim == 0 {
            return partial;
        }
        if self.has_panels {
            let panels = Panels::new(simd, &self);
            // The rows of a tile, as `tile_rows` has them.
            match S::REGISTERS {
                32.. => panels.attend::<S, 12>(simd, &mut partial),
                16.. => panels.attend::<S, 6>(simd, &mut partial),
                _ => panels.attend::<S, 3>(simd, &mut partial),
            }
            return partial;
        }
        let mut scores = Buffer::of_len(self.lines.len() * num_seen);
        match S::REGISTERS {
            32.. => self.score::<S, 4>(simd, num_seen, &mut scores),
            _ => self.score::<S, 2>(simd, num_seen, &mut scores),
        }
        let scores_of_lines = scores.chunks_exact_mut(num_seen);
        for ((line, scores), scale) in self
            .lines
            .iter()
            .zip(scores_of_lines)
            .zip(&mut partial.scales)
        {
            *scale = weigh(scores, &line.seen, softmax_scale);
        }
        self.sum_values(simd, num_seen, &scores, &mut partial.sums);
        partial
    }
}

/// Turns scores, times `softmax_scale`, into weights relative to the largest; what is not seen gets none.
/// Scaled queries would be rounded once more, and all scores of a query with them, the same way.
#[inline(always)]
pub(super) fn weigh(scores: &mut [f32], seen: &Range<usize>, softmax_scale: f32) -> Scale {
    scores[..seen.start].fill(0.0);
    scores[seen.end..].fill(0.0);
    let seen = &mut scores[seen.clone()];
    let larger = |a: f32, b: f32| if a > b { a } else { b };
    // Lane by lane, in arrays of one length, so that both loops stay in registers.
    let (chunks, rest) = seen.as_chunks_mut::<MAX_LANES>();
    let mut largest = [f32::NEG_INFINITY; MAX_LANES];
    for chunk in chunks.iter() {
        for (largest, score) in largest.iter_mut().zip(chunk) {
            *largest = larger(*score, *largest);
        }
    }
    let largest = largest
        .into_iter()
        .chain(rest.iter().copied())
        .fold(f32::NEG_INFINITY, |largest, score| larger(score, largest));
    let mut sums = [0.0; MAX_LANES];
    for chunk in chunks {
        for (score, sum) in chunk.iter_mut().zip(&mut sums) {
            *score = exp((*score - largest) * softmax_scale);
            *sum += *score;
        }
    }
    for (score, sum) in rest.iter_mut().zip(&mut sums) {
        *score = exp((*score - largest) * softmax_scale);
        *sum += *score;
    }
    Scale {
        largest: largest * softmax_scale,
        total: sums.iter().sum(),
    }
}

/// From the first key to the last that a line sees.
#[inline(always)]
pub(super) fn union(lines: &[Line]) -> Range<usize> {
    let seen = lines.iter().map(|line| line.seen.clone());
    let union =
        |all: Range<usize>, seen: Range<usize>| all.start.min(seen.start)..all.end.max(seen.end);
    seen.reduce(union).unwrap_or(0..0)
}

impl Line {
    /// Whether it sees one of `keys`.
    #[inline(always)]
    pub(super) fn sees(&self, keys: Range<usize>) -> bool {
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
        stride: usize,
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
                self.score_tile::<S, KEYS, COUNT>(simd, [line, key], stride, scores);
            }
        }
        for line in whole..lines {
            if self.lines[line].sees(keys.clone()) {
                self.score_tile::<S, KEYS, 1>(simd, [line, key], stride, scores);
            }
        }
    }

    #[inline(always)]
    fn score_tile<S: Simd, const KEYS: usize, const COUNT: usize>(
        &self,
        simd: S,
        [line, key]: [usize; 2],
        stride: usize,
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
                scores[line * stride + key] = *product;
            }
        }
    }

    /// Adds the weighted values to the answers.
    #[inline(always)]
    fn sum_values<S: Simd>(&self, simd: S, num_seen: usize, weights: &[f32], answers: &mut [f32]) {
        // Eight sums or more at once hide the latency of each; where lines are many, they share a value.
        let lines = self.lines.len();
        let mut first = 0;
        if S::REGISTERS >= 32 {
            first = self.sum_whole::<S, 8, 2>(simd, num_seen, [first, lines], weights, answers);
            first = self.sum_whole::<S, 4, 4>(simd, num_seen, [first, lines], weights, answers);
        }
        first = self.sum_whole::<S, 2, 4>(simd, num_seen, [first, lines], weights, answers);
        self.sum_whole::<S, 1, 4>(simd, num_seen, [first, lines], weights, answers);
    }

    /// As many of the lines as are a multiple of `SUMS`; returns the first that is left.
    #[inline(always)]
    fn sum_whole<S: Simd, const SUMS: usize, const VECTORS: usize>(
        &self,
        simd: S,
        num_seen: usize,
        [first, end]: [usize; 2],
        weights: &[f32],
        answers: &mut [f32],
    ) -> usize {
        let end = end - (end - first) % SUMS;
        if first == end {
            return end;
        }
        for stretch in self.values.stretches(num_seen, STRETCH) {
            for line in (first..end).step_by(SUMS) {
                let mut of_lines: [&[f32]; SUMS] = [&[]; SUMS];
                for (of_line, line) in of_lines.iter_mut().zip(line..) {
                    *of_line = &weights[line * num_seen..][stretch.clone()];
                }
                self.sum_lines::<S, SUMS, VECTORS>(simd, &stretch, line, of_lines, answers);
            }
        }
        end
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
        if at == head_dim {
            return;
        }
        let Some(from) = head_dim.checked_sub(S::LANES) else {
            for (weights, answer) in weights.iter().zip(answers.chunks_exact_mut(head_dim)) {
                for (step, weight) in weights.iter().enumerate() {
                    for (sum, value) in answer.iter_mut().zip(values.row(step)) {
                        *sum += weight * value.widen();
                    }
                }
            }
            return;
        };
        // The last vector begins before the last one ended; what both have is taken from the other.
        let mut last = [0.0; MAX_TAIL];
        let last = &mut last[..SUMS * S::LANES];
        let sums = columns(last, S::LANES, 0, S::LANES);
        weighted_sum::<S, E, SUMS, 1>(simd, weights, values, from, sums);
        let answers = answers.chunks_exact_mut(head_dim);
        for (answer, last) in answers.zip(last.chunks_exact(S::LANES)) {
            let sums = answer[at..].iter_mut().zip(&last[at - from..]);
            sums.for_each(|(sum, last)| *sum += last);
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
