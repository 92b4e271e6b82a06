use burn::tensor::TensorMetadata;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use crate::kernels::{primitive, tensor, wide};

pub(crate) fn run<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    bias: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = tensor::<B, 2>(x).cast(wide(dtype));
    let weight = tensor::<B, 1>(weight).cast(wide(dtype));
    let bias = tensor::<B, 1>(bias).cast(wide(dtype));
    let centred = x.clone() - x.mean_dim(1);
    let deviation = centred
        .clone()
        .square()
        .mean_dim(1)
        .add_scalar(epsilon)
        .sqrt();
    primitive((centred / deviation * weight.unsqueeze() + bias.unsqueeze()).cast(dtype))
}
