//! One vector of what is copied a unit.

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::launch::{DeviceProperties, Elementwise, Operand, lies_in_vectors};
use crate::kernels::{KvSpan, LaunchRefused};

/// The slab is an argument once, since it is both read and written.
#[cube(launch)]
fn kv_copy_kernel<E: Float, N: Size>(
    slab: &mut Tensor<Vector<E, N>>,
    from_slot: u32,
    to_slot: u32,
    first_place: u32,
    num_places: u32,
    #[define(E)] _dtype: StorageType,
) {
    let width = slab.vector_size();
    let columns = slab.shape(3) / width;
    let num_places = num_places as usize;
    if ABSOLUTE_POS < slab.shape(1) * num_places * columns {
        let column = ABSOLUTE_POS % columns;
        let place = first_place as usize + (ABSOLUTE_POS / columns) % num_places;
        let head = ABSOLUTE_POS / (columns * num_places);
        // The last axis lies in one piece, or vectors are of one element.
        let in_slot = head * (slab.stride(1) / width)
            + place * (slab.stride(2) / width)
            + column * slab.stride(3);
        let slot_stride = slab.stride(0) / width;
        let row = slab[from_slot as usize * slot_stride + in_slot];
        slab[to_slot as usize * slot_stride + in_slot] = row;
    }
}

/// Writes into `slab`. The caller has made sure that nobody else holds it.
pub(in crate::kernels) fn launch<R: CubeRuntime>(
    slab: &CubeTensor<R>,
    from: KvSpan,
    to_slot: usize,
) -> Result<(), LaunchRefused> {
    let [_, num_kv_heads, _, head_dim] = slab.shape().dims();
    let device = DeviceProperties::of(&slab.client);
    let width = match device.vector_width([slab.dtype], head_dim) {
        width if lies_in_vectors(slab, width) => width,
        // A copy into vectors would be another slab.
        _ => 1,
    };
    let KvSpan { slot, start, len } = from;
    let Elementwise { grid, .. } = Elementwise::of_width(
        num_kv_heads * len * head_dim,
        width,
        &[Operand::from(slab)],
        &device,
    )?;
    let (cubes, units) = grid.size();
    kv_copy_kernel::launch::<R>(
        &slab.client,
        cubes,
        units,
        width,
        slab.clone().into_tensor_arg(),
        slot as u32,
        to_slot as u32,
        start as u32,
        len as u32,
        slab.dtype.into(),
    );
    Ok(())
}
