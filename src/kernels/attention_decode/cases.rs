//! Problems of [`attention_decode()`](super::attention_decode()).

use burn::tensor::DType;

use super::{NAME, reference};
use crate::kernels::attention_prefill::cases::{
    Arguments, AttentionProblem, heads, mixed_views, span,
};
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Solve, Work};
use crate::kernels::{KvView, VlmBackend};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

struct DecodeProblem(AttentionProblem);

impl<B: VlmBackend> Problem<B> for DecodeProblem {
    type Inputs = Arguments<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        self.0.arguments(inputs)
    }

    fn kernel(&self, (inputs, views): Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_attention_decode(inputs, &views))]
    }

    fn reference(&self, (inputs, views): Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(inputs, views.views()))]
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

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let step = |heads, lengths: &[usize]| AttentionProblem::of_lengths(heads, 1, lengths);
    let smollm = heads(9, 3, 64);
    let stored = |dtype| AttentionProblem {
        cache: Some(dtype),
        ..step(heads(4, 2, 64), &[77])
    };
    let view = |view| AttentionProblem::of_views(heads(4, 2, 64), 1, vec![view]);
    let scattered = AttentionProblem {
        views: vec![KvView::of(4, 9), KvView::of(0, 65), KvView::of(2, 1)],
        num_slots: 5,
        ..step(smollm, &[65])
    };
    let swapped = AttentionProblem {
        query_order: Order::Swapped,
        ..step(heads(4, 2, 32), &[9, 6])
    };
    let problems = vec![
        ("smollm-135m, 1 position", step(smollm, &[1])),
        ("smollm-135m, 64 positions", step(smollm, &[64])),
        ("smollm-135m, 300 positions", step(smollm, &[300])),
        (
            "vicuna-7b, 2 of 32 heads, 129 positions",
            step(heads(2, 2, 128), &[129]),
        ),
        (
            "an empty slot beside full ones",
            step(heads(2, 1, 64), &[0, 5, 33]),
        ),
        ("an empty slot", step(heads(2, 2, 16), &[0])),
        ("3 rows in slots out of order", scattered),
        ("a ring", view(KvView::of_ring(1, 90, 71, 90))),
        (
            "a prefix in another slot",
            view(KvView::of_spans(span(0, 2, 60), span(2, 0, 8))),
        ),
        (
            "a window smaller than the keys",
            view(KvView::of(1, 80).with_window(11)),
        ),
        (
            "a window larger than the keys",
            view(KvView::of(1, 20).with_window(21)),
        ),
        (
            "rows of every kind of view",
            AttentionProblem::of_views(smollm, 1, mixed_views()),
        ),
        (
            "40 rows of their own lengths",
            step(heads(2, 1, 16), &(0..40).collect::<Vec<_>>()),
        ),
        (
            "rows of lengths around the borders of parts",
            step(
                heads(2, 1, 16),
                &[31, 32, 33, 63, 64, 65, 127, 128, 129, 255, 256, 257],
            ),
        ),
        (
            "more keys than a part has at most",
            step(heads(2, 1, 16), &[2500, 3]),
        ),
        (
            "a window over the borders of parts",
            view(KvView::of_ring(1, 400, 390, 400).with_window(201)),
        ),
        ("2 heads share one", step(heads(4, 2, 64), &[70])),
        ("4 heads share one", step(heads(4, 1, 64), &[70])),
        ("5 heads share one", step(heads(10, 2, 32), &[70])),
        ("6 heads share one", step(heads(6, 1, 64), &[70])),
        ("7 heads share one", step(heads(7, 1, 64), &[70])),
        ("8 heads share one", step(heads(16, 2, 128), &[70])),
        ("11 heads share one", step(heads(22, 2, 32), &[140])),
        ("head_dim 16", step(heads(3, 1, 16), &[18])),
        ("head_dim 15", step(heads(3, 1, 15), &[18])),
        ("head_dim 20", step(heads(4, 2, 20), &[12])),
        ("head_dim 72", step(heads(2, 2, 72), &[40])),
        ("head_dim 80", step(heads(4, 4, 80), &[31])),
        ("head_dim 88", step(heads(2, 2, 88), &[50])),
        ("head_dim 96", step(heads(8, 1, 96), &[257])),
        ("head_dim 256", step(heads(2, 1, 256), &[35])),
        ("F32 cache", stored(DType::F32)),
        ("F16 cache", stored(DType::F16)),
        ("BF16 cache", stored(DType::BF16)),
        ("swapped query", swapped),
        (
            "swapped query, key and value",
            AttentionProblem {
                query_order: Order::Swapped,
                key_order: Order::Swapped,
                ..step(heads(4, 2, 16), &[10, 40])
            },
        ),
    ];
    problems
        .into_iter()
        .map(|(name, problem)| Case::new(name, DecodeProblem(problem)))
        .collect()
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let step = |heads, lengths: &[usize]| AttentionProblem::of_lengths(heads, 1, lengths);
    let smollm = heads(9, 3, 64);
    let vicuna = heads(32, 32, 128);
    let half = |problem| AttentionProblem {
        cache: Some(DType::F16),
        ..problem
    };
    let problems = vec![
        ("smollm-135m, 256 positions", step(smollm, &[256])),
        ("smollm-135m, 2048 positions", step(smollm, &[2048])),
        (
            "smollm-135m, 2048 positions, F16 cache",
            half(step(smollm, &[2048])),
        ),
        ("vicuna-7b, 1024 positions", step(vicuna, &[1024])),
        (
            "vicuna-7b, 1024 positions, F16 cache",
            half(step(vicuna, &[1024])),
        ),
        (
            "llama-3-8b, 8192 positions, F16 cache",
            half(step(heads(32, 8, 128), &[8192])),
        ),
        (
            "smollm-135m, 8 rows of 512 positions",
            step(smollm, &[512; 8]),
        ),
        (
            "vicuna-13b, 1024 positions, F16 cache",
            half(step(heads(40, 40, 128), &[1024])),
        ),
    ];
    problems
        .into_iter()
        .map(|(name, problem)| Case::new(name, DecodeProblem(problem)))
        .collect()
}
