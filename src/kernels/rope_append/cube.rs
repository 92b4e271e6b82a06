//! One element of a new query, key or value a unit.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::{RopeAppendInputs, num_heads};
use crate::kernels::LaunchRefused;
use crate::kernels::kv::WRITE_SIZE;
use crate::kernels::launch::{DeviceProperties, Elementwise, Operand, output};

/// Everything is read by its strides.
#[cube(launch)]
fn rope_append_kernel<E: Float, C: Float>(
    qkv: &Tensor<E>,
    writes: &Tensor<u32>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    rotated: &mut Tensor<E>,
    key_cache: &mut Tensor<C>,
    value_cache: &mut Tensor<C>,
    #[define(E)] _dtype: StorageType,
    #[define(C)] _cache_dtype: StorageType,
) {
    let (seq_len, heads, head_dim) = (qkv.shape(1), qkv.shape(2), qkv.shape(3));
    let num_kv_heads = key_cache.shape(1);
    let num_heads = heads - 2 * num_kv_heads;
    if ABSOLUTE_POS < qkv.shape(0) * seq_len * heads * head_dim {
        let column = ABSOLUTE_POS % head_dim;
        let head = (ABSOLUTE_POS / head_dim) % heads;
        let token = (ABSOLUTE_POS / (head_dim * heads)) % seq_len;
        let row = ABSOLUTE_POS / (head_dim * heads * seq_len);
        let write = row * WRITE_SIZE;
        let slot = writes[write] as usize;
        let place = writes[write + 1] as usize + token;
        let position = writes[write + 2] as usize + token;
        let from = start(qkv, row, token, head);
        if head < num_heads {
            let to = ((row * num_heads + head) * seq_len + token) * head_dim + column;
            rotated[to] = E::cast_from(rotate(qkv, from, column, cos, sin, position));
        } else if head < num_heads + num_kv_heads {
            let kv_head = head - num_heads;
            let to = start(key_cache, slot, kv_head, place) + column * key_cache.stride(3);
            key_cache[to] = C::cast_from(rotate(qkv, from, column, cos, sin, position));
        } else {
            let kv_head = head - num_heads - num_kv_heads;
            let to = start(value_cache, slot, kv_head, place) + column * value_cache.stride(3);
            value_cache[to] = C::cast_from(qkv[from + column * qkv.stride(3)]);
        }
    }
}

/// Where the last axis begins.
#[cube]
fn start<E: Float>(tensor: &Tensor<E>, first: usize, second: usize, third: usize) -> usize {
    first * tensor.stride(0) + second * tensor.stride(1) + third * tensor.stride(2)
}

/// Element `column` of the head that begins at `start`, turned to `position`.
#[cube]
fn rotate<E: Float>(
    x: &Tensor<E>,
    start: usize,
    column: usize,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    position: usize,
) -> f32 {
    let half = cos.shape(1);
    let mut turned = f32::cast_from(x[start + column * x.stride(3)]);
    if column < 2 * half {
        let pair = column % half;
        let partner = (column + half) % (2 * half);
        let partner = f32::cast_from(x[start + partner * x.stride(3)]);
        let cos = cos[position * cos.stride(0) + pair * cos.stride(1)];
        let sin = sin[position * sin.stride(0) + pair * sin.stride(1)];
        turned = turned * cos + select(column < half, -partner, partner) * sin;
    }
    turned
}

/// Writes into the caches and returns the rotated queries. The caller has made sure that nobody
/// else holds the caches.
pub(in crate::kernels) fn launch<R: CubeRuntime>(
    inputs: &RopeAppendInputs<CubeTensor<R>>,
    writes: &CubeTensor<R>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    check_types(inputs, writes)?;
    let RopeAppendInputs {
        qkv,
        key_cache,
        value_cache,
        cos,
        sin,
    } = inputs;
    let [batch, seq_len, qkv_heads, head_dim] = qkv.shape().dims();
    let [_, num_kv_heads, ..] = key_cache.shape().dims::<4>();
    let num_heads = num_heads(qkv_heads, num_kv_heads);
    let rotated = output(qkv, [batch, num_heads, seq_len, head_dim].into(), qkv.dtype);
    let operands = [qkv, writes, cos, sin, &rotated, key_cache, value_cache];
    let Elementwise { grid, .. } = Elementwise::of_width(
        qkv.shape().num_elements(),
        1,
        &operands.map(Operand::from),
        &DeviceProperties::of(&qkv.client),
    )?;
    let (cubes, units) = grid.size();
    rope_append_kernel::launch::<R>(
        &qkv.client,
        cubes,
        units,
        qkv.clone().into_tensor_arg(),
        writes.clone().into_tensor_arg(),
        cos.clone().into_tensor_arg(),
        sin.clone().into_tensor_arg(),
        rotated.clone().into_tensor_arg(),
        key_cache.clone().into_tensor_arg(),
        value_cache.clone().into_tensor_arg(),
        qkv.dtype.into(),
        key_cache.dtype.into(),
    );
    Ok(rotated)
}

fn check_types<R: CubeRuntime>(
    inputs: &RopeAppendInputs<CubeTensor<R>>,
    writes: &CubeTensor<R>,
) -> Result<(), LaunchRefused> {
    let RopeAppendInputs {
        key_cache,
        value_cache,
        cos,
        sin,
        ..
    } = inputs;
    if key_cache.dtype != value_cache.dtype {
        let operands = "key cache and value cache";
        return Err(LaunchRefused::TypesDiffer { operands });
    }
    let tables = [cos.dtype, sin.dtype];
    if let Some(dtype) = tables.into_iter().find(|dtype| *dtype != DType::F32) {
        let operand = "a rotation table";
        return Err(LaunchRefused::NoKernelFor { operand, dtype });
    }
    if writes.dtype != DType::U32 {
        let (operand, dtype) = ("writes", writes.dtype);
        return Err(LaunchRefused::NoKernelFor { operand, dtype });
    }
    Ok(())
}
