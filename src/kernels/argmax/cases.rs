//! Problems of [`argmax()`](super::argmax()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, reference};
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Solve, Work};
use crate::kernels::{VlmBackend, tensor};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone)]
struct ArgmaxProblem {
    rows: usize,
    vocab_size: usize,
    order: Order,
    /// Every logit that is not random: `(row, id, logit)`.
    set: Vec<(usize, usize, f32)>,
}

impl<B: VlmBackend> Problem<B> for ArgmaxProblem {
    type Inputs = FloatTensor<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let dims = [self.rows, self.vocab_size];
        if self.order == Order::Swapped {
            return inputs.in_order(dims, Order::Swapped);
        }
        let mut logits = inputs.numbers(self.rows * self.vocab_size, 8.0);
        for (row, id, logit) in &self.set {
            logits[row * self.vocab_size + id] = *logit;
        }
        inputs.values(logits, dims, None)
    }

    fn kernel(&self, logits: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Index(B::vlm_argmax(logits))]
    }

    fn reference(&self, logits: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Index(reference::run::<B>(logits))]
    }

    fn rivals(&self, _: DType) -> Vec<(&'static str, Solve<Self, B>)> {
        let burn: Solve<Self, B> = |problem, logits| {
            let ids = tensor::<B, 2>(logits).argmax(1).reshape([problem.rows]);
            vec![Output::Index(ids.into_primitive())]
        };
        vec![("Burn's argmax", burn)]
    }

    fn work(&self, dtype: DType) -> Work {
        let logits = self.rows * self.vocab_size;
        Work {
            bytes: dtype.size() * logits,
            flops: logits,
        }
    }
}

fn problem(rows: usize, vocab_size: usize) -> ArgmaxProblem {
    ArgmaxProblem {
        rows,
        vocab_size,
        order: Order::RowMajor,
        set: Vec::new(),
    }
}

fn with(rows: usize, vocab_size: usize, set: &[(usize, usize, f32)]) -> ArgmaxProblem {
    ArgmaxProblem {
        set: set.to_vec(),
        ..problem(rows, vocab_size)
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let forbidden = f32::NEG_INFINITY;
    let all_forbidden: Vec<_> = (0..40).map(|id| (1, id, forbidden)).collect();
    vec![
        Case::new("1x49152", problem(1, 49152)),
        Case::new("3x32000", problem(3, 32000)),
        Case::new("1x1", problem(1, 1)),
        Case::new("5x33", problem(5, 33)),
        Case::new(
            "2x1000, the last is largest",
            with(2, 1000, &[(0, 999, 9.0), (1, 999, 9.0)]),
        ),
        Case::new(
            "1x1000, a tie",
            with(1, 1000, &[(0, 997, 9.0), (0, 130, 9.0), (0, 131, 9.0)]),
        ),
        Case::new("2x1000, all equal", with(2, 1000, &equal(2, 1000))),
        Case::new("3x600, NaN in one row", with(3, 600, &[(1, 599, f32::NAN)])),
        Case::new(
            "3x600, NaN first",
            with(3, 600, &[(0, 0, f32::NAN), (2, 0, -f32::NAN)]),
        ),
        Case::new(
            "2x600, infinity in one row",
            with(2, 600, &[(0, 300, f32::INFINITY)]),
        ),
        Case::new(
            "2x600, forbidden tokens",
            with(2, 600, &[(0, 0, forbidden), (1, 599, forbidden)]),
        ),
        Case::new("2x40, one row all forbidden", with(2, 40, &all_forbidden)),
        Case::new(
            "6x64, transposed",
            ArgmaxProblem {
                order: Order::Swapped,
                ..problem(6, 64)
            },
        ),
    ]
}

fn equal(rows: usize, vocab_size: usize) -> Vec<(usize, usize, f32)> {
    (0..rows)
        .flat_map(|row| (0..vocab_size).map(move |id| (row, id, -0.5)))
        .collect()
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    vec![
        Case::new("1x49152", problem(1, 49152)),
        Case::new("1x151936", problem(1, 151_936)),
        Case::new("8x32000", problem(8, 32000)),
    ]
}
