//! A CubeCL runtime that is CUDA up to the text, for any device that says what a launch does.

use std::fmt::Debug;
use std::marker::PhantomData;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use burn::tensor::backend::DeviceOps;
use cubecl::device::DeviceId;
use cubecl::ir::TargetProperties;
use cubecl::prelude::*;
use cubecl::server::{MetadataBindingInfo, ServerError};
use cubecl::zspace::{Shape, Strides, striding::has_pitched_row_major_strides};
use cubecl_cpp::cuda::{CudaDialect, mma::CudaWmmaCompiler};
use cubecl_cpp::shared::CppCompiler;

use super::memory::HostMemory;
use super::properties;
use super::server::HostServer;

/// The compiler of `cubecl-cuda`, whose output is CUDA C++.
pub(crate) type CudaCompiler = CppCompiler<CudaDialect<CudaWmmaCompiler>>;

/// A kernel as CubeCL hands it to CUDA, for one launch configuration.
#[derive(Debug)]
pub(crate) struct EmittedKernel {
    /// Compute capability of the device that it was emitted for.
    pub(crate) arch: u16,
    /// Name of the function in the text.
    pub(crate) entry: String,
    /// CUDA C++.
    pub(crate) source: String,
    /// Threads of a block.
    pub(crate) cube_dim: CubeDim,
    /// Dynamic shared memory of a block. CubeCL has no static one.
    pub(crate) shared_memory_bytes: usize,
}

/// The arguments of one launch.
pub(crate) struct Call<'a> {
    pub(crate) grid: [u32; 3],
    pub(crate) buffers: &'a [HostMemory],
    pub(crate) info: &'a MetadataBindingInfo,
    pub(crate) num_tensor_maps: usize,
}

/// A made-up CUDA card, and what it does with a kernel.
pub(crate) trait HostDevice: DeviceOps + Copy {
    /// Name of the runtime.
    const NAME: &'static str;
    /// What fresh memory is filled with.
    const FRESH_BYTE: u8;
    /// A kernel made ready to run.
    type Program: Debug + Send + Sync;

    /// Compute capability, as 80 for 8.0.
    fn arch(&self) -> u16;
    /// Called once for each kernel.
    fn prepare(&self, kernel: &EmittedKernel) -> Result<Self::Program, String>;
    /// Called for each launch.
    fn run(&self, program: &Self::Program, call: &Call) -> Result<(), String>;
}

/// What a device was asked to do. It lives in the device's client.
#[derive(Debug, Default)]
pub(crate) struct KernelLog {
    kernels: Mutex<Vec<Arc<EmittedKernel>>>,
    launches: AtomicUsize,
    bytes_read: AtomicUsize,
}

/// How much a device was asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Traffic {
    pub(crate) launches: usize,
    /// Bytes that the host read back.
    pub(crate) bytes_read: usize,
}

impl KernelLog {
    /// Notes a launch, and the kernel if it is the first of it.
    pub(crate) fn add(&self, kernel: &Arc<EmittedKernel>) {
        self.launches.fetch_add(1, Ordering::Relaxed);
        let mut kernels = self.kernels.lock().unwrap_or_else(PoisonError::into_inner);
        let is_known = |known: &Arc<EmittedKernel>| {
            Arc::ptr_eq(known, kernel) || known.source == kernel.source
        };
        if !kernels.iter().any(is_known) {
            kernels.push(kernel.clone());
        }
    }

    pub(crate) fn add_read(&self, bytes: usize) {
        self.bytes_read.fetch_add(bytes, Ordering::Relaxed);
    }

    fn take(&self) -> Vec<Arc<EmittedKernel>> {
        std::mem::take(&mut *self.kernels.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn take_traffic(&self) -> Traffic {
        Traffic {
            launches: self.launches.swap(0, Ordering::Relaxed),
            bytes_read: self.bytes_read.swap(0, Ordering::Relaxed),
        }
    }
}

/// A number that no other device of this process has, so that every test can have its own.
pub(crate) fn new_instance() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(1);
    NEXT.fetch_add(1, Ordering::Relaxed)
}

/// The distinct kernels launched on `device` since the last call.
///
/// # Errors
///
/// The reasons why kernels could not be emitted or run since the last report.
pub(crate) fn take_log<D: HostDevice>(device: &D) -> Result<Vec<Arc<EmittedKernel>>, String> {
    let client = HostRuntime::<D>::client(device);
    let outcome = client.flush();
    let kernels = client.info().take();
    outcome.map(|()| kernels).map_err(reason)
}

/// What `device` was asked to do since the last call.
///
/// # Errors
///
/// As [`take_log`].
pub(crate) fn take_traffic<D: HostDevice>(device: &D) -> Result<Traffic, String> {
    let client = HostRuntime::<D>::client(device);
    let outcome = client.flush();
    let traffic = client.info().take_traffic();
    outcome.map(|()| traffic).map_err(reason)
}

/// What a device reported, without the backtrace of its own thread.
pub(crate) fn reason(error: ServerError) -> String {
    match error {
        ServerError::Generic { reason, .. } => reason,
        other => other.to_string(),
    }
}

/// The runtime of a made-up card.
#[derive(Clone, Debug)]
pub(crate) struct HostRuntime<D>(PhantomData<D>);

impl<D: HostDevice> Runtime for HostRuntime<D> {
    type Compiler = CudaCompiler;
    type Server = HostServer<D>;
    type Device = D;

    fn client(device: &D) -> ComputeClient<Self> {
        ComputeClient::load(device)
    }

    fn name(_client: &ComputeClient<Self>) -> &'static str {
        D::NAME
    }

    fn require_array_lengths() -> bool {
        true
    }

    fn max_cube_count() -> (u32, u32, u32) {
        (i32::MAX as u32, u16::MAX.into(), u16::MAX.into())
    }

    fn can_read_tensor(shape: &Shape, strides: &Strides) -> bool {
        has_pitched_row_major_strides(shape, strides)
    }

    fn target_properties() -> TargetProperties {
        properties::target()
    }

    fn enumerate_devices(_type_id: u16, _log: &KernelLog) -> Vec<DeviceId> {
        vec![D::default().to_id()]
    }
}
