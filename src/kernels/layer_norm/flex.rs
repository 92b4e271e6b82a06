//! [`layer_norm()`](super::layer_norm()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{Buffer, activations, float_tensor, for_each_row, sum, sum_of_squares};

pub(in crate::kernels) fn run(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    epsilon: f64,
) -> Result<FlexTensor, LaunchRefused> {
    let mut values = Buffer::copy_of(&activations(x)?);
    let (weight, bias) = (activations(weight)?, activations(bias)?);
    let hidden_size = weight.len();
    for_each_row(&mut values, hidden_size, |row| {
        let mean = sum(row) / hidden_size as f32;
        // In two passes: the difference of two large sums would lose a small variance.
        let variance = sum_of_squares(row, mean) / hidden_size as f32;
        let deviation = (variance + epsilon as f32).sqrt();
        for ((value, weight), bias) in row.iter_mut().zip(&*weight).zip(&*bias) {
            *value = (*value - mean) / deviation * weight + bias;
        }
    });
    Ok(float_tensor(values, x.shape(), x.dtype()))
}
