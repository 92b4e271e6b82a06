//! Two kernels: one that streams the weights past a few rows, one that tiles many rows.
//!
//! Burn's own matmul multiplies f32 as TF32 on CUDA unless it is tuned, and needs the weights in the
//! type of the activations; here products are f32 whatever the weights are stored in.

mod epilogue;
mod few_rows;
mod tiled;

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use super::LinearEpilogue;
use crate::kernels::LaunchRefused;
use crate::kernels::launch::refuse;

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
