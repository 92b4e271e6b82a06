//! [`VlmBackend`] for CubeCL backends: this crate's kernels, one source for CUDA and WGPU.

use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::VlmBackend;

impl<R, F, I, BT> VlmBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
}
