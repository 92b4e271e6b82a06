//! [`rms_norm()`](super::rms_norm()) and [`add_rms_norm()`](super::add_rms_norm()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{Buffer, activations, float_tensor, for_each_row, sum_of_squares};

pub(in crate::kernels) fn run(
    x: &FlexTensor,
    weight: &FlexTensor,
    epsilon: f64,
) -> Result<FlexTensor, LaunchRefused> {
    let values = Buffer::copy_of(&activations(x)?);
    let normed = normalise(values, &activations(weight)?, epsilon);
    Ok(float_tensor(normed, x.shape(), x.dtype()))
}

pub(in crate::kernels) fn run_add(
    x: &FlexTensor,
    residual: &FlexTensor,
    weight: &FlexTensor,
    epsilon: f64,
) -> Result<(FlexTensor, FlexTensor), LaunchRefused> {
    let mut values = Buffer::copy_of(&activations(x)?);
    for (value, residual) in values.iter_mut().zip(&*activations(residual)?) {
        *value += residual;
    }
    let sum = float_tensor(values, x.shape(), x.dtype());
    // Of the sum as it is stored: what is normalised is what the next layer adds to.
    let normed = run(&sum, weight, epsilon)?;
    Ok((sum, normed))
}

fn normalise(mut x: Buffer, weight: &[f32], epsilon: f64) -> Buffer {
    let hidden_size = weight.len();
    for_each_row(&mut x, hidden_size, |row| {
        let mean = sum_of_squares(row, 0.0) / hidden_size as f32;
        let rms = (mean + epsilon as f32).sqrt();
        for (value, weight) in row.iter_mut().zip(weight) {
            *value = *value / rms * weight;
        }
    });
    x
}
