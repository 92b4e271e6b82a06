//! One element of a new query, key or value a unit, one row of the batch a cube in y.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::RopeAppendInputs;
use crate::kernels::cube::reduce::pick;
use crate::kernels::launch::{Grid, RowChunk, output, refuse, row_chunks};
use crate::kernels::{KvRow, LaunchRefused};

/// Everything is read by its strides: slices of one fused projection need no copy.
#[cube(launch)]
fn rope_append_kernel<E: Float, C: Float>(
    query: &Tensor<E>,
    key: &Tensor<E>,
    value: &Tensor<E>,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    rotated: &mut Tensor<E>,
    key_cache: &mut Tensor<C>,
    value_cache: &mut Tensor<C>,
    first_row: u32,
    slots: Sequence<u32>,
    lens: Sequence<u32>,
    #[define(E)] _dtype: StorageType,
    #[define(C)] _cache_dtype: StorageType,
) {
    let (seq_len, num_heads, head_dim) = (query.shape(1), query.shape(2), query.shape(3));
    let num_kv_heads = key.shape(2);
    let heads = num_heads + 2 * num_kv_heads;
    let index = (CUBE_POS_X * CUBE_DIM_X + UNIT_POS_X) as usize;
    if index < seq_len * heads * head_dim {
        let place = index % head_dim;
        let head = (index / head_dim) % heads;
        let token = index / (head_dim * heads);
        let row = (first_row + CUBE_POS_Y) as usize;
        let slot = pick(&slots, CUBE_POS_Y) as usize;
        let position = pick(&lens, CUBE_POS_Y) as usize + token;
        if head < num_heads {
            let start = start(query, row, token, head);
            let to = ((row * num_heads + head) * seq_len + token) * head_dim + place;
            rotated[to] = E::cast_from(rotate(query, start, place, cos, sin, position));
        } else if head < num_heads + num_kv_heads {
            let kv_head = head - num_heads;
            let from = start(key, row, token, kv_head);
            let to = start(key_cache, slot, kv_head, position) + place * key_cache.stride(3);
            key_cache[to] = C::cast_from(rotate(key, from, place, cos, sin, position));
        } else {
            let kv_head = head - num_heads - num_kv_heads;
            let from = start(value, row, token, kv_head) + place * value.stride(3);
            let to = start(value_cache, slot, kv_head, position) + place * value_cache.stride(3);
            value_cache[to] = C::cast_from(value[from]);
        }
    }
}

/// Where the last axis begins.
#[cube]
fn start<E: Float>(tensor: &Tensor<E>, first: usize, second: usize, third: usize) -> usize {
    first * tensor.stride(0) + second * tensor.stride(1) + third * tensor.stride(2)
}

/// Element `place` of the head that begins at `start`, turned to `position`.
#[cube]
fn rotate<E: Float>(
    x: &Tensor<E>,
    start: usize,
    place: usize,
    cos: &Tensor<f32>,
    sin: &Tensor<f32>,
    position: usize,
) -> f32 {
    let half = cos.shape(1);
    let mut turned = f32::cast_from(x[start + place * x.stride(3)]);
    if place < 2 * half {
        let pair = place % half;
        let partner = (place + half) % (2 * half);
        let partner = f32::cast_from(x[start + partner * x.stride(3)]);
        let cos = cos[position * cos.stride(0) + pair * cos.stride(1)];
        let sin = sin[position * sin.stride(0) + pair * sin.stride(1)];
        turned = turned * cos + select(place < half, -partner, partner) * sin;
    }
    turned
}

/// Writes into the caches and returns the rotated queries. The caller has made sure that nobody
/// else holds the caches.
pub(in crate::kernels) fn launch<R: CubeRuntime>(
    inputs: &RopeAppendInputs<CubeTensor<R>>,
    rows: &[KvRow],
) -> Result<CubeTensor<R>, LaunchRefused> {
    check_types(inputs)?;
    let RopeAppendInputs { query, key, .. } = inputs;
    let [batch, seq_len, num_heads, head_dim] = query.shape().dims();
    let [_, _, num_kv_heads, _] = key.shape().dims();
    let rotated = output(
        query,
        [batch, num_heads, seq_len, head_dim].into(),
        query.dtype,
    );
    let elements = seq_len * (num_heads + 2 * num_kv_heads) * head_dim;
    // All are checked before the first is launched: half an append cannot be taken back.
    let launches: Vec<_> = row_chunks(rows)
        .map(|chunk| Ok((grid(elements, &chunk, inputs, &rotated)?, chunk)))
        .collect::<Result<_, LaunchRefused>>()?;
    for ((cubes, units), chunk) in launches {
        rope_append_kernel::launch::<R>(
            &query.client,
            cubes,
            units,
            query.clone().into_tensor_arg(),
            key.clone().into_tensor_arg(),
            inputs.value.clone().into_tensor_arg(),
            inputs.cos.clone().into_tensor_arg(),
            inputs.sin.clone().into_tensor_arg(),
            rotated.clone().into_tensor_arg(),
            inputs.key_cache.clone().into_tensor_arg(),
            inputs.value_cache.clone().into_tensor_arg(),
            chunk.first as u32,
            chunk.slots(),
            chunk.lens(),
            query.dtype.into(),
            inputs.key_cache.dtype.into(),
        );
    }
    Ok(rotated)
}

fn check_types<R: CubeRuntime>(
    inputs: &RopeAppendInputs<CubeTensor<R>>,
) -> Result<(), LaunchRefused> {
    let RopeAppendInputs {
        query,
        key,
        value,
        key_cache,
        value_cache,
        cos,
        sin,
    } = inputs;
    if key.dtype != query.dtype || value.dtype != query.dtype {
        return refuse("query, key and value differ in type");
    }
    if key_cache.dtype != value_cache.dtype {
        return refuse("key cache and value cache differ in type");
    }
    if cos.dtype != DType::F32 || sin.dtype != DType::F32 {
        return refuse("the rotation tables are not f32");
    }
    Ok(())
}

fn grid<R: CubeRuntime>(
    elements: usize,
    chunk: &RowChunk<'_>,
    inputs: &RopeAppendInputs<CubeTensor<R>>,
    rotated: &CubeTensor<R>,
) -> Result<(CubeCount, CubeDim), LaunchRefused> {
    let RopeAppendInputs {
        query,
        key,
        value,
        key_cache,
        value_cache,
        cos,
        sin,
    } = inputs;
    let units = 256;
    let cubes = [elements.div_ceil(units as usize), chunk.count(), 1];
    let grid = Grid {
        cubes,
        units,
        shared_memory_bytes: 0,
    };
    grid.check(&[query, key, value, key_cache, value_cache, cos, sin, rotated])
}
