//! The matrices of a model, in whatever they are stored.

use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, Tensor, TensorMetadata};

/// What Burn calls the module whose parameters are matrices, to whoever walks through a model.
///
/// The loader, which knows no module, tells by it what may be kept in less than an f32.
pub(crate) const MATRIX_MODULE: &str = "Weight";

/// A matrix `[rows, columns]` as a model stores it: the weight of a linear layer, or a table.
///
/// Kernels read it as it lies, a row at a time, and widen what they read to f32.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Matrix<T> {
    /// In f32, f16 or bf16, whatever the activations are in.
    Float(T),
}

/// A matrix as the methods of [`VlmBackend`](super::VlmBackend) take it.
pub type MatrixPrimitive<B> = Matrix<FloatTensor<B>>;

/// A matrix as the tensor-level functions take it.
pub type MatrixTensor<B> = Matrix<Tensor<B, 2>>;

impl<T> Matrix<T> {
    /// The same matrix over another tensor type.
    pub fn map<U>(self, change: impl FnOnce(T) -> U) -> Matrix<U> {
        match self {
            Self::Float(numbers) => Matrix::Float(change(numbers)),
        }
    }
}

impl<T: TensorMetadata> Matrix<T> {
    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Float(numbers) => numbers.shape().dims(),
        }
    }

    /// The type of the stored numbers.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Float(numbers) => numbers.dtype(),
        }
    }
}

impl<B: Backend> From<Tensor<B, 2>> for MatrixTensor<B> {
    fn from(numbers: Tensor<B, 2>) -> Self {
        Self::Float(numbers)
    }
}

/// The numbers of a matrix, for the reference bodies.
pub(super) fn numbers<B: Backend>(matrix: MatrixPrimitive<B>) -> Tensor<B, 2> {
    match matrix {
        Matrix::Float(numbers) => super::tensor(numbers),
    }
}
