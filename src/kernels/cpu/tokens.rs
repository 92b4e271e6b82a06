//! Activations of four axes, read where they lie.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use super::{FloatSlice, no_kernel_for};
use crate::kernels::LaunchRefused;

/// A tensor of four axes, of any type and strides, whose innermost rows are read one at a time.
///
/// Queries, keys and values are seldom contiguous: they are parts of one projection, or its heads
/// and tokens swapped.
#[derive(Debug)]
pub(in crate::kernels) struct Tokens {
    tensor: FlexTensor,
    dims: [usize; 4],
}

impl Tokens {
    /// Shares the memory of `tensor`, unless its innermost axis is scattered.
    ///
    /// # Errors
    /// [`LaunchRefused`] if it is of a type that no kernel reads.
    pub(in crate::kernels) fn new(tensor: &FlexTensor) -> Result<Self, LaunchRefused> {
        let is_row_major = matches!(tensor.layout().strides(), [.., 1]);
        let tensor = if is_row_major {
            tensor.clone()
        } else {
            tensor.to_contiguous()
        };
        if FloatSlice::storage(&tensor).is_none() {
            return Err(no_kernel_for("activations", tensor.dtype()));
        }
        let dims = tensor.shape().dims();
        Ok(Self { tensor, dims })
    }

    /// The sizes of the axes.
    pub(in crate::kernels) fn dims(&self) -> [usize; 4] {
        self.dims
    }

    /// Widens the row at a place of the outer three axes into `target`.
    pub(in crate::kernels) fn read(&self, place: [usize; 3], target: &mut [f32]) {
        debug_assert!(
            place.iter().zip(&self.dims).all(|(at, size)| at < size),
            "{place:?}"
        );
        let layout = self.tensor.layout();
        let steps = place
            .iter()
            .zip(layout.strides())
            .map(|(at, stride)| *at as isize * stride);
        let start = layout.start_offset().strict_add_signed(steps.sum());
        let storage = FloatSlice::storage(&self.tensor).expect("`new` has checked the type");
        storage.read(start, target);
    }
}
