//! CUDA without a GPU. [`device`] is the GPU that is none, `device_tests` holds it to its promises,
//! and `kernel_tests` puts every kernel of the crate through it.

mod device;
mod device_tests;
mod kernel_tests;
#[path = "../kernels/law.rs"]
mod law;
