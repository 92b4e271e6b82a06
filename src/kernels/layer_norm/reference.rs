use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{DType, TensorMetadata};

use crate::kernels::{primitive, tensor};

pub(crate) fn run<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = tensor::<B, 2>(x).cast(DType::F32);
    let weight = tensor::<B, 1>(weight).cast(DType::F32);
    let bias = tensor::<B, 1>(bias).cast(DType::F32);
    let centred = x.clone() - x.mean_dim(1);
    let deviation = centred
        .clone()
        .square()
        .mean_dim(1)
        .add_scalar(epsilon)
        .sqrt();
    primitive((centred / deviation * weight.unsqueeze() + bias.unsqueeze()).cast(dtype))
}
