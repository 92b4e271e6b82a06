use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, TensorMetadata};

use crate::kernels::{primitive, tensor};

pub(crate) fn run<B: Backend>(gate: FloatTensor<B>, up: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = gate.dtype();
    let gate = tensor::<B, 2>(gate).cast(DType::F32);
    let up = tensor::<B, 2>(up).cast(DType::F32);
    primitive((silu(gate) * up).cast(dtype))
}
