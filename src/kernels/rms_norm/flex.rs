//! [`rms_norm()`](super::rms_norm()) and [`add_rms_norm()`](super::add_rms_norm()) on the CPU.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{
    Buffer, Kernel, MIN_ELEMENTS_PER_TASK, RowKernel, Simd, Tier, activations, float_tensor,
    for_each_row, round_to, sum_of_squares,
};

pub(in crate::kernels) fn run(
    x: &FlexTensor,
    weight: &FlexTensor,
    epsilon: f64,
) -> Result<FlexTensor, LaunchRefused> {
    let (values, weight) = (activations(x)?, activations(weight)?);
    let mut normed = Buffer::of_len(values.len());
    let kernel = Normalise {
        x: &values,
        weight: &weight,
        epsilon: epsilon as f32,
    };
    for_each_row(Tier::best(), &mut normed, weight.len(), &kernel);
    Ok(float_tensor(normed, x.shape(), x.dtype()))
}

pub(in crate::kernels) fn run_add(
    x: &FlexTensor,
    residual: &FlexTensor,
    weight: &FlexTensor,
    epsilon: f64,
) -> Result<(FlexTensor, FlexTensor), LaunchRefused> {
    let (values, residual) = (activations(x)?, activations(residual)?);
    let weight = activations(weight)?;
    let mut sum = Buffer::of_len(values.len());
    let mut normed = Buffer::of_len(values.len());
    let hidden_size = weight.len().max(1);
    let task = MIN_ELEMENTS_PER_TASK.div_ceil(hidden_size) * hidden_size;
    let inputs = values.par_chunks(task).zip(residual.par_chunks(task));
    let outputs = sum.par_chunks_mut(task).zip(normed.par_chunks_mut(task));
    let (tier, dtype) = (Tier::best(), x.dtype());
    inputs
        .zip(outputs)
        .for_each(|((x, residual), (sum, normed))| {
            tier.run(AddRows {
                x,
                residual,
                weight: &weight,
                epsilon: epsilon as f32,
                dtype,
                sum,
                normed,
            });
        });
    let tensor = |values| float_tensor(values, x.shape(), dtype);
    Ok((tensor(sum), tensor(normed)))
}

struct Normalise<'a> {
    x: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
}

impl RowKernel for Normalise<'_> {
    #[inline(always)]
    fn row<S: Simd>(&self, _: S, index: usize, row: &mut [f32]) {
        let size = row.len();
        let x = &self.x[index * size..][..size];
        normalise(x, self.weight, self.epsilon, row);
    }
}

#[inline(always)]
fn normalise(x: &[f32], weight: &[f32], epsilon: f32, normed: &mut [f32]) {
    let mean = sum_of_squares(x, 0.0) / x.len() as f32;
    let scale = 1.0 / (mean + epsilon).sqrt();
    for (normed, (x, weight)) in normed.iter_mut().zip(x.iter().zip(weight)) {
        *normed = *x * scale * weight;
    }
}

/// Some rows.
struct AddRows<'a> {
    x: &'a [f32],
    residual: &'a [f32],
    weight: &'a [f32],
    epsilon: f32,
    /// What the sums are stored in.
    dtype: DType,
    sum: &'a mut [f32],
    normed: &'a mut [f32],
}

impl Kernel for AddRows<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _: S) {
        let size = self.weight.len();
        let inputs = self
            .x
            .chunks_exact(size)
            .zip(self.residual.chunks_exact(size));
        let outputs = self
            .sum
            .chunks_exact_mut(size)
            .zip(self.normed.chunks_exact_mut(size));
        for ((x, residual), (sum, normed)) in inputs.zip(outputs) {
            for (sum, (x, residual)) in sum.iter_mut().zip(x.iter().zip(residual)) {
                *sum = x + residual;
            }
            // What is normalised is what the next layer adds to.
            round_to(self.dtype, sum);
            normalise(sum, self.weight, self.epsilon, normed);
        }
    }
}
