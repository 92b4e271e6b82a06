//! Problems of [`sample()`](super::sample()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, SampleRow, reference};
use crate::kernels::VlmBackend;
use crate::kernels::cases::{Case, Inputs, KernelEntry, Output, Problem, Work};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

/// Every token may be drawn.
const PLAIN: SampleRow = SampleRow {
    temperature: 1.0,
    top_k: usize::MAX,
    top_p: 1.0,
    min_p: 0.0,
    uniform: 0.37,
};

/// What most chat models are served with.
const USUAL: SampleRow = SampleRow {
    temperature: 0.7,
    top_k: 50,
    top_p: 0.95,
    ..PLAIN
};

#[derive(Debug, Clone)]
struct SampleProblem {
    rows: Vec<SampleRow>,
    vocab_size: usize,
    /// Every logit that is not random: `(row, id, logit)`.
    set: Vec<(usize, usize, f32)>,
}

impl<B: VlmBackend> Problem<B> for SampleProblem {
    type Inputs = FloatTensor<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let mut logits = inputs.numbers(self.rows.len() * self.vocab_size, 8.0);
        for (row, id, logit) in &self.set {
            logits[row * self.vocab_size + id] = *logit;
        }
        inputs.values(logits, [self.rows.len(), self.vocab_size], None)
    }

    fn kernel(&self, logits: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Index(B::vlm_sample(logits, &self.rows))]
    }

    fn reference(&self, logits: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Index(reference::run::<B>(logits, &self.rows))]
    }

    fn work(&self, dtype: DType) -> Work {
        let logits = self.rows.len() * self.vocab_size;
        Work {
            bytes: dtype.size() * logits,
            flops: 4 * logits,
        }
    }
}

fn problem(rows: &[SampleRow], vocab_size: usize) -> SampleProblem {
    SampleProblem {
        rows: rows.to_vec(),
        vocab_size,
        set: Vec::new(),
    }
}

fn with(rows: &[SampleRow], vocab_size: usize, set: &[(usize, usize, f32)]) -> SampleProblem {
    SampleProblem {
        set: set.to_vec(),
        ..problem(rows, vocab_size)
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    let draws = [0.0, 0.2, 0.55, 0.999].map(|uniform| SampleRow { uniform, ..USUAL });
    let mixed = [
        PLAIN,
        SampleRow { top_k: 1, ..PLAIN },
        SampleRow {
            top_p: 1e-6,
            ..PLAIN
        },
        SampleRow {
            min_p: 1.0,
            ..PLAIN
        },
        SampleRow {
            min_p: 0.3,
            uniform: 0.8,
            ..PLAIN
        },
        SampleRow {
            top_k: 7,
            uniform: 0.61,
            ..PLAIN
        },
        SampleRow {
            top_p: 0.5,
            uniform: 0.61,
            ..PLAIN
        },
        SampleRow {
            temperature: 0.05,
            ..USUAL
        },
        SampleRow {
            temperature: 5.0,
            uniform: 0.9,
            ..PLAIN
        },
    ];
    let forbidden: Vec<_> = (0..40).map(|id| (1, id, f32::NEG_INFINITY)).collect();
    let few: Vec<_> = (3..40).map(|id| (0, id, f32::NEG_INFINITY)).collect();
    // The likeliest token is tied, so the border of top-k runs through equals.
    let tied: Vec<_> = (10..20).map(|id| (0, id, 9.0)).collect();
    let in_tie = SampleRow {
        top_k: 4,
        uniform: 0.6,
        ..PLAIN
    };
    vec![
        Case::new("1x49152, usual", problem(&[USUAL], 49152)),
        Case::new("4x2000, four draws", problem(&draws, 2000)),
        Case::new("9x500, a way each", problem(&mixed, 500)),
        Case::new("1x1", problem(&[PLAIN], 1)),
        Case::new(
            "1x33, the last of all",
            problem(
                &[SampleRow {
                    uniform: 0.99999,
                    ..PLAIN
                }],
                33,
            ),
        ),
        Case::new("1x200, a tie", with(&[in_tie], 200, &tied)),
        Case::new(
            "2x600, NaN in one row",
            with(&[USUAL, USUAL], 600, &[(1, 599, f32::NAN)]),
        ),
        Case::new(
            "2x600, infinity in one row",
            with(&[USUAL; 2], 600, &[(0, 5, f32::INFINITY)]),
        ),
        Case::new(
            "1x40, few are allowed",
            with(
                &[SampleRow {
                    uniform: 0.9999,
                    ..PLAIN
                }],
                40,
                &few,
            ),
        ),
        Case::new(
            "2x40, one row all forbidden",
            with(&[USUAL; 2], 40, &forbidden),
        ),
    ]
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    vec![
        Case::new("1x49152, usual", problem(&[USUAL], 49152)),
        Case::new("1x151936, usual", problem(&[USUAL], 151_936)),
        Case::new("1x49152, no filter", problem(&[PLAIN], 49152)),
        Case::new("8x32000, usual", problem(&[USUAL; 8], 32000)),
    ]
}
