//! A KV cache to be written where it lies.

use burn::tensor::{DType, TensorMetadata};
use burn_flex::FlexTensor;

use super::element::FloatSliceMut;
use super::no_kernel_for;
use crate::kernels::LaunchRefused;

/// The slab of a cache that nobody else holds.
#[derive(Debug)]
pub(in crate::kernels) struct CacheSlab<'a> {
    elements: FloatSliceMut<'a>,
    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    dims: [usize; 4],
}

impl<'a> CacheSlab<'a> {
    /// The slab behind `cache`.
    ///
    /// # Errors
    /// If it is of a type that no kernel here stores.
    ///
    /// # Panics
    /// If it is a view, or shared with another tensor.
    pub(in crate::kernels) fn new(cache: &'a mut FlexTensor) -> Result<Self, LaunchRefused> {
        let dtype = cache.dtype();
        if !matches!(dtype, DType::F32 | DType::F16 | DType::BF16) {
            return Err(no_kernel_for("a cache", dtype));
        }
        let is_whole = cache.is_contiguous() && cache.layout().start_offset() == 0;
        assert!(
            is_whole,
            "a KV cache is written in place, so it must be no view"
        );
        let dims = cache.shape().dims();
        let elements = FloatSliceMut::unique(cache)
            .expect("a KV cache is never copied, so no other tensor may share it");
        Ok(Self { elements, dims })
    }

    /// `[num_slots, num_kv_heads, capacity, head_dim]`
    pub(in crate::kernels) fn dims(&self) -> [usize; 4] {
        self.dims
    }

    /// Rounds `row` into a place, given as slot, head and place.
    pub(in crate::kernels) fn write(&mut self, place: [usize; 3], row: &[f32]) {
        self.elements.write(self.start(place), row);
    }

    /// Copies `len` places of a head, one behind another, from one to another.
    pub(in crate::kernels) fn copy(&mut self, from: [usize; 3], to: [usize; 3], len: usize) {
        let [.., head_dim] = self.dims;
        let (from, to) = (self.start(from), self.start(to));
        self.elements.copy_within(from..from + len * head_dim, to);
    }

    fn start(&self, [slot, head, place]: [usize; 3]) -> usize {
        let [_, num_kv_heads, capacity, head_dim] = self.dims;
        ((slot * num_kv_heads + head) * capacity + place) * head_dim
    }
}
