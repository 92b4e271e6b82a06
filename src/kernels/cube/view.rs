//! The packed view of a row of the batch, as the units of a cube share it.

use cubecl::prelude::*;

use crate::kernels::kv::VIEW_SIZE;

const FIRST: usize = 0;
const SECOND: usize = 3;
const SLOT: usize = 0;
const START: usize = 1;
const LEN: usize = 2;
const WINDOW: usize = 6;

/// The view of row `batch`; every unit of the cube must call it.
///
/// It lies in shared memory: in registers it would take seven through the whole kernel.
#[cube]
pub(in crate::kernels) fn load_view(views: &Tensor<u32>, batch: usize) -> SharedMemory<u32> {
    let mut view = SharedMemory::<u32>::new(VIEW_SIZE);
    if (UNIT_POS_X as usize) < VIEW_SIZE {
        view[UNIT_POS_X as usize] = views[batch * VIEW_SIZE + UNIT_POS_X as usize];
    }
    sync_cube();
    view
}

/// Keys of the view.
#[cube]
pub(in crate::kernels) fn num_keys(view: &SharedMemory<u32>) -> usize {
    (view[FIRST + LEN] + view[SECOND + LEN]) as usize
}

/// Keys that a query sees at most.
#[cube]
pub(in crate::kernels) fn window(view: &SharedMemory<u32>) -> usize {
    view[WINDOW] as usize
}

/// Keys that the last query of row `batch` sees, read where the views lie.
#[cube]
pub(in crate::kernels) fn seen_by_last(views: &Tensor<u32>, batch: usize) -> usize {
    let view = batch * VIEW_SIZE;
    let num_keys = views[view + FIRST + LEN] + views[view + SECOND + LEN];
    min(num_keys, views[view + WINDOW]) as usize
}

/// Where a key of the view begins in a slab, in elements.
#[cube]
pub(in crate::kernels) fn start_of_key<T: CubePrimitive>(
    slab: &Tensor<T>,
    view: &SharedMemory<u32>,
    kv_head: usize,
    key: usize,
) -> usize {
    let first_len = view[FIRST + LEN] as usize;
    let is_first = key < first_len;
    let slot = select(is_first, view[FIRST + SLOT], view[SECOND + SLOT]) as usize;
    let place = select(
        is_first,
        view[FIRST + START] as usize + key,
        view[SECOND + START] as usize + max(key, first_len) - first_len,
    );
    slot * slab.stride(0) + kv_head * slab.stride(1) + place * slab.stride(2)
}
