//! The matrices of a model, in whatever they are stored.

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Int, Tensor, TensorMetadata};

use super::packed::{PackedMatrix, unpack};
use super::{primitive, tensor};

/// What Burn calls the module whose parameters are matrices, to whoever walks through a model.
///
/// The loader, which knows no module, tells by it what may be kept in less than an f32.
pub(crate) const MATRIX_MODULE: &str = "Weight";

/// What Burn calls a decoder, and the field with its layers: the matrices that are read for every
/// token, which the loader packs where it is asked to.
pub(crate) const DECODER_MODULE: &str = "LlamaDecoder";
/// See [`DECODER_MODULE`].
pub(crate) const DECODER_LAYERS: &str = "layers";

/// A matrix `[rows, columns]` as a model stores it: the weight of a linear layer, or a table.
///
/// Kernels read it as it lies, a row at a time, and widen what they read to f32. Floats are a `T`,
/// integers an `I`.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum Matrix<T, I = T> {
    /// In f32, f16 or bf16, whatever the activations are in.
    Float(T),
    /// In a few bits an element.
    Packed(PackedMatrix<T, I>),
}

/// A matrix as the methods of [`VlmBackend`](super::VlmBackend) take it.
pub type MatrixPrimitive<B> = Matrix<FloatTensor<B>, IntTensor<B>>;

/// A matrix as the tensor-level functions take it.
pub type MatrixTensor<B> = Matrix<Tensor<B, 2>, Tensor<B, 2, Int>>;

impl<T: TensorMetadata, I: TensorMetadata> Matrix<T, I> {
    /// Rows and columns.
    pub fn dims(&self) -> [usize; 2] {
        match self {
            Self::Float(numbers) => numbers.shape().dims(),
            Self::Packed(packed) => packed.dims(),
        }
    }

    /// The type of the stored numbers; of the scales where codes are stored.
    pub fn dtype(&self) -> DType {
        match self {
            Self::Float(numbers) => numbers.dtype(),
            Self::Packed(packed) => packed.numbers.dtype(),
        }
    }
}

impl<B: Backend> MatrixTensor<B> {
    /// The matrix as the methods take it.
    pub(crate) fn into_primitive(self) -> MatrixPrimitive<B> {
        match self {
            Self::Float(numbers) => Matrix::Float(primitive(numbers)),
            Self::Packed(PackedMatrix { codes, numbers }) => {
                let codes = codes.into_primitive();
                Matrix::Packed(PackedMatrix::new(codes, primitive(numbers)))
            }
        }
    }

    /// The matrix as the reference bodies read it.
    pub(super) fn from_primitive(matrix: MatrixPrimitive<B>) -> Self {
        match matrix {
            Matrix::Float(numbers) => Self::Float(tensor(numbers)),
            Matrix::Packed(PackedMatrix { codes, numbers }) => {
                let codes = Tensor::from_primitive(codes);
                Self::Packed(PackedMatrix::new(codes, tensor(numbers)))
            }
        }
    }

    /// Where it is.
    pub(super) fn device(&self) -> B::Device {
        match self {
            Self::Float(numbers) | Self::Packed(PackedMatrix { numbers, .. }) => numbers.device(),
        }
    }

    /// Some of its rows.
    pub(super) fn select(&self, rows: Tensor<B, 1, Int>) -> Self {
        match self.clone() {
            Self::Float(numbers) => Self::Float(numbers.select(0, rows)),
            Self::Packed(PackedMatrix { codes, numbers }) => {
                let codes = codes.select(0, rows.clone());
                Self::Packed(PackedMatrix::new(codes, numbers.select(0, rows)))
            }
        }
    }

    /// Its elements as floats.
    pub(crate) fn widened(self) -> Tensor<B, 2> {
        match self {
            Self::Float(numbers) => numbers,
            Self::Packed(PackedMatrix { codes, numbers }) => unpack(codes, numbers),
        }
    }
}

impl<B: Backend> From<Tensor<B, 2>> for MatrixTensor<B> {
    fn from(numbers: Tensor<B, 2>) -> Self {
        Self::Float(numbers)
    }
}
