//! Problems of [`rms_norm()`](super::rms_norm()) and [`add_rms_norm()`](super::add_rms_norm()).

use burn::tensor::DType;
use burn::tensor::ops::FloatTensor;

use super::{ADD_NAME, NAME, reference};
use crate::kernels::VlmBackend;
use crate::kernels::cases::{Case, Inputs, KernelEntry, Order, Output, Problem, Work};

const EPSILON: f64 = 1e-5;

/// `[rows, hidden_size]` of SmolLM-135M, of a slice of Vicuna-7B, of the edges.
const SHAPES: [[usize; 2]; 8] = [
    [1, 576],
    [17, 576],
    [3, 4096],
    [1, 1],
    [1, 33],
    [5, 577],
    [2, 2049],
    [64, 80],
];

pub(in crate::kernels) const fn entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: NAME,
        cases: cases::<B, Norm>,
        bench_cases: bench_cases::<B, Norm>,
    }
}

pub(in crate::kernels) const fn add_entry<B: VlmBackend>() -> KernelEntry<B> {
    KernelEntry {
        name: ADD_NAME,
        cases: cases::<B, AddNorm>,
        bench_cases: bench_cases::<B, AddNorm>,
    }
}

#[derive(Debug, Clone, Copy)]
struct Shape {
    dims: [usize; 2],
    order: Order,
    /// Multiplies the activations: residual streams grow large.
    scale: f32,
}

struct Norm(Shape);

struct AddNorm(Shape);

impl From<Shape> for Norm {
    fn from(shape: Shape) -> Self {
        Self(shape)
    }
}

impl From<Shape> for AddNorm {
    fn from(shape: Shape) -> Self {
        Self(shape)
    }
}

impl Shape {
    fn x<B: VlmBackend>(&self, inputs: &Inputs<'_, B>) -> FloatTensor<B> {
        match self.order {
            Order::RowMajor => inputs.activations(self.dims, self.scale),
            Order::Swapped => inputs.in_order(self.dims, Order::Swapped),
        }
    }

    /// `num_tensors` of this shape and a weight move; a row takes four operations an element.
    fn work(&self, dtype: DType, num_tensors: usize) -> Work {
        let [rows, hidden_size] = self.dims;
        Work {
            bytes: dtype.size() * (num_tensors * rows + 1) * hidden_size,
            flops: 4 * rows * hidden_size,
        }
    }
}

impl<B: VlmBackend> Problem<B> for Norm {
    type Inputs = (FloatTensor<B>, FloatTensor<B>);

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let [_, hidden_size] = self.0.dims;
        (self.0.x(inputs), inputs.activations([hidden_size], 1.0))
    }

    fn kernel(&self, (x, weight): Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(B::vlm_rms_norm(x, weight, EPSILON))]
    }

    fn reference(&self, (x, weight): Self::Inputs) -> Vec<Output<B>> {
        vec![Output::Float(reference::run::<B>(x, weight, EPSILON))]
    }

    fn work(&self, dtype: DType) -> Work {
        self.0.work(dtype, 2)
    }
}

impl<B: VlmBackend> Problem<B> for AddNorm {
    type Inputs = [FloatTensor<B>; 3];

    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs {
        let [_, hidden_size] = self.0.dims;
        [
            self.0.x(inputs),
            self.0.x(inputs),
            inputs.activations([hidden_size], 1.0),
        ]
    }

    fn kernel(&self, [x, residual, weight]: Self::Inputs) -> Vec<Output<B>> {
        let (sum, normed) = B::vlm_add_rms_norm(x, residual, weight, EPSILON);
        vec![Output::Float(sum), Output::Float(normed)]
    }

    fn reference(&self, [x, residual, weight]: Self::Inputs) -> Vec<Output<B>> {
        let (sum, normed) = reference::run_add::<B>(x, residual, weight, EPSILON);
        vec![Output::Float(sum), Output::Float(normed)]
    }

    fn work(&self, dtype: DType) -> Work {
        self.0.work(dtype, 4)
    }
}

fn cases<B: VlmBackend, P: Problem<B> + From<Shape>>() -> Vec<Case<B>> {
    let shape = |dims| Shape {
        dims,
        order: Order::RowMajor,
        scale: 1.0,
    };
    let plain = SHAPES.map(|dims| {
        let [rows, hidden_size] = dims;
        Case::new(format!("{rows}x{hidden_size}"), P::from(shape(dims)))
    });
    let mut cases = Vec::from(plain);
    let transposed = Shape {
        order: Order::Swapped,
        ..shape([6, 64])
    };
    cases.push(Case::new("6x64, transposed x", P::from(transposed)));
    // Squares of these exceed an f16.
    let large = Shape {
        scale: 1000.0,
        ..shape([4, 576])
    };
    cases.push(Case::new("4x576, large", P::from(large)));
    // Here the epsilon outweighs the squares.
    let small = Shape {
        scale: 1e-3,
        ..shape([4, 576])
    };
    cases.push(Case::new("4x576, small", P::from(small)));
    cases
}

fn bench_cases<B: VlmBackend, P: Problem<B> + From<Shape>>() -> Vec<Case<B>> {
    let shapes = [[1, 576], [1, 4096], [256, 576], [640, 4096]];
    let cases = shapes.map(|dims| {
        let [rows, hidden_size] = dims;
        let shape = Shape {
            dims,
            order: Order::RowMajor,
            scale: 1.0,
        };
        Case::new(format!("{rows}x{hidden_size}"), P::from(shape))
    });
    Vec::from(cases)
}
