use burn::tensor::TensorMetadata;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use crate::kernels::{primitive, tensor, wide};

pub(crate) fn run<B: Backend>(
    x: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f64,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = tensor::<B, 2>(x).cast(wide(dtype));
    let weight = tensor::<B, 1>(weight).cast(wide(dtype));
    let rms = x.clone().square().mean_dim(1).add_scalar(epsilon).sqrt();
    primitive((x / rms * weight.unsqueeze()).cast(dtype))
}

pub(crate) fn run_add<B: Backend>(
    x: FloatTensor<B>,
    residual: FloatTensor<B>,
    weight: FloatTensor<B>,
    epsilon: f64,
) -> (FloatTensor<B>, FloatTensor<B>) {
    let sum = B::float_add(x, residual);
    (sum.clone(), run::<B>(sum, weight, epsilon))
}
