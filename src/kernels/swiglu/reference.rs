use burn::tensor::TensorMetadata;
use burn::tensor::activation::silu;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use crate::kernels::{primitive, tensor, wide};

pub(crate) fn run<B: Backend>(gate_up: FloatTensor<B>) -> FloatTensor<B> {
    let dtype = gate_up.dtype();
    let gate_up = tensor::<B, 2>(gate_up).cast(wide(dtype));
    let [_, size] = gate_up.dims();
    let gate = gate_up.clone().slice_dim(1, 0..size / 2);
    let up = gate_up.slice_dim(1, size / 2..size);
    primitive((silu(gate) * up).cast(dtype))
}
