//! [`layer_norm()`](super::layer_norm()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{
    Buffer, RowKernel, Simd, Tier, activations, float_tensor, for_each_row, sum, sum_of_squares,
};

pub(in crate::kernels) fn run(
    x: &FlexTensor,
    weight: &FlexTensor,
    bias: &FlexTensor,
    epsilon: f64,
) -> Result<FlexTensor, LaunchRefused> {
    let (values, weight, bias) = (activations(x)?, activations(weight)?, activations(bias)?);
    let mut normed = Buffer::of_len(values.len());
    let kernel = Normalise {
        x: &values,
        weight: &weight,
        bias: &bias,
        epsilon: epsilon as f32,
    };
    for_each_row(Tier::best(), &mut normed, weight.len(), &kernel);
    Ok(float_tensor(normed, x.shape(), x.dtype()))
}

struct Normalise<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    bias: &'a [f32],
    epsilon: f32,
}

impl RowKernel for Normalise<'_> {
    #[inline(always)]
    fn row<S: Simd>(&self, _: S, index: usize, row: &mut [f32]) {
        let size = row.len();
        let x = &self.x[index * size..][..size];
        let mean = sum(x) / size as f32;
        // In two passes: the difference of two large sums would lose a small variance.
        let variance = sum_of_squares(x, mean) / size as f32;
        let scale = 1.0 / (variance + self.epsilon).sqrt();
        let numbers = x.iter().zip(self.weight).zip(self.bias);
        for (normed, ((x, weight), bias)) in row.iter_mut().zip(numbers) {
            *normed = (*x - mean) * scale * weight + bias;
        }
    }
}
