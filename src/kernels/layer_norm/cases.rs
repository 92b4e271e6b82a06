//! Problems of [`layer_norm()`](super::layer_norm()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, reference};
use crate::kernels::VlmBackend;
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Solve, Work};

const EPSILON: f64 = 1e-6;

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone, Copy)]
struct LayerNormProblem {
    rows: usize,
    hidden_size: usize,
    order: Order,
    /// Added to every element: a mean far from zero cancels badly.
    offset: f32,
}

impl<B: VlmBackend> Problem<B> for LayerNormProblem {
    type Inputs = [FloatTensor<B>; 3];

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let Self {
            rows,
            hidden_size,
            order,
            offset,
        } = *self;
        let x = match order {
            Order::RowMajor => {
                let mut values = inputs.numbers(rows * hidden_size, 1.0);
                values.iter_mut().for_each(|value| *value += offset);
                inputs.values(values, [rows, hidden_size], None)
            }
            Order::Swapped => inputs.in_order([rows, hidden_size], Order::Swapped),
        };
        let [weight, bias] = [(); 2].map(|()| inputs.activations([hidden_size], 1.0));
        [x, weight, bias]
    }

    fn kernel(&self, [x, weight, bias]: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_layer_norm(x, weight, bias, EPSILON))]
    }

    fn reference(&self, [x, weight, bias]: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(x, weight, bias, EPSILON))]
    }

    fn rivals(&self, _: DType) -> Vec<(&'static str, Solve<Self, B>)> {
        let burn: Solve<Self, B> = |_, [x, weight, bias]| {
            let normed = B::layer_norm(x, weight, Some(bias), EPSILON);
            vec![Output::Float(normed)]
        };
        vec![("Burn's layer_norm", burn)]
    }

    fn work(&self, dtype: DType) -> Work {
        Work {
            bytes: dtype.size() * (2 * self.rows + 2) * self.hidden_size,
            flops: 7 * self.rows * self.hidden_size,
        }
    }
}

fn problem(rows: usize, hidden_size: usize) -> LayerNormProblem {
    LayerNormProblem {
        rows,
        hidden_size,
        order: Order::RowMajor,
        offset: 0.0,
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    // CLIP ViT-L/14, SigLIP base, SigLIP so400m; then the edges.
    let shapes = [
        (9, 1024),
        (5, 768),
        (3, 1152),
        (1, 1024),
        (1, 2),
        (1, 33),
        (7, 577),
        (2, 2049),
    ];
    let plain = shapes.map(|(rows, hidden_size)| {
        Case::new(format!("{rows}x{hidden_size}"), problem(rows, hidden_size))
    });
    let mut cases = Vec::from(plain);
    let transposed = LayerNormProblem {
        order: Order::Swapped,
        ..problem(6, 64)
    };
    cases.push(Case::new("6x64, transposed x", transposed));
    let shifted = LayerNormProblem {
        offset: 16.0,
        ..problem(4, 768)
    };
    cases.push(Case::new("4x768, mean far from zero", shifted));
    cases
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let shapes = [(577, 1024), (1024, 768), (729, 1152)];
    let cases = shapes.map(|(rows, hidden_size)| {
        Case::new(format!("{rows}x{hidden_size}"), problem(rows, hidden_size))
    });
    Vec::from(cases)
}
