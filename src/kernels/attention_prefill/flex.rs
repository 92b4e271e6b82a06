//! [`attention_prefill()`](super::attention_prefill()) on the CPU, also for a single query.
//!
//! A task takes one key-value head and some queries of the heads that share it. It scores them
//! against every key they see, turns the scores into weights, and sums the values; keys and values
//! are read where they lie, in their own type, once a task. Where there are fewer heads than would
//! keep every thread busy, as for a single query, the keys are cut too, and the parts' sums merged.

mod block;
mod panels;
mod partial;
mod slab;

use std::ops::Range;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{AttentionInputs, AttentionMask};
use crate::kernels::cpu::{
    Buffer, Element, MIN_ELEMENTS_PER_TASK, RowKernel, Simd, Tier, Tokens, float_tensor,
    for_each_row, no_kernel_for, with_element,
};
use crate::kernels::{KvView, LaunchRefused};
use block::{Block, Line};
use partial::Partial;
use slab::Slab;

/// The fewest and the most queries to a task: keys and values are copied once for all of them.
const TASK_LINES: [usize; 2] = [24, 768];

/// Queries to a task are a multiple of this, the rows of a tile. From so many on it pays to copy the keys
/// for them; which way a query goes does not depend on what is beside it in a task or a batch.
const TILE_LINES: usize = 12;

/// Keys below which a part of them is not worth another task: 32 KiB at 64 elements of 2 bytes, and as
/// many of values.
const MIN_PART_KEYS: usize = 256;

/// Tasks to a thread from which on the threads are busy enough without a cut through the keys.
const ENOUGH_TASKS: usize = 4;

pub(in crate::kernels) fn run(
    inputs: &AttentionInputs<FlexTensor>,
    views: &[KvView],
    mask: AttentionMask,
) -> Result<FlexTensor, LaunchRefused> {
    run_on(Tier::best(), inputs, views, mask)
}

fn run_on(
    tier: Tier,
    inputs: &AttentionInputs<FlexTensor>,
    views: &[KvView],
    mask: AttentionMask,
) -> Result<FlexTensor, LaunchRefused> {
    let AttentionInputs { query, key, value } = inputs;
    if key.dtype() != value.dtype() {
        let operands = "keys and values";
        return Err(LaunchRefused::TypesDiffer { operands });
    }
    let queries = Tokens::new(query)?;
    let [batch, num_heads, seq_q, head_dim] = queries.dims();
    let answers = with_element!(key.dtype(), E => {
        let (key, value) = (Slab::<E>::new(key)?, Slab::<E>::new(value)?);
        attend(tier, &Attention { queries, key, value, views, mask })
    });
    let answers = answers.ok_or_else(|| no_kernel_for("keys", key.dtype()))?;
    Ok(float_tensor(
        answers,
        [batch, seq_q, num_heads, head_dim],
        query.dtype(),
    ))
}

struct Attention<'a, E> {
    queries: Tokens,
    key: Slab<'a, E>,
    value: Slab<'a, E>,
    views: &'a [KvView],
    mask: AttentionMask,
}

/// A row of the batch, one of its key-value heads, the first of its queries to answer, and a part of
/// the keys.
///
/// The query heads that share a key-value head are one longer sequence to it: line `l` is query
/// `l % seq_q` of head `l / seq_q` of the group.
#[derive(Debug, Clone, Copy)]
struct Task {
    batch: usize,
    kv_head: usize,
    first_line: usize,
    /// Of how many parts of the keys this is which.
    part: Part,
}

#[derive(Debug, Clone, Copy)]
struct Part {
    index: usize,
    count: usize,
}

impl Part {
    /// Its share of `len` keys.
    fn of(self, len: usize) -> Range<usize> {
        let bound = |index: usize| len * index / self.count;
        bound(self.index)..bound(self.index + 1)
    }
}

/// `[batch, seq_q, num_heads, head_dim]`
fn attend<E: Element>(tier: Tier, attention: &Attention<'_, E>) -> Buffer {
    let [batch, num_heads, seq_q, head_dim] = attention.queries.dims();
    let threads = rayon::current_num_threads();
    let task_lines = attention.task_lines(threads);
    let tasks = attention.tasks(threads, task_lines);
    let num_keys: usize = attention.views.iter().map(KvView::len).sum();
    let elements = batch * num_heads * seq_q * head_dim * num_keys.div_ceil(batch.max(1));
    let min_tasks = (tasks.len() * MIN_ELEMENTS_PER_TASK).div_ceil(elements.max(1));
    let partials: Vec<Partial> = tasks
        .par_iter()
        .with_min_len(min_tasks.max(1))
        .map(|task| tier.run(attention.block(*task, task_lines)))
        .collect();

    let mut answers = Buffer::of_len(batch * seq_q * num_heads * head_dim);
    let kernel = Gather {
        partials: &partials,
        first_of_rows: first_of_rows(&tasks, batch),
        task_lines,
        dims: [batch, num_heads, seq_q, head_dim],
        num_kv_heads: attention.key.num_heads(),
    };
    for_each_row(tier, &mut answers, num_heads * head_dim, &kernel);
    answers
}

/// The index of each batch row's first task.
fn first_of_rows(tasks: &[Task], batch: usize) -> Vec<usize> {
    (0..batch)
        .map(|row| tasks.partition_point(|task| task.batch < row))
        .collect()
}

/// The answers of a token's heads, from the tasks that had a part in them.
struct Gather<'a> {
    partials: &'a [Partial],
    first_of_rows: Vec<usize>,
    task_lines: usize,
    /// As those of the queries.
    dims: [usize; 4],
    num_kv_heads: usize,
}

impl RowKernel for Gather<'_> {
    #[inline(always)]
    fn row<S: Simd>(&self, _: S, index: usize, row: &mut [f32]) {
        let [_, num_heads, seq_q, head_dim] = self.dims;
        let (batch, query) = (index / seq_q, index % seq_q);
        let group = num_heads / self.num_kv_heads;
        let blocks = (group * seq_q).div_ceil(self.task_lines);
        let first = self.first_of_rows[batch];
        let end = self.first_of_rows.get(batch + 1);
        let partials = &self.partials[first..end.copied().unwrap_or(self.partials.len())];
        let num_parts = partials.len() / (self.num_kv_heads * blocks);
        for (head, answer) in row.chunks_exact_mut(head_dim).enumerate() {
            let line = head % group * seq_q + query;
            let block = head / group * blocks + line / self.task_lines;
            let parts = &partials[block * num_parts..][..num_parts];
            Partial::merge(parts, line % self.task_lines, answer);
        }
    }
}

impl<E: Element> Attention<'_, E> {
    /// Query heads to a key-value head.
    fn group(&self) -> usize {
        let [_, num_heads, ..] = self.queries.dims();
        num_heads / self.key.num_heads()
    }

    /// Queries to a task, so that every thread has a few, if there are so many.
    fn task_lines(&self, threads: usize) -> usize {
        let [batch, _, seq_q, _] = self.queries.dims();
        let blocks = (ENOUGH_TASKS * threads).div_ceil((batch * self.key.num_heads()).max(1));
        let even = (self.group() * seq_q).div_ceil(blocks);
        let [fewest, most] = TASK_LINES;
        even.clamp(fewest, most).next_multiple_of(TILE_LINES)
    }

    /// Parts to cut the keys of a row into, so that `threads` would have as many tasks each if it were
    /// alone: its sums are the same in a batch.
    fn num_parts(&self, row: usize, threads: usize) -> usize {
        let [_, _, seq_q, _] = self.queries.dims();
        let [fewest, _] = TASK_LINES;
        let blocks = (self.group() * seq_q).div_ceil(fewest);
        let tasks = self.key.num_heads() * blocks;
        let num_keys = self.views[row].len();
        if tasks == 0 || tasks >= ENOUGH_TASKS * threads {
            return 1;
        }
        let even = (1..=threads).find(|parts| (tasks * parts).is_multiple_of(threads));
        even.unwrap_or(threads).min(num_keys / MIN_PART_KEYS).max(1)
    }

    /// Those of one block of queries one behind another.
    fn tasks(&self, threads: usize, task_lines: usize) -> Vec<Task> {
        let [batch, _, seq_q, _] = self.queries.dims();
        let num_kv_heads = self.key.num_heads();
        let mut tasks = Vec::new();
        for (batch, kv_head) in pairs(batch, num_kv_heads) {
            let parts = self.num_parts(batch, threads);
            for first_line in (0..self.group() * seq_q).step_by(task_lines) {
                tasks.extend((0..parts).map(|index| Task {
                    batch,
                    kv_head,
                    first_line,
                    part: Part {
                        index,
                        count: parts,
                    },
                }));
            }
        }
        tasks
    }

    /// The work of a task.
    fn block(&self, task: Task, task_lines: usize) -> Block<'_, E> {
        let [_, _, seq_q, head_dim] = self.queries.dims();
        let group = self.group();
        let view = self.views[task.batch];
        let end = (group * seq_q).min(task.first_line + task_lines);
        let mut queries = vec![0.0; (end - task.first_line) * head_dim];
        let places = (task.first_line..end).zip(queries.chunks_exact_mut(head_dim.max(1)));
        for (line, query) in places {
            let head = task.kv_head * group + line / seq_q;
            self.queries.read([task.batch, head, line % seq_q], query);
        }
        let seen = (task.first_line..end).map(|line| view.seen(line % seq_q, seq_q, self.mask));
        let first_key = seen.clone().map(|seen| seen.start).min().unwrap_or(0);
        let last_key = seen.clone().map(|seen| seen.end).max().unwrap_or(0);
        let part = task.part.of(last_key - first_key);
        let part = first_key + part.start..first_key + part.end;
        let lines = seen.map(|seen| {
            let place = |key: usize| key.clamp(part.start, part.end) - part.start;
            Line {
                seen: place(seen.start)..place(seen.end),
            }
        });
        let view = view.without(part.start);
        Block {
            queries,
            lines: lines.collect(),
            keys: self.key.rows(view, task.kv_head),
            values: self.value.rows(view, task.kv_head),
            has_panels: group * seq_q >= TILE_LINES,
        }
    }
}

/// Every pair of an index below `first` with one below `second`.
fn pairs(first: usize, second: usize) -> impl Iterator<Item = (usize, usize)> {
    (0..first).flat_map(move |first| (0..second).map(move |second| (first, second)))
}

#[cfg(test)]
mod tests;
