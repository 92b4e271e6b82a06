//! Problems of [`attention_decode()`](super::attention_decode()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, reference};
use crate::kernels::VlmBackend;
use crate::kernels::attention_prefill::cases::{AttentionProblem, heads};
use crate::kernels::attention_prefill::{AttentionInputs, AttentionMask, KvRow};
use crate::kernels::catalogue::{Case, Inputs, KernelEntry, Order, Output, Problem, Work};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

struct DecodeProblem(AttentionProblem);

impl<B: VlmBackend> Problem<B> for DecodeProblem {
    type Inputs = AttentionInputs<FloatTensor<B>>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        self.0.arguments(inputs)
    }

    fn kernel(&self, inputs: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_attention_decode(inputs, &self.0.rows))]
    }

    fn reference(&self, inputs: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(inputs, &self.0.rows))]
    }

    fn stored(&self) -> Vec<DType> {
        self.0.cache.into_iter().collect()
    }

    fn work(&self, dtype: DType) -> Work {
        self.0.work(dtype, AttentionMask::Bidirectional)
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let step = |heads, lengths: &[usize]| AttentionProblem::of_lengths(heads, 1, lengths);
    let smollm = heads(9, 3, 64);
    let stored = |dtype| AttentionProblem {
        cache: Some(dtype),
        ..step(heads(4, 2, 64), &[77])
    };
    let scattered = AttentionProblem {
        rows: vec![
            KvRow { slot: 4, len: 9 },
            KvRow { slot: 0, len: 65 },
            KvRow { slot: 2, len: 1 },
        ],
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
        ("head_dim 16", step(heads(3, 1, 16), &[18])),
        ("head_dim 20", step(heads(4, 2, 20), &[12])),
        ("head_dim 72", step(heads(2, 2, 72), &[40])),
        ("head_dim 80", step(heads(4, 4, 80), &[31])),
        ("head_dim 96", step(heads(8, 1, 96), &[257])),
        ("F32 cache", stored(DType::F32)),
        ("F16 cache", stored(DType::F16)),
        ("BF16 cache", stored(DType::BF16)),
        ("swapped query", swapped),
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
            "smollm-135m, 8 rows of 512 positions",
            step(smollm, &[512; 8]),
        ),
    ];
    problems
        .into_iter()
        .map(|(name, problem)| Case::new(name, DecodeProblem(problem)))
        .collect()
}
