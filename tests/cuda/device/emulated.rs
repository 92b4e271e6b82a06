//! The emulated device: the CUDA text of a kernel, run by the host's processor.

use std::ffi::c_void;
use std::sync::Arc;

use burn::tensor::backend::DeviceOps;
use burn_cubecl::CubeBackend;
use cubecl::device::{Device, DeviceId};

use super::host_compiler::{Geometry, HostCompiler, HostKernel};
use super::runtime::{Call, EmittedKernel, HostDevice, HostRuntime, new_instance, take_log};

/// The runtime of [`EmulatedCuda`].
pub(crate) type EmulatedRuntime = HostRuntime<EmulatedCuda>;

/// A Burn backend that runs CUDA kernels on the host. Slow, but its results are real.
pub(crate) type EmulatedBackend = CubeBackend<EmulatedRuntime, f32, i32, u8>;

/// In what order the threads of a block, and the blocks, run between two meetings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ThreadOrder {
    /// The first thread first; asynchronous copies land as late as they may.
    Ascending,
    /// The last thread first; asynchronous copies land at once.
    Descending,
    /// Each launch in both orders. A difference in any byte is an error: a barrier is missing.
    Both,
}

/// Whether the lanes of a warp run together between two meetings.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Lanes {
    /// Each on its own, as CUDA reserves since 7.0. Our kernels must be right so.
    Free,
    /// Together, as hardware does in practice. Burn's matrix multiplication relies on it.
    Joined,
}

/// A CUDA card made of the host's processor. Fresh memory is full of NaN.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct EmulatedCuda {
    arch: u8,
    order: ThreadOrder,
    lanes: Lanes,
    instance: u16,
}

impl EmulatedCuda {
    /// The modes as `shim/fibers.h` names them.
    const DESCENDING: u32 = 1;
    const EAGER_COPIES: u32 = 2;
    const FREE_LANES: u32 = 4;

    /// A card of its own for the caller, of compute capability `arch` (80 is 8.0).
    pub(crate) fn new(arch: u8, order: ThreadOrder, lanes: Lanes) -> Self {
        Self {
            arch,
            order,
            lanes,
            instance: new_instance(),
        }
    }

    /// A card that demands all that CUDA does not promise away: both orders, free lanes.
    pub(crate) fn strict(arch: u8) -> Self {
        Self::new(arch, ThreadOrder::Both, Lanes::Free)
    }

    /// The distinct kernels launched on this device since the last call.
    ///
    /// # Errors
    ///
    /// What went wrong since the last report.
    pub(crate) fn take_log(&self) -> Result<Vec<Arc<EmittedKernel>>, String> {
        take_log(self)
    }

    fn run_once(&self, kernel: &HostKernel, call: &Launch, order: u32) -> Result<(), String> {
        let lanes = match self.lanes {
            Lanes::Free => Self::FREE_LANES,
            Lanes::Joined => 0,
        };
        // SAFETY: CubeCL put the arguments together for this very kernel. A kernel that reaches
        // past a buffer hits the guard behind it, which the server checks.
        unsafe { kernel.launch(call.geometry, &call.arguments, lanes | order) }
    }

    fn run_in_both_orders(&self, kernel: &HostKernel, launch: &Launch) -> Result<(), String> {
        let buffers = || launch.call.buffers.iter();
        let before: Vec<_> = buffers().map(|buffer| buffer.bytes().to_vec()).collect();
        self.run_once(kernel, launch, 0)?;
        let ascending: Vec<_> = buffers().map(|buffer| buffer.bytes().to_vec()).collect();
        for (buffer, before) in buffers().zip(&before) {
            let mut buffer = *buffer;
            buffer.bytes_mut().copy_from_slice(before);
        }
        self.run_once(kernel, launch, Self::DESCENDING | Self::EAGER_COPIES)?;
        let differs = buffers()
            .zip(&ascending)
            .position(|(now, then)| now.bytes() != then);
        match differs {
            None => Ok(()),
            Some(position) => Err(format!(
                "the result in buffer {position} depends on the order of the threads"
            )),
        }
    }
}

impl Default for EmulatedCuda {
    fn default() -> Self {
        Self {
            arch: 80,
            order: ThreadOrder::Both,
            lanes: Lanes::Free,
            instance: 0,
        }
    }
}

impl Device for EmulatedCuda {
    fn from_id(id: DeviceId) -> Self {
        let [modes, arch] = id.type_id.to_be_bytes();
        let order = match modes & 3 {
            0 => ThreadOrder::Ascending,
            1 => ThreadOrder::Descending,
            _ => ThreadOrder::Both,
        };
        let lanes = if modes & 4 == 0 {
            Lanes::Free
        } else {
            Lanes::Joined
        };
        Self {
            arch,
            order,
            lanes,
            instance: id.index_id,
        }
    }

    fn to_id(&self) -> DeviceId {
        let lanes = match self.lanes {
            Lanes::Free => 0,
            Lanes::Joined => 4,
        };
        let modes = self.order as u8 | lanes;
        DeviceId {
            type_id: u16::from_be_bytes([modes, self.arch]),
            index_id: self.instance,
        }
    }
}

impl DeviceOps for EmulatedCuda {}

/// A kernel with the size of its blocks.
#[derive(Debug)]
pub(crate) struct EmulatedProgram {
    kernel: HostKernel,
    block: [u32; 3],
    shared_bytes: u32,
}

/// A call, with its arguments in CUDA's order: buffers, the shapes that vary in number by pointer
/// if there are any, and the block of scalars and other shapes by value.
struct Launch<'a> {
    call: &'a Call<'a>,
    geometry: Geometry,
    arguments: Vec<*mut c_void>,
    _pointers: Vec<*const c_void>,
}

impl<'a> Launch<'a> {
    fn new(program: &EmulatedProgram, call: &'a Call<'a>) -> Self {
        let info = call.info;
        let mut pointers: Vec<*const c_void> = call
            .buffers
            .iter()
            .map(|buffer| buffer.address() as *const c_void)
            .collect();
        if let Some(shapes @ [_, ..]) = info.data.get(info.dynamic_metadata_offset..) {
            pointers.push(shapes.as_ptr().cast());
        }
        let mut arguments: Vec<*mut c_void> = pointers
            .iter()
            .map(|pointer| std::ptr::from_ref(pointer) as *mut c_void)
            .collect();
        arguments.push(info.data.as_ptr() as *mut c_void);
        let (block, shared_bytes) = (program.block, program.shared_bytes);
        let geometry = Geometry {
            grid: call.grid,
            block,
            shared_bytes,
        };
        Self {
            call,
            geometry,
            arguments,
            _pointers: pointers,
        }
    }
}

impl HostDevice for EmulatedCuda {
    const NAME: &'static str = "emulated-cuda";
    /// NaN in every float type.
    const FRESH_BYTE: u8 = 0xff;
    type Program = EmulatedProgram;

    fn arch(&self) -> u16 {
        self.arch.into()
    }

    fn prepare(&self, kernel: &EmittedKernel) -> Result<EmulatedProgram, String> {
        let compiled = HostCompiler::from_environment().compile(&kernel.source, &kernel.entry)?;
        let dim = kernel.cube_dim;
        Ok(EmulatedProgram {
            kernel: compiled,
            block: [dim.x, dim.y, dim.z],
            shared_bytes: kernel.shared_memory_bytes as u32,
        })
    }

    fn run(&self, program: &EmulatedProgram, call: &Call) -> Result<(), String> {
        if call.num_tensor_maps > 0 {
            return Err("copies by tensor map (TMA) are not emulated".to_string());
        }
        let launch = Launch::new(program, call);
        match self.order {
            ThreadOrder::Ascending => self.run_once(&program.kernel, &launch, 0),
            ThreadOrder::Descending => {
                let descending = Self::DESCENDING | Self::EAGER_COPIES;
                self.run_once(&program.kernel, &launch, descending)
            }
            ThreadOrder::Both => self.run_in_both_orders(&program.kernel, &launch),
        }
    }
}

/// What `operation` returns on a strict device of compute capability `arch`.
///
/// # Errors
///
/// What a kernel did wrong. An `operation` that reads a result itself panics with the same reason.
pub(crate) fn on_emulated<T>(
    arch: u8,
    operation: impl FnOnce(&EmulatedCuda) -> T,
) -> Result<T, String> {
    let device = EmulatedCuda::strict(arch);
    let outcome = operation(&device);
    device.take_log().map(|_| outcome)
}
