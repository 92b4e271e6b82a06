//! Two kernels: one that streams the weights past a few rows, one that tiles many rows.
//!
//! Burn's own matmul multiplies f32 as TF32 on CUDA unless it is tuned, and needs the weights in the
//! type of the activations; here products are f32 whatever the weights are stored in.

mod epilogue;
mod few_rows;
mod strategy;
mod tiled;

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use strategy::{LinearKernel, LinearStrategy};

use super::{Activation, LinearEpilogue};
use crate::kernels::cube::stored::StoredMatrix;
use crate::kernels::launch::{DeviceProperties, Operand, output};
use crate::kernels::{LaunchRefused, Matrix};

/// What either kernel reads and writes.
struct Operands<R: CubeRuntime> {
    x: CubeTensor<R>,
    weight: StoredMatrix<R>,
    bias: Option<CubeTensor<R>>,
    activation: Activation,
    residual: Option<CubeTensor<R>>,
    y: CubeTensor<R>,
}

impl<R: CubeRuntime> Operands<R> {
    /// Both matrices in vectors of at most `max_width` elements, and a new output.
    ///
    /// # Errors
    /// If the device cannot read or write them.
    fn new(
        x: &CubeTensor<R>,
        weight: &Matrix<CubeTensor<R>>,
        epilogue: &LinearEpilogue<CubeTensor<R>>,
        max_width: usize,
    ) -> Result<Self, LaunchRefused> {
        let [rows, _] = x.shape().dims();
        let [out_features, _] = weight.dims();
        let LinearEpilogue {
            bias,
            activation,
            residual,
        } = epilogue.clone();
        let operands = Self {
            weight: StoredMatrix::new(weight, x, max_width)?,
            y: output(x, [rows, out_features].into(), x.dtype),
            x: x.clone(),
            bias,
            activation,
            residual,
        };
        operands.check()?;
        Ok(operands)
    }

    fn check(&self) -> Result<(), LaunchRefused> {
        let operands = [&self.x, &self.weight.tensor, &self.y].into_iter();
        let operands = operands.chain(&self.weight.numbers);
        let operands = operands.chain(&self.bias).chain(&self.residual);
        let operands: Vec<_> = operands.map(Operand::from).collect();
        DeviceProperties::of(&self.x.client).check_operands(&operands)
    }

    /// The type of the bias; where there is none, any will do.
    fn bias_dtype(&self) -> DType {
        self.bias.as_ref().map_or(self.x.dtype, |bias| bias.dtype)
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    weight: &Matrix<CubeTensor<R>>,
    epilogue: &LinearEpilogue<CubeTensor<R>>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    if epilogue
        .residual
        .as_ref()
        .is_some_and(|residual| residual.dtype != x.dtype)
    {
        let operands = "x and residual";
        return Err(LaunchRefused::TypesDiffer { operands });
    }
    let [rows, _] = x.shape().dims();
    let [out_features, _] = weight.dims();
    let device = DeviceProperties::of(&x.client);
    let LinearStrategy { kernel, grid } = LinearStrategy::choose([rows, out_features], &device)?;
    match kernel {
        LinearKernel::FewRows { kernel_rows } => {
            few_rows::launch(x, weight, epilogue, kernel_rows, grid)
        }
        LinearKernel::Tiled => tiled::launch(x, weight, epilogue, grid),
    }
}
