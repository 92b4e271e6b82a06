//! Problems of [`attention_prefill()`](super::attention_prefill()).

use burn::tensor::DType;
use burn::tensor::module::attention;
use burn::tensor::ops::{AttentionModuleOptions, FloatTensor};

use super::{AttentionInputs, AttentionMask, NAME, reference};
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Solve, Work};
use crate::kernels::{KvSpan, KvView, KvViews, VlmBackend, primitive, tensor};

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

/// The arguments of either attention, but for the mask.
pub(in crate::kernels) type Arguments<B> = (AttentionInputs<FloatTensor<B>>, KvViews<B>);

/// Queries over a slab with NaN wherever none of them may look.
#[derive(Debug, Clone)]
pub(in crate::kernels) struct AttentionProblem {
    pub(in crate::kernels) heads: Heads,
    pub(in crate::kernels) seq_q: usize,
    pub(in crate::kernels) views: Vec<KvView>,
    pub(in crate::kernels) mask: AttentionMask,
    pub(in crate::kernels) num_slots: usize,
    pub(in crate::kernels) capacity: usize,
    pub(in crate::kernels) cache: Option<DType>,
    pub(in crate::kernels) query_order: Order,
    pub(in crate::kernels) key_order: Order,
}

impl AttentionProblem {
    /// Causal rows of the given lengths, each in the slot of its place, one slot and place to spare.
    pub(in crate::kernels) fn of_lengths(heads: Heads, seq_q: usize, lengths: &[usize]) -> Self {
        let slots = lengths.iter().enumerate();
        Self {
            heads,
            seq_q,
            views: slots.map(|(slot, &len)| KvView::of(slot, len)).collect(),
            mask: AttentionMask::Causal,
            num_slots: lengths.len() + 1,
            capacity: lengths.iter().max().map_or(1, |longest| longest + 1),
            cache: None,
            query_order: Order::RowMajor,
            key_order: Order::RowMajor,
        }
    }

    /// Rows of the given views, in a slab with one slot and place to spare.
    pub(in crate::kernels) fn of_views(heads: Heads, seq_q: usize, views: Vec<KvView>) -> Self {
        let spans = views.iter().flat_map(|view| view.spans);
        let sizes = spans.map(|span| (span.slot + 2, span.start + span.len + 1));
        let (num_slots, capacity) =
            sizes.fold((1, 1), |all, span| (all.0.max(span.0), all.1.max(span.1)));
        Self {
            views,
            num_slots,
            capacity,
            ..Self::of_lengths(heads, seq_q, &[])
        }
    }

    /// Every query sees every key.
    pub(in crate::kernels) fn bidirectional(self) -> Self {
        Self {
            mask: AttentionMask::Bidirectional,
            ..self
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
    ) -> Arguments<B> {
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let query = [self.views.len(), num_heads, self.seq_q, head_dim];
        let slab = [self.num_slots, num_kv_heads, self.capacity, head_dim];
        let filled = || match self.key_order {
            Order::RowMajor => inputs.slab(slab, &self.filled(), self.cache),
            Order::Swapped => inputs.in_order(slab, Order::Swapped),
        };
        let views = KvViews::new(self.views.clone(), inputs.device());
        views.check(self.views.len(), self.num_slots, self.capacity);
        let arguments = AttentionInputs {
            query: inputs.in_order(query, self.query_order),
            key: filled(),
            value: filled(),
        };
        (arguments, views)
    }

    /// The places that some query sees.
    fn filled(&self) -> Vec<KvSpan> {
        let seen = self.views.iter().map(|view| {
            let first = view.seen(0, self.seq_q, self.mask);
            view.without(first.start)
        });
        seen.flat_map(|view| view.spans).collect()
    }

    /// Query, answer and the filled part of the slab move once; every query that sees a key pays
    /// two multiply-adds an element.
    pub(in crate::kernels) fn work(&self, dtype: DType) -> Work {
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let filled: usize = self.filled().iter().map(|span| span.len).sum();
        let queries = self.views.len() * self.seq_q * num_heads * head_dim;
        let seen = self.views.iter().flat_map(|view| {
            (0..self.seq_q).map(|query| view.seen(query, self.seq_q, self.mask).len())
        });
        let cache = self.cache.unwrap_or(dtype).size();
        Work {
            bytes: 2 * dtype.size() * queries + 2 * cache * filled * num_kv_heads * head_dim,
            flops: 4 * head_dim * num_heads * seen.sum::<usize>(),
        }
    }
}

impl AttentionProblem {
    /// Burn's attention, which knows no cache and no heads that share keys: the keys are cut out of
    /// the slab and repeated for it. There is none where rows differ, or the cache's type does.
    pub(in crate::kernels) fn burns<B: VlmBackend>(
        &self,
        (inputs, views): Arguments<B>,
    ) -> Output<B> {
        let [first, ..] = views.views() else {
            unreachable!("a batch has rows");
        };
        let Heads {
            num_heads,
            num_kv_heads,
            head_dim,
        } = self.heads;
        let (rows, len) = (views.views().len(), first.len());
        let keys = |slab: FloatTensor<B>| {
            let held = tensor::<B, 4>(slab).slice([0..rows, 0..num_kv_heads, 0..len, 0..head_dim]);
            let shape = [rows, num_kv_heads, num_heads / num_kv_heads, len, head_dim];
            let shared = held.unsqueeze_dim::<5>(2).expand(shape);
            shared.reshape([rows, num_heads, len, head_dim])
        };
        let options = AttentionModuleOptions {
            is_causal: self.mask == AttentionMask::Causal && self.seq_q > 1,
            ..Default::default()
        };
        let query = tensor::<B, 4>(inputs.query);
        let answer = attention(
            query,
            keys(inputs.key),
            keys(inputs.value),
            None,
            None,
            options,
        );
        Output::Float(primitive(answer.swap_dims(1, 2))) // [batch, seq_q, num_heads, head_dim]
    }

    /// Whether [`burns`](Self::burns) can compute it.
    pub(in crate::kernels) fn has_burns(&self, dtype: DType) -> bool {
        let len = self.views.first().map_or(0, KvView::len);
        let is_plain = |(row, view): (usize, &KvView)| *view == KvView::of(row, len);
        let is_uniform = self.views.iter().enumerate().all(is_plain);
        len > 0 && is_uniform && self.cache.is_none_or(|cache| cache == dtype)
    }
}

struct PrefillProblem(AttentionProblem);

impl<B: VlmBackend> Problem<B> for PrefillProblem {
    type Inputs = Arguments<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        self.0.arguments(inputs)
    }

    fn kernel(&self, (inputs, views): Self::Inputs) -> Vec<Output<B>> {
        let answer = B::vlm_attention_prefill(inputs, &views, self.0.mask);
        vec![Output::Float(answer)]
    }

    fn reference(&self, (inputs, views): Self::Inputs) -> Vec<Output<B>> {
        let answer = reference::run::<B>(inputs, views.views(), self.0.mask);
        vec![Output::Float(answer)]
    }

    fn stored(&self) -> Vec<DType> {
        self.0.cache.into_iter().collect()
    }

    fn rivals(&self, dtype: DType) -> Vec<(&'static str, Solve<Self, B>)> {
        match self.0.has_burns(dtype) {
            true => vec![("Burn's attention", |problem, inputs| {
                vec![problem.0.burns(inputs)]
            })],
            false => vec![],
        }
    }

    fn work(&self, dtype: DType) -> Work {
        self.0.work(dtype)
    }
}

fn causal<B: VlmBackend>(name: &str, attention: AttentionProblem) -> Case<B> {
    Case::new(name, PrefillProblem(attention))
}

fn bidirectional<B: VlmBackend>(name: &str, attention: AttentionProblem) -> Case<B> {
    Case::new(name, PrefillProblem(attention.bidirectional()))
}

/// Shorthand of the lists below.
pub(in crate::kernels) const fn span(slot: usize, start: usize, len: usize) -> KvSpan {
    KvSpan { slot, start, len }
}

/// Views of every kind: a ring, a prefix in another slot, windows that cut, one that does not, and
/// one span that two rows share.
pub(in crate::kernels) fn mixed_views() -> Vec<KvView> {
    vec![
        KvView::of_ring(0, 40, 29, 40),
        KvView::of_spans(span(2, 3, 21), span(1, 0, 12)),
        KvView::of_ring(3, 40, 35, 38).with_window(20),
        KvView::of_spans(span(2, 3, 21), span(4, 5, 9)).with_window(100),
        KvView::of(5, 37).with_window(3),
        KvView::of(6, 2),
    ]
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
        views: vec![KvView::of(1, 20), KvView::of(1, 13)],
        ..of_lengths(heads(2, 1, 64), 3, &[20, 20])
    };
    let view = |view| AttentionProblem::of_views(heads(4, 2, 64), 5, vec![view]);
    // As many queries as matrix units are used for.
    let many_queries = |view| AttentionProblem::of_views(heads(4, 2, 64), 40, vec![view]);
    let many_swapped = AttentionProblem {
        query_order: Order::Swapped,
        key_order: Order::Swapped,
        ..dense(heads(4, 4, 16), 2, 40)
    };
    let many: Vec<usize> = (0..19).map(|row| 3 + 7 * row % 40).collect();
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
        causal("head_dim 88", of_lengths(heads(2, 2, 88), 40, &[70])),
        causal("head_dim 96", of_lengths(heads(4, 1, 96), 9, &[65])),
        bidirectional("head_dim 128", dense(heads(2, 2, 128), 1, 65)),
        causal(
            "40 queries, head_dim 15",
            of_lengths(heads(2, 2, 15), 40, &[50]),
        ),
        causal(
            "40 queries, head_dim 20",
            of_lengths(heads(2, 2, 20), 40, &[50]),
        ),
        causal(
            "2 rows, several tiles of queries and of keys",
            of_lengths(heads(4, 2, 32), 66, &[66, 131]),
        ),
        causal(
            "40 queries, some of which see no key, beside an empty slot",
            of_lengths(heads(2, 1, 64), 40, &[4, 0, 90]),
        ),
        causal(
            "40 queries, a window over a ring",
            many_queries(KvView::of_ring(1, 150, 120, 150).with_window(70)),
        ),
        causal(
            "40 queries, a prefix in another slot",
            many_queries(KvView::of_spans(span(0, 2, 33), span(2, 0, 48))),
        ),
        bidirectional("40 queries, all swapped", many_swapped),
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
        causal("a ring", view(KvView::of_ring(1, 30, 19, 30))),
        causal(
            "a prefix in another slot",
            view(KvView::of_spans(span(0, 2, 33), span(2, 0, 8))),
        ),
        causal(
            "the first of two spans is empty",
            view(KvView::of_spans(span(1, 0, 0), span(0, 4, 8))),
        ),
        causal("a window of one", view(KvView::of(1, 20).with_window(1))),
        causal(
            "a window smaller than the queries",
            view(KvView::of(1, 50).with_window(3)),
        ),
        causal(
            "a window over a whole tile of keys",
            view(KvView::of(1, 150).with_window(40)),
        ),
        causal(
            "a window larger than the keys",
            view(KvView::of(1, 20).with_window(21)),
        ),
        causal(
            "a window, all of the prompt new",
            AttentionProblem::of_views(smollm, 70, vec![KvView::of(1, 70).with_window(24)]),
        ),
        bidirectional(
            "a window of all queries",
            view(KvView::of_ring(1, 30, 22, 20).with_window(9)),
        ),
        causal(
            "rows of every kind of view",
            AttentionProblem::of_views(smollm, 4, mixed_views()),
        ),
        bidirectional(
            "rows of every kind of view, bidirectional",
            AttentionProblem::of_views(heads(2, 2, 20), 3, mixed_views()),
        ),
        causal(
            "19 rows of their own lengths",
            of_lengths(heads(2, 1, 16), 2, &many),
        ),
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
        causal(
            "vicuna-13b, 640 new",
            of_lengths(heads(40, 40, 128), 640, &[640]),
        ),
        causal(
            "llama-3-8b, 1024 new",
            of_lengths(heads(32, 8, 128), 1024, &[1024]),
        ),
        causal(
            "mistral-7b, 512 new in a ring of 4096",
            AttentionProblem::of_views(
                heads(32, 8, 128),
                512,
                vec![KvView::of_ring(0, 4096, 1024, 4096).with_window(4096)],
            ),
        ),
        bidirectional("clip-l at 336 pixels", dense(heads(16, 16, 64), 1, 577)),
        bidirectional(
            "siglip base at 512 pixels",
            dense(heads(12, 12, 64), 1, 1024),
        ),
        bidirectional(
            "siglip-so400m at 384 pixels",
            dense(heads(16, 16, 72), 1, 729),
        ),
        bidirectional("eva-g at 224 pixels", dense(heads(16, 16, 88), 1, 257)),
        bidirectional(
            "q-former, 32 queries",
            of_lengths(heads(12, 12, 64), 32, &[257]),
        ),
    ]
}
