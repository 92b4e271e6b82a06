//! What happens to a product on its way out.

use cubecl::prelude::*;

use crate::kernels::linear::Activation;

/// Stores `activation(product + bias) + residual` at `[row, column]` of the contiguous `y`.
#[cube]
pub(super) fn finish<E: Float, P: Float>(
    product: f32,
    row: usize,
    column: usize,
    bias: &ComptimeOption<Tensor<P>>,
    residual: &ComptimeOption<Tensor<E>>,
    y: &mut Tensor<E>,
    #[comptime] activation: Activation,
) {
    let mut value = product;
    #[comptime]
    match bias {
        ComptimeOption::Some(bias) => {
            value += f32::cast_from(bias[column * bias.stride(0)]);
        }
        ComptimeOption::None => {}
    }
    value = activate(value, activation);
    #[comptime]
    match residual {
        ComptimeOption::Some(residual) => {
            let at = row * residual.stride(0) + column * residual.stride(1);
            value += f32::cast_from(residual[at]);
        }
        ComptimeOption::None => {}
    }
    y[row * y.shape(1) + column] = E::cast_from(value);
}

#[cube]
fn activate(x: f32, #[comptime] activation: Activation) -> f32 {
    match comptime!(activation) {
        Activation::Identity => x,
        Activation::Gelu => {
            let scaled = x * comptime!(std::f32::consts::FRAC_1_SQRT_2);
            0.5f32 * x * (1.0f32 + Erf::erf(scaled))
        }
        Activation::GeluTanh => {
            // 0.5 (1 + tanh(u)) is sigmoid(2 u), which cannot overflow into infinity over infinity.
            let inner = x + 0.044715f32 * x * x * x;
            x * sigmoid(comptime!(2.0 * gelu_scale()) * inner)
        }
        Activation::QuickGelu => x * sigmoid(1.702f32 * x),
        // No `max`, which WGSL lets swallow a NaN.
        Activation::Relu => select(x < 0.0f32, 0.0f32, x),
    }
}

/// sqrt(2 / pi)
fn gelu_scale() -> f32 {
    (std::f64::consts::FRAC_2_PI).sqrt() as f32
}

#[cube]
fn sigmoid(x: f32) -> f32 {
    1.0f32 / (1.0f32 + (-x).exp())
}
