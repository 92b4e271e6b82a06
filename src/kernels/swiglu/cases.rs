//! Problems of [`swiglu()`](super::swiglu()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{NAME, reference};
use crate::kernels::VlmBackend;
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Work};

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases,
        bench_cases,
    }
}

#[derive(Debug, Clone, Copy)]
struct SwigluProblem {
    rows: usize,
    intermediate_size: usize,
    order: Order,
    scale: f32,
}

impl<B: VlmBackend> Problem<B> for SwigluProblem {
    type Inputs = FloatTensor<B>;

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let dims = [self.rows, 2 * self.intermediate_size];
        match self.order {
            Order::RowMajor => inputs.activations(dims, self.scale),
            Order::Swapped => inputs.in_order(dims, Order::Swapped),
        }
    }

    fn kernel(&self, gate_up: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_swiglu(gate_up))]
    }

    fn reference(&self, gate_up: Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(gate_up))]
    }

    fn work(&self, dtype: DType) -> Work {
        let elements = self.rows * self.intermediate_size;
        Work {
            bytes: dtype.size() * 3 * elements,
            flops: 5 * elements,
        }
    }
}

fn problem(rows: usize, intermediate_size: usize) -> SwigluProblem {
    SwigluProblem {
        rows,
        intermediate_size,
        order: Order::RowMajor,
        scale: 4.0,
    }
}

fn cases<B: VlmBackend>() -> Vec<Case<B>> {
    // SmolLM-135M and Vicuna-7B; then the edges.
    let shapes = [(1, 1536), (17, 1536), (1, 11008), (1, 1), (1, 33), (5, 577)];
    let plain = shapes.map(|(rows, size)| Case::new(format!("{rows}x{size}"), problem(rows, size)));
    let mut cases = Vec::from(plain);
    let transposed = SwigluProblem {
        order: Order::Swapped,
        ..problem(6, 64)
    };
    cases.push(Case::new("6x64, transposed", transposed));
    // The exponential of these overflows an f32; the answer does not.
    let large = SwigluProblem {
        scale: 200.0,
        ..problem(2, 256)
    };
    cases.push(Case::new("2x256, saturated gate", large));
    cases
}

fn bench_cases<B: VlmBackend>() -> Vec<Case<B>> {
    let shapes = [(1, 1536), (1, 11008), (256, 1536), (640, 11008)];
    let cases = shapes.map(|(rows, size)| Case::new(format!("{rows}x{size}"), problem(rows, size)));
    Vec::from(cases)
}
