//! Online softmax (Milakov and Gimelshein 2018) over tiles of keys in shared memory, on matrix units
//! where the device has them for the type.
//!
//! A cube answers a tile of queries of one key-value head. The query heads of that head are rows of
//! one longer sequence, token by token, so that its keys and values are read once for all of them.

mod matrix;
mod rows;
mod strategy;
mod tile;
mod units;

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use strategy::{AttentionKernel, AttentionStrategy, Extent};

use super::{AttentionInputs, AttentionMask};
use crate::kernels::LaunchRefused;
use crate::kernels::launch::{DeviceProperties, Operand, output, width_in_place};

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    inputs: &AttentionInputs<CubeTensor<R>>,
    views: &CubeTensor<R>,
    mask: AttentionMask,
) -> Result<CubeTensor<R>, LaunchRefused> {
    check_types(inputs, views)?;
    let AttentionInputs { query, key, value } = inputs;
    let [batch, num_heads, seq_q, head_dim] = query.shape().dims();
    let [_, num_kv_heads, _, _] = key.shape().dims();
    let shape = [batch, seq_q, num_heads, head_dim];
    let answer = output(query, shape.into(), query.dtype);
    let extent = Extent {
        sequences: batch * num_kv_heads,
        rows: num_heads / num_kv_heads * seq_q,
        head_dim,
    };
    let device = DeviceProperties::of(&query.client);
    let AttentionStrategy { kernel, grid } = AttentionStrategy::choose(
        extent,
        [query, key, value, &answer, views].map(Operand::from),
        width_in_place([key, value], &device),
        &device,
    )?;
    match kernel {
        AttentionKernel::MatrixUnits(tile) => {
            matrix::launch(inputs, views, mask, &answer, (tile, grid));
        }
        AttentionKernel::Units(tile) => {
            units::launch(inputs, views, mask, &answer, (tile, grid));
        }
    }
    Ok(answer)
}

/// # Errors
/// If keys and values differ in type, or the views are not packed as a kernel reads them.
pub(in crate::kernels) fn check_types<R: CubeRuntime>(
    inputs: &AttentionInputs<CubeTensor<R>>,
    views: &CubeTensor<R>,
) -> Result<(), LaunchRefused> {
    if inputs.key.dtype != inputs.value.dtype {
        let operands = "keys and values";
        return Err(LaunchRefused::TypesDiffer { operands });
    }
    if views.dtype != DType::U32 {
        let (operand, dtype) = ("views", views.dtype);
        return Err(LaunchRefused::NoKernelFor { operand, dtype });
    }
    Ok(())
}
