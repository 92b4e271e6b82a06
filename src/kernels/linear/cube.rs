//! Two kernels: one that streams the weights past a few rows, one that tiles many rows.
//!
//! Burn's own matmul multiplies f32 as TF32 on CUDA unless it is tuned, and needs the weights in the
//! type of the activations; here products are f32 whatever the weights are stored in.

mod epilogue;
mod few_rows;
mod tiled;

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::{CubeCount, CubeDim};

use super::{Activation, LinearEpilogue};
use crate::kernels::LaunchRefused;
use crate::kernels::cube::stored::StoredMatrix;
use crate::kernels::launch::{Grid, output, refuse};

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
    fn new(
        x: &CubeTensor<R>,
        weight: &CubeTensor<R>,
        epilogue: &LinearEpilogue<CubeTensor<R>>,
        max_width: usize,
    ) -> Result<Self, LaunchRefused> {
        let [rows, _] = x.shape().dims();
        let [out_features, _] = weight.shape().dims();
        let LinearEpilogue {
            bias,
            activation,
            residual,
        } = epilogue.clone();
        Ok(Self {
            weight: StoredMatrix::new(weight, x, max_width)?,
            y: output(x, [rows, out_features].into(), x.dtype),
            x: x.clone(),
            bias,
            activation,
            residual,
        })
    }

    fn check(&self, grid: Grid) -> Result<(CubeCount, CubeDim), LaunchRefused> {
        let operands = [&self.x, &self.weight.tensor, &self.y].into_iter();
        let operands: Vec<_> = operands.chain(&self.bias).chain(&self.residual).collect();
        grid.check(&operands)
    }

    /// The type of the bias; where there is none, any will do.
    fn bias_dtype(&self) -> DType {
        self.bias.as_ref().map_or(self.x.dtype, |bias| bias.dtype)
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    x: &CubeTensor<R>,
    weight: &CubeTensor<R>,
    epilogue: &LinearEpilogue<CubeTensor<R>>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    if epilogue
        .residual
        .as_ref()
        .is_some_and(|residual| residual.dtype != x.dtype)
    {
        return refuse("x and residual differ in type");
    }
    let [rows, _] = x.shape().dims();
    if rows <= few_rows::MAX_ROWS {
        few_rows::launch(x, weight, epilogue)
    } else {
        tiled::launch(x, weight, epilogue)
    }
}
