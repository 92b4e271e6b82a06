//! What a kernel folder says about one of its problems.

use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorMetadata};

use super::{HostTensor, Inputs, OutputKind};
use crate::kernels::{VlmBackend, tensor};

/// The least that any implementation of a problem must do, for shares of the roofline.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Work {
    /// Bytes read and written.
    pub bytes: usize,
    /// Floating-point operations, a multiply-add counting as two.
    pub flops: usize,
}

/// A way to solve a problem from its arguments.
pub type Solve<P, B> = fn(&P, <P as Problem<B>>::Inputs) -> Vec<Output<B>>;

/// A problem that a kernel and its reference solve from the same inputs.
///
/// Implement it for a kernel of your own: [`Case::new`](super::Case::new) makes of it what the tests
/// and the [bench](crate::kernels::bench) take.
pub trait Problem<B: VlmBackend>: Sized + 'static {
    /// The arguments of the operation.
    type Inputs: Clone + 'static;

    /// Makes the arguments.
    fn inputs(&self, inputs: &Inputs<'_, B>) -> Self::Inputs;

    /// Answers through the kernel, which is a method of [`VlmBackend`] or one's own.
    fn kernel(&self, inputs: Self::Inputs) -> Vec<Output<B>>;

    /// Answers through the reference body.
    fn reference(&self, inputs: Self::Inputs) -> Vec<Output<B>>;

    /// The bytes and operations, for activations of `dtype`.
    fn work(&self, dtype: DType) -> Work;

    /// Types of its own that it stores tensors in.
    fn stored(&self) -> Vec<DType> {
        Vec::new()
    }

    /// Other ways to the same answers for activations of `dtype`, by name: Burn's own operation, say.
    /// They are timed beside the kernel.
    fn rivals(&self, _dtype: DType) -> Vec<(&'static str, Solve<Self, B>)> {
        Vec::new()
    }

    /// Solves the problem once and gives the arguments back for another run. An operation in place,
    /// which nobody else may hold the target of, takes it from the outputs.
    fn step(&self, inputs: Self::Inputs, solve: Solve<Self, B>) -> Self::Inputs {
        solve(self, inputs.clone());
        inputs
    }
}

/// What an operation returned, still on the device.
pub enum Output<B: VlmBackend> {
    /// Numbers.
    Float(FloatTensor<B>),
    /// Token ids.
    Index(IntTensor<B>),
}

impl<B: VlmBackend> Output<B> {
    /// # Panics
    /// If it is token ids.
    pub(in crate::kernels) fn into_float(self) -> FloatTensor<B> {
        match self {
            Self::Float(output) => output,
            Self::Index(_) => panic!("numbers are expected, and these are token ids"),
        }
    }

    /// Brings it to the host.
    pub(super) fn read(self) -> HostTensor {
        let (shape, data, kind) = match self {
            Self::Float(output) => {
                let shape = output.shape();
                let flat = B::float_reshape(output, [shape.num_elements()].into());
                (shape, tensor::<B, 1>(flat).into_data(), OutputKind::Float)
            }
            Self::Index(output) => {
                let shape = output.shape();
                let flat = B::int_reshape(output, [shape.num_elements()].into());
                let flat = Tensor::<B, 1, Int>::from_primitive(flat);
                (shape, flat.into_data(), OutputKind::Index)
            }
        };
        HostTensor {
            shape: shape.to_vec(),
            values: data.iter::<f32>().collect(),
            kind,
        }
    }
}
