//! Names for the backends this crate is tuned on.
//!
//! They are the *unfused* backends: this crate's own kernels fuse what is hot. Any other Burn
//! backend works too, through the reference bodies of [`VlmBackend`](crate::kernels::VlmBackend).

#[cfg(any(feature = "wgpu", feature = "cuda"))]
pub(crate) mod probe;

/// The CPU, in pure Rust.
#[cfg(feature = "flex")]
pub type Cpu = burn_flex::Flex;

// `u32` for booleans is what both WGSL and SPIR-V can store.
/// GPUs through `wgpu`: Metal on Apple's systems, Vulkan elsewhere.
#[cfg(feature = "wgpu")]
pub type Wgpu = burn_cubecl::CubeBackend<cubecl::wgpu::WgpuRuntime, f32, i32, u32>;

/// NVIDIA GPUs.
#[cfg(feature = "cuda")]
pub type Cuda = burn_cubecl::CubeBackend<cubecl::cuda::CudaRuntime, f32, i32, u8>;
