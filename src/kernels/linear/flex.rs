//! [`linear()`](super::linear()) on the CPU.
//!
//! Rows of the weight are dotted with rows of `x`, both in memory order, so the weight is read once
//! in its own type. A few rows of `x` are bound by that read; many are bound by arithmetic, and
//! there a block of the weight is widened and arranged once and meets them all from the cache.

mod few_rows;
mod many_rows;

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use super::{Activation, LinearEpilogue};
use crate::kernels::cpu::{
    self, Buffer, Bytes, HalfBytes, MatrixRows, RowKernel, Simd, StridedRows, Tier, activations,
    float_tensor, for_each_row, matrix_rows, no_kernel_for, packed_rows, with_element,
};
use crate::kernels::{LaunchRefused, Matrix, PackedType};

/// Rows of `x` up to which arranging the weight would cost more than it saves.
const MAX_FEW_ROWS: usize = 8;

/// `x weight^T` of two matrices whose rows are in memory order.
#[derive(Debug, Clone, Copy)]
struct Product<'a, W> {
    /// `[rows, in_features]`, in f32.
    x: StridedRows<'a, f32>,
    /// `[out_features, in_features]`
    weight: W,
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
    let [out_features, _] = weight.dims();
    let values = activations(x)?;
    let bias = epilogue.bias.as_ref().map(activations).transpose()?;
    let residual = epilogue.residual.as_ref().map(activations).transpose()?;
    let epilogue = Epilogue {
        bias: bias.as_deref(),
        activation: epilogue.activation,
        residual: residual
            .as_deref()
            .map(|residual| StridedRows::new(residual, out_features, [rows, out_features])),
    };
    let values = StridedRows::new(&values, in_features, [rows, in_features]);
    let y = match weight {
        Matrix::Float(weight) => with_element!(weight.dtype(), E => {
            multiply(tier, values, matrix_rows::<E>(weight)?, epilogue)
        }),
        Matrix::Packed(packed) => Some(match packed.packed_type() {
            PackedType::Q8 => multiply(tier, values, packed_rows::<Bytes>(packed)?, epilogue),
            PackedType::Q4 | PackedType::Q4WithMinimum => {
                multiply(tier, values, packed_rows::<HalfBytes>(packed)?, epilogue)
            }
        }),
    };
    let y = y.ok_or_else(|| no_kernel_for("a weight", weight.dtype()))?;
    Ok(float_tensor(y, [rows, out_features], x.dtype()))
}

/// `[rows, out_features]`, with what follows the product.
fn multiply<W: MatrixRows>(
    tier: Tier,
    x: StridedRows<'_, f32>,
    weight: W,
    epilogue: Epilogue<'_>,
) -> Buffer {
    let product = Product { x, weight };
    if product.x.count() <= MAX_FEW_ROWS || product.weight.size() == 0 {
        let mut y = few_rows::multiply(tier, product);
        if !epilogue.is_nothing() {
            for_each_row(tier, &mut y, product.weight.count(), &epilogue);
        }
        y
    } else {
        many_rows::multiply(tier, product, epilogue)
    }
}

/// Bias, activation and residual.
#[derive(Debug, Clone, Copy)]
struct Epilogue<'a> {
    /// `[out_features]`
    bias: Option<&'a [f32]>,
    activation: Activation,
    /// `[rows, out_features]`
    residual: Option<StridedRows<'a, f32>>,
}

impl Epilogue<'_> {
    fn is_nothing(&self) -> bool {
        self.bias.is_none() && self.residual.is_none() && self.activation == Activation::Identity
    }

    /// To some features of a row, from `first` on.
    #[inline(always)]
    fn apply(&self, y: &mut [f32], row: usize, first: usize) {
        if let Some(bias) = self.bias {
            add(y, &bias[first..first + y.len()]);
        }
        match self.activation {
            Activation::Identity => {}
            Activation::Gelu => y.iter_mut().for_each(|y| *y = cpu::gelu(*y)),
            Activation::GeluTanh => y.iter_mut().for_each(|y| *y = cpu::gelu_tanh(*y)),
            Activation::QuickGelu => y.iter_mut().for_each(|y| *y = cpu::quick_gelu(*y)),
            Activation::Relu => y.iter_mut().for_each(|y| *y = cpu::relu(*y)),
        }
        if let Some(residual) = self.residual {
            add(y, &residual.row(row)[first..first + y.len()]);
        }
    }
}

impl RowKernel for Epilogue<'_> {
    #[inline(always)]
    fn row<S: Simd>(&self, _: S, index: usize, row: &mut [f32]) {
        self.apply(row, index, 0);
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
