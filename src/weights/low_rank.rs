//! The product of two thin matrices, added to rows on their way from file to parameter.

use std::sync::Arc;

use rayon::prelude::*;

/// `scale * up down`, for some rows of a matrix.
#[derive(Debug)]
pub(super) struct Update {
    /// `[rows, rank]`, scaled.
    up: Vec<f32>,
    /// `[rank, row_len]`. Rows in an order of their own come one by one and share it.
    down: Arc<[f32]>,
    rank: usize,
}

impl Update {
    /// # Shapes
    /// - `up`: `[rows, rank]`
    /// - `down`: `[rank, row_len]`
    pub(super) fn new(mut up: Vec<f32>, down: Arc<[f32]>, rank: usize, scale: f32) -> Self {
        up.iter_mut().for_each(|value| *value *= scale);
        Self { up, down, rank }
    }

    /// What all of `updates`, of the same rows, add together: one product, of their ranks together.
    pub(super) fn sum(mut updates: Vec<Self>) -> Option<Self> {
        if updates.len() < 2 {
            return updates.pop();
        }
        let rows = |update: &Self| update.up.len() / update.rank.max(1);
        let num_rows = updates.iter().map(rows).max()?;
        let mut up = Vec::new();
        for row in 0..num_rows {
            for update in &updates {
                up.extend_from_slice(&update.up[row * update.rank..][..update.rank]);
            }
        }
        let downs: Vec<&[f32]> = updates.iter().map(|update| &*update.down).collect();
        Some(Self {
            up,
            rank: updates.iter().map(|update| update.rank).sum(),
            down: downs.concat().into(),
        })
    }

    /// About `len` elements, but whole rows.
    pub(super) fn whole_rows(&self, len: usize) -> usize {
        let row_len = self.row_len();
        (len / row_len).max(1) * row_len
    }

    /// Adds the product to whole rows, the first of which begins at the element `offset`.
    pub(super) fn add_to(&self, offset: usize, values: &mut [f32]) {
        if self.rank == 0 {
            return;
        }
        let row_len = self.row_len();
        let up = &self.up[offset / row_len * self.rank..];
        let rows = values.par_chunks_mut(row_len).zip(up.par_chunks(self.rank));
        rows.for_each(|(row, factors)| {
            for (factor, down) in factors.iter().zip(self.down.chunks_exact(row_len)) {
                let pairs = row.iter_mut().zip(down);
                pairs.for_each(|(value, down)| *value += factor * down);
            }
        });
    }

    fn row_len(&self) -> usize {
        (self.down.len() / self.rank.max(1)).max(1)
    }
}
