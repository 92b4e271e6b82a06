//! Problems of [`attention_prefill()`](super::attention_prefill()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{AttentionInputs, AttentionMask, KvRow, NAME, reference};
use crate::kernels::VlmBackend;
use crate::kernels::catalogue::{Case, Inputs, KernelEntry, Order, Output, Problem, Work};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

/// How many heads of which size.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Heads {
    pub(in crate::kernels) num_heads: usize,
    pub(in crate::kernels) num_kv_heads: usize,
    pub(in crate::kernels) head_dim: usize,
}

/// Shorthand of the lists below.
pub(in crate::kernels) const fn heads(
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
) -> Heads {
    Heads {
        num_heads,
        num_kv_heads,
        head_dim,
    }
}

/// Queries over a slab with NaN in every position that is not filled.
#[derive(Debug, Clone)]
pub(in crate::kernels) struct AttentionProblem {
    pub(in crate::kernels) heads: Heads,
    pub(in crate::kernels) seq_q: usize,
    pub(in crate::kernels) rows: Vec<KvRow>,
    pub(in crate::kernels) num_slots: usize,
    pub(in crate::kernels) capacity: usize,
    pub(in crate::kernels) cache: Option<DType>,
    pub(in crate::kernels) query_order: Order,
    pub(in crate::kernels) key_order: Order,
}

impl AttentionProblem {
    /// Rows of the given lengths, each in the slot of its place, one slot and position to spare.
    pub(in crate::kernels) fn of_lengths(heads: Heads, seq_q: usize, lengths: &[usize]) -> Self {
        let rows = lengths
            .iter()
            .enumerate()
            .map(|(slot, &len)| KvRow { slot, len });
        Self {
            heads,
            seq_q,
            rows: rows.collect(),
            num_slots: lengths.len() + 1,
            capacity: lengths.iter().max().map_or(1, |longest| longest + 1),
            cache: None,
            query_order: Order::RowMajor,
            key_order: Order::RowMajor,
        }
    }

    /// Self-attention of `batch` sequences, their keys handed over without a cache.
    fn dense(heads: Heads, batch: usize, seq_len: usize) -> Self {
        let lengths = vec![seq_len; batch];
        Self {
            num_slots: batch,
            capacity: seq_len,
            ..Self::of_lengths(heads, seq_len, &lengths)
        }
    }

    pub(in crate::kernels) fn arguments<B: VlmBackend>(
        &self,
        inputs: &Inputs<'_, B>,
    ) -> AttentionInputs<FloatTensor<B>> {
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let query = [self.rows.len(), num_heads, self.seq_q, head_dim];
        let slab = [self.num_slots, num_kv_heads, self.capacity, head_dim];
        let filled = || match self.key_order {
            Order::RowMajor => inputs.slab(slab, &self.rows, self.cache),
            Order::Swapped => inputs.in_order(slab, Order::Swapped),
        };
        AttentionInputs {
            query: inputs.in_order(query, self.query_order),
            key: filled(),
            value: filled(),
        }
    }

    /// Query, answer and the filled part of the slab move once; every query that sees a key pays
    /// two multiply-adds an element.
    pub(in crate::kernels) fn work(&self, dtype: DType, mask: AttentionMask) -> Work {
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let filled: usize = self.rows.iter().map(|row| row.len).sum();
        let queries = self.rows.len() * self.seq_q * num_heads * head_dim;
        let seen = |row: &KvRow| match mask {
            AttentionMask::Bidirectional => self.seq_q * row.len,
            AttentionMask::Causal => (0..self.seq_q)
                .map(|back| row.len.saturating_sub(back))
                .sum(),
        };
        let cache = self.cache.unwrap_or(dtype).size();
        Work {
            bytes: 2 * dtype.size() * queries + 2 * cache * filled * num_kv_heads * head_dim,
            flops: 4 * head_dim * num_heads * self.rows.iter().map(seen).sum::<usize>(),
        }
    }
}

struct PrefillProblem {
    attention: AttentionProblem,
    mask: AttentionMask,
}

impl<B: VlmBackend> Problem<B> for PrefillProblem {
    type Inputs = AttentionInputs<FloatTensor<B>>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        self.attention.arguments(inputs)
    }

    fn kernel(&self, inputs: Self::Inputs) -> Vec<Output<B>> {
        let answer = B::vlm_attention_prefill(inputs, &self.attention.rows, self.mask);
        vec![Output::Float(answer)]
    }

    fn reference(&self, inputs: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(
            inputs,
            &self.attention.rows,
            self.mask,
        ))]
    }

    fn stored(&self) -> Vec<DType> {
        self.attention.cache.into_iter().collect()
    }

    fn work(&self, dtype: DType) -> Work {
        self.attention.work(dtype, self.mask)
    }
}

fn causal<B: VlmBackend>(name: &str, attention: AttentionProblem) -> Case<B> {
    Case::new(
        name,
        PrefillProblem {
            attention,
            mask: AttentionMask::Causal,
        },
    )
}

fn bidirectional<B: VlmBackend>(name: &str, attention: AttentionProblem) -> Case<B> {
    Case::new(
        name,
        PrefillProblem {
            attention,
            mask: AttentionMask::Bidirectional,
        },
    )
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let of_lengths = AttentionProblem::of_lengths;
    let dense = AttentionProblem::dense;
    let smollm = heads(9, 3, 64);
    let stored = |dtype| AttentionProblem {
        cache: Some(dtype),
        ..of_lengths(heads(4, 2, 64), 5, &[37])
    };
    let swapped = AttentionProblem {
        query_order: Order::Swapped,
        ..of_lengths(heads(4, 2, 32), 6, &[9, 6])
    };
    let all_swapped = AttentionProblem {
        query_order: Order::Swapped,
        key_order: Order::Swapped,
        ..dense(heads(4, 4, 16), 2, 10)
    };
    // Two rows read one slot: the candidates of a beam over the same prompt.
    let shared = AttentionProblem {
        rows: vec![KvRow { slot: 1, len: 20 }, KvRow { slot: 1, len: 13 }],
        ..of_lengths(heads(2, 1, 64), 3, &[20, 20])
    };
    vec![
        causal("smollm-135m, 33 new", of_lengths(smollm, 33, &[33])),
        causal(
            "smollm-135m, 16 new after 50",
            of_lengths(smollm, 16, &[66]),
        ),
        causal(
            "vicuna-7b, 2 of 32 heads, 20 new",
            of_lengths(heads(2, 2, 128), 20, &[20]),
        ),
        bidirectional(
            "clip-l, 2 of 16 heads, 145 of 577",
            dense(heads(2, 2, 64), 1, 145),
        ),
        bidirectional(
            "siglip-so400m, 1 of 16 heads",
            dense(heads(1, 1, 72), 1, 81),
        ),
        causal("one query, one key", of_lengths(heads(2, 1, 16), 1, &[1])),
        causal("head_dim 16", of_lengths(heads(3, 1, 16), 7, &[18])),
        causal("head_dim 20", of_lengths(heads(4, 2, 20), 5, &[12])),
        causal("head_dim 80", of_lengths(heads(4, 4, 80), 9, &[31])),
        causal("head_dim 96", of_lengths(heads(4, 1, 96), 9, &[65])),
        bidirectional("head_dim 128", dense(heads(2, 2, 128), 1, 65)),
        causal(
            "3 rows of their own lengths",
            of_lengths(smollm, 4, &[4, 40, 17]),
        ),
        bidirectional(
            "3 rows, few queries",
            of_lengths(heads(4, 2, 64), 2, &[3, 64, 33]),
        ),
        causal(
            "an empty slot beside a full one",
            of_lengths(heads(2, 1, 64), 2, &[0, 5]),
        ),
        bidirectional("an empty slot", of_lengths(heads(2, 2, 16), 3, &[0])),
        causal(
            "more queries than keys",
            of_lengths(heads(2, 1, 64), 6, &[4]),
        ),
        causal("two rows share a slot", shared),
        causal("F32 cache", stored(DType::F32)),
        causal("F16 cache", stored(DType::F16)),
        causal("BF16 cache", stored(DType::BF16)),
        causal("swapped query", swapped),
        bidirectional("swapped query, key and value", all_swapped),
    ]
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let of_lengths = AttentionProblem::of_lengths;
    let dense = AttentionProblem::dense;
    vec![
        causal(
            "smollm-135m, 256 new",
            of_lengths(heads(9, 3, 64), 256, &[256]),
        ),
        causal(
            "smollm-135m, 64 new after 960",
            of_lengths(heads(9, 3, 64), 64, &[1024]),
        ),
        causal(
            "vicuna-7b, 640 new",
            of_lengths(heads(32, 32, 128), 640, &[640]),
        ),
        bidirectional("clip-l at 336 pixels", dense(heads(16, 16, 64), 1, 577)),
        bidirectional(
            "siglip base at 512 pixels",
            dense(heads(12, 12, 64), 1, 1024),
        ),
    ]
}
