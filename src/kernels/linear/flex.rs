//! [`linear()`](super::linear()) on the CPU.
//!
//! Rows of the weight are dotted with rows of `x`, both in memory order, so the weight is read once
//! in its own type. A few rows of `x` are bound by that read; many are bound by arithmetic, and
//! there a block of the weight is widened once and meets them all from the cache.

mod few_rows;
mod many_rows;

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use super::{Activation, LinearEpilogue};
use crate::kernels::cpu::{
    self, Element, Kernel, Simd, StridedRows, Tier, activations, float_tensor, no_kernel_for,
    with_element,
};
use crate::kernels::{LaunchRefused, Matrix};

/// Rows of `x` up to which the weight is widened anew for each four of them.
const MAX_FEW_ROWS: usize = 8;

/// `x weight^T` of two matrices whose rows are in memory order.
#[derive(Debug, Clone, Copy)]
struct Product<'a, E> {
    /// `[rows, in_features]`, in f32.
    x: StridedRows<'a, f32>,
    /// `[out_features, in_features]`
    weight: StridedRows<'a, E>,
}

pub(in crate::kernels) fn run(
    x: &FlexTensor,
    weight: &Matrix<FlexTensor>,
    epilogue: &LinearEpilogue<FlexTensor>,
) -> Result<FlexTensor, LaunchRefused> {
    run_on(Tier::best(), x, weight, epilogue)
}

fn run_on(
    tier: Tier,
    x: &FlexTensor,
    weight: &Matrix<FlexTensor>,
    epilogue: &LinearEpilogue<FlexTensor>,
) -> Result<FlexTensor, LaunchRefused> {
    let [rows, in_features] = x.shape().dims();
    let Matrix::Float(weight) = weight;
    let [out_features, _] = weight.shape().dims();
    let values = activations(x)?;
    let y = with_element!(weight.dtype(), E => multiply(tier, Product {
        x: StridedRows::new(&values, in_features, [rows, in_features]),
        weight: weight_rows::<E>(weight)?,
    }));
    let y = y.ok_or_else(|| no_kernel_for("a weight", weight.dtype()))?;
    let y = finish(tier, y, out_features, epilogue)?;
    Ok(float_tensor(y, [rows, out_features], x.dtype()))
}

/// The rows of a weight where they lie. One of another order is for the reference, which may
/// multiply a transposed view, where this kernel would have to copy it at every call.
fn weight_rows<E: Element>(weight: &FlexTensor) -> Result<StridedRows<'_, E>, LaunchRefused> {
    let layout = weight.layout();
    match *layout.strides() {
        [stride, 1] if stride >= 0 => {
            let storage = &weight.storage()[layout.start_offset()..];
            Ok(StridedRows::new(
                storage,
                stride.unsigned_abs(),
                weight.shape().dims(),
            ))
        }
        ref strides => Err(LaunchRefused::Scattered {
            operand: "a weight",
            strides: strides.to_vec(),
        }),
    }
}

/// `[rows, out_features]`
fn multiply<E: Element>(tier: Tier, product: Product<'_, E>) -> Vec<f32> {
    if product.x.count() <= MAX_FEW_ROWS {
        few_rows::multiply(tier, product)
    } else {
        many_rows::multiply(tier, product)
    }
}

/// Bias, activation and residual.
fn finish(
    tier: Tier,
    mut y: Vec<f32>,
    out_features: usize,
    epilogue: &LinearEpilogue<FlexTensor>,
) -> Result<Vec<f32>, LaunchRefused> {
    let bias = epilogue.bias.as_ref().map(activations).transpose()?;
    let residual = epilogue.residual.as_ref().map(activations).transpose()?;
    if bias.is_none() && residual.is_none() && epilogue.activation == Activation::Identity {
        return Ok(y);
    }
    // Whole rows, several to a task where they are short.
    let chunk = out_features.max(1) * cpu::MIN_ELEMENTS_PER_TASK.div_ceil(out_features.max(1));
    y.par_chunks_mut(chunk).enumerate().for_each(|(index, y)| {
        let start = index * chunk;
        let residual = residual
            .as_deref()
            .map(|residual| &residual[start..start + y.len()]);
        let bias = bias.as_deref();
        tier.run(Finish {
            y,
            out_features,
            bias,
            activation: epilogue.activation,
            residual,
        });
    });
    Ok(y)
}

struct Finish<'a> {
    y: &'a mut [f32],
    out_features: usize,
    bias: Option<&'a [f32]>,
    activation: Activation,
    residual: Option<&'a [f32]>,
}

impl Kernel for Finish<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        if let Some(bias) = self.bias {
            for row in self.y.chunks_exact_mut(self.out_features) {
                add(row, bias);
            }
        }
        match self.activation {
            Activation::Identity => {}
            Activation::Gelu => self.y.iter_mut().for_each(|y| *y = cpu::gelu(*y)),
            Activation::GeluTanh => self.y.iter_mut().for_each(|y| *y = cpu::gelu_tanh(*y)),
            Activation::QuickGelu => self.y.iter_mut().for_each(|y| *y = cpu::quick_gelu(*y)),
        }
        if let Some(residual) = self.residual {
            add(self.y, residual);
        }
    }
}

#[inline(always)]
fn add(y: &mut [f32], x: &[f32]) {
    for (y, x) in y.iter_mut().zip(x) {
        *y += x;
    }
}

#[cfg(test)]
mod tests;
