//! Keys or values where they lie.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use super::KvRow;
use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{Element, StridedRows, refused};

/// `[num_slots, num_kv_heads, capacity, head_dim]` with the innermost axis in memory order.
#[derive(Debug, Clone, Copy)]
pub(super) struct Slab<'a, E> {
    storage: &'a [E],
    start: usize,
    strides: [usize; 3],
    dims: [usize; 4],
}

impl<'a, E: Element> Slab<'a, E> {
    /// # Errors
    /// [`LaunchRefused`] if it would have to be copied to be read.
    pub(super) fn new(tensor: &'a FlexTensor) -> Result<Self, LaunchRefused> {
        let layout = tensor.layout();
        let [slot, head, position, 1] = *layout.strides() else {
            return Err(refused(format!(
                "keys or values with strides {:?}",
                layout.strides()
            )));
        };
        if slot.min(head).min(position) < 0 {
            return Err(refused(format!(
                "keys or values with strides {:?}",
                layout.strides()
            )));
        }
        Ok(Self {
            storage: tensor.storage(),
            start: layout.start_offset(),
            strides: [slot, head, position].map(isize::unsigned_abs),
            dims: tensor.shape().dims(),
        })
    }

    pub(super) fn num_heads(&self) -> usize {
        let [_, num_heads, _, _] = self.dims;
        num_heads
    }

    /// The filled positions of a head: `[row.len, head_dim]`.
    pub(super) fn rows(&self, row: KvRow, head: usize) -> StridedRows<'a, E> {
        let [_, _, _, head_dim] = self.dims;
        let [slot_stride, head_stride, stride] = self.strides;
        let first = self.start + row.slot * slot_stride + head * head_stride;
        // An empty slab has no element to start at.
        let storage = &self.storage[first.min(self.storage.len())..];
        StridedRows::new(storage, stride, [row.len, head_dim])
    }
}
