//! [`attention_prefill()`](super::attention_prefill()) on the CPU, also for a single query.
//!
//! A task takes one key-value head and some queries of the heads that share it. It scores them
//! against every key they see, turns the scores into weights, and sums the values; keys and values
//! are read where they lie, in their own type, once a task.

mod block;
mod slab;

use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{AttentionInputs, AttentionMask};
use crate::kernels::cpu::{
    Element, MIN_ELEMENTS_PER_TASK, Tier, Tokens, float_tensor, no_kernel_for, with_element,
};
use crate::kernels::{KvView, LaunchRefused};
use block::{Block, Line};
use slab::Slab;

/// Queries to a task: with 64 elements each they take 8 KiB of the first-level cache, where they
/// wait for the keys that pass by.
const TASK_LINES: usize = 32;

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

/// A row of the batch, one of its key-value heads, and the first of its queries to answer.
///
/// The query heads that share a key-value head are one longer sequence to it: line `l` is query
/// `l % seq_q` of head `l / seq_q` of the group.
#[derive(Debug, Clone, Copy)]
struct Task {
    batch: usize,
    kv_head: usize,
    first_line: usize,
}

/// `[batch, seq_q, num_heads, head_dim]`
fn attend<E: Element>(tier: Tier, attention: &Attention<'_, E>) -> Vec<f32> {
    let [batch, num_heads, seq_q, head_dim] = attention.queries.dims();
    let tasks = attention.tasks();
    let num_keys: usize = attention.views.iter().map(KvView::len).sum();
    let elements = batch * num_heads * seq_q * head_dim * num_keys.div_ceil(batch.max(1));
    let min_tasks = (tasks.len() * MIN_ELEMENTS_PER_TASK).div_ceil(elements.max(1));
    let answers: Vec<Vec<f32>> = tasks
        .par_iter()
        .with_min_len(min_tasks.max(1))
        .map(|task| tier.run(attention.block(*task)))
        .collect();

    let mut target = vec![0.0; batch * seq_q * num_heads * head_dim];
    for (task, answers) in tasks.iter().zip(&answers) {
        let answers = answers.chunks_exact(head_dim.max(1));
        for (line, answer) in (task.first_line..).zip(answers) {
            let head = task.kv_head * attention.group() + line / seq_q;
            let token = task.batch * seq_q + line % seq_q;
            target[(token * num_heads + head) * head_dim..][..head_dim].copy_from_slice(answer);
        }
    }
    target
}

impl<E: Element> Attention<'_, E> {
    /// Query heads to a key-value head.
    fn group(&self) -> usize {
        let [_, num_heads, ..] = self.queries.dims();
        num_heads / self.key.num_heads()
    }

    fn tasks(&self) -> Vec<Task> {
        let [batch, _, seq_q, _] = self.queries.dims();
        let num_kv_heads = self.key.num_heads();
        let firsts = (0..self.group() * seq_q).step_by(TASK_LINES);
        (0..batch * num_kv_heads)
            .flat_map(|index| firsts.clone().map(move |first_line| (index, first_line)))
            .map(|(index, first_line)| Task {
                batch: index / num_kv_heads,
                kv_head: index % num_kv_heads,
                first_line,
            })
            .collect()
    }

    /// The work of a task.
    fn block(&self, task: Task) -> Block<'_, E> {
        let [_, _, seq_q, head_dim] = self.queries.dims();
        let group = self.group();
        let view = self.views[task.batch];
        let end = (group * seq_q).min(task.first_line + TASK_LINES);
        let mut queries = vec![0.0; (end - task.first_line) * head_dim];
        let places = (task.first_line..end).zip(queries.chunks_exact_mut(head_dim.max(1)));
        for (line, query) in places {
            let head = task.kv_head * group + line / seq_q;
            self.queries.read([task.batch, head, line % seq_q], query);
        }
        let seen = (task.first_line..end).map(|line| view.seen(line % seq_q, seq_q, self.mask));
        let first_key = seen.clone().map(|seen| seen.start).min().unwrap_or(0);
        let lines = seen.map(|seen| Line {
            seen: seen.start - first_key..seen.end - first_key,
        });
        let view = view.without(first_key);
        Block {
            queries,
            lines: lines.collect(),
            keys: self.key.rows(view, task.kv_head),
            values: self.value.rows(view, task.kv_head),
        }
    }
}

#[cfg(test)]
mod tests;
