use burn::tensor::activation::{gelu, relu, sigmoid};
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Tensor, TensorMetadata};

use super::{Activation, LinearEpilogue};
use crate::kernels::{MatrixPrimitive, MatrixTensor, primitive, tensor};

pub(crate) fn run<B: Backend>(
    x: FloatTensor<B>,
    weight: MatrixPrimitive<B>,
    epilogue: LinearEpilogue<FloatTensor<B>>,
) -> FloatTensor<B> {
    let dtype = x.dtype();
    let x = tensor::<B, 2>(x);
    let weight = MatrixTensor::<B>::from_primitive(weight)
        .widened()
        .cast(dtype);
    let epilogue = epilogue.map(|part| tensor_like::<B>(part, dtype));
    let mut y = x.matmul(weight.transpose());
    if let Some(bias) = epilogue.bias {
        y = y + bias;
    }
    y = activate(y, epilogue.activation);
    if let Some(residual) = epilogue.residual {
        y = y + residual;
    }
    primitive(y)
}

/// A bias as one broadcastable row, a residual as it is; both in the type of the product.
fn tensor_like<B: Backend>(part: FloatTensor<B>, dtype: burn::tensor::DType) -> Tensor<B, 2> {
    let part = match part.rank() {
        1 => tensor::<B, 1>(part).unsqueeze(),
        _ => tensor::<B, 2>(part),
    };
    part.cast(dtype)
}

pub(super) fn activate<B: Backend>(x: Tensor<B, 2>, activation: Activation) -> Tensor<B, 2> {
    match activation {
        Activation::Identity => x,
        Activation::Gelu => gelu(x),
        Activation::GeluTanh => {
            // sqrt(2 / pi), as in `gelu_pytorch_tanh`.
            let inner = x.clone() + x.clone().powi_scalar(3).mul_scalar(0.044715);
            let scaled = inner.mul_scalar(std::f64::consts::FRAC_2_SQRT_PI / 2f64.sqrt());
            x.mul_scalar(0.5) * scaled.tanh().add_scalar(1.0)
        }
        Activation::QuickGelu => x.clone() * sigmoid(x.mul_scalar(1.702)),
        Activation::Relu => relu(x),
    }
}
