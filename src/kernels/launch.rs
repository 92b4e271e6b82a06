//! What every CubeCL launcher needs: it checks a launch against the device before it happens.
//!
//! A device stores a refused launch and goes on with stale numbers, so nothing may be launched that
//! the device's properties do not allow. How a kernel is launched is therefore chosen by a pure
//! function of the problem and [`DeviceProperties`], which launches or refuses by name; the launcher
//! takes what was chosen and decides nothing.

mod device;
mod grid;

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;

pub(in crate::kernels) use device::{DeviceProperties, Operand};
pub(in crate::kernels) use grid::{Elementwise, Grid, RowWise};

/// `tensor`, or a copy of it if vectors of `width` along its last axis would not lie in one piece.
///
/// A pitched tensor is read as it is: the kernels take strides.
pub(in crate::kernels) fn in_vectors<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    width: usize,
) -> CubeTensor<R> {
    if lies_in_vectors(tensor, width) {
        tensor.clone()
    } else {
        into_contiguous(tensor.clone())
    }
}

/// Whether each vector of `width` along the last axis lies in one piece.
pub(in crate::kernels) fn lies_in_vectors<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    width: usize,
) -> bool {
    match tensor.meta.strides().split_last() {
        Some((1, outer)) => outer.iter().all(|stride| stride.is_multiple_of(width)),
        Some(_) | None => false,
    }
}

/// The widest vector in which the last axis of all `tensors` can be read where they lie.
pub(in crate::kernels) fn width_in_place<R: CubeRuntime>(
    tensors: [&CubeTensor<R>; 2],
    device: &DeviceProperties,
) -> usize {
    let extent = tensors[0].meta.shape().last().copied().unwrap_or(1);
    let mut width = device.vector_width(tensors.map(|tensor| tensor.dtype), extent);
    while width > 1 && !tensors.iter().all(|tensor| lies_in_vectors(tensor, width)) {
        width /= 2;
    }
    width
}

/// A new contiguous tensor of the shape and type of `tensor`.
pub(in crate::kernels) fn output_like<R: CubeRuntime>(tensor: &CubeTensor<R>) -> CubeTensor<R> {
    output(tensor, tensor.shape(), tensor.dtype)
}

/// A new contiguous tensor on the device of `tensor`.
pub(in crate::kernels) fn output<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    shape: Shape,
    dtype: DType,
) -> CubeTensor<R> {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, dtype)
}

#[cfg(test)]
pub(in crate::kernels) mod tests;
