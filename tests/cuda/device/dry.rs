//! The dry device: it keeps the CUDA text of every launch and runs nothing.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use burn::tensor::backend::DeviceOps;
use burn_cubecl::CubeBackend;
use cubecl::device::{Device, DeviceId};

use super::nvrtc::Compiler;
use super::runtime::{
    Call, EmittedKernel, HostDevice, HostRuntime, Traffic, new_instance, take_log, take_traffic,
};

/// The runtime of [`DryCuda`].
pub(crate) type DryRuntime = HostRuntime<DryCuda>;

/// A Burn backend whose kernels are only written down. Every tensor that a kernel made reads as
/// zeros.
pub(crate) type DryBackend = CubeBackend<DryRuntime, f32, i32, u8>;

/// A CUDA card that does nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct DryCuda {
    arch: u16,
    instance: u16,
}

impl DryCuda {
    /// A card of its own for the caller, of compute capability `arch` (80 is 8.0).
    pub(crate) fn new(arch: u16) -> Self {
        Self {
            arch,
            instance: new_instance(),
        }
    }

    /// The distinct kernels launched on this device since the last call.
    ///
    /// # Errors
    ///
    /// The reasons why kernels could not be emitted, above all panics while they expanded.
    pub(crate) fn take_log(&self) -> Result<Vec<Arc<EmittedKernel>>, String> {
        take_log(self)
    }

    /// What was asked of this device since the last call.
    ///
    /// # Errors
    ///
    /// As [`Self::take_log`].
    pub(crate) fn take_traffic(&self) -> Result<Traffic, String> {
        take_traffic(self)
    }
}

impl Default for DryCuda {
    fn default() -> Self {
        Self {
            arch: 80,
            instance: 0,
        }
    }
}

impl Device for DryCuda {
    fn from_id(id: DeviceId) -> Self {
        Self {
            arch: id.type_id,
            instance: id.index_id,
        }
    }

    fn to_id(&self) -> DeviceId {
        DeviceId {
            type_id: self.arch,
            index_id: self.instance,
        }
    }
}

impl DeviceOps for DryCuda {}

impl HostDevice for DryCuda {
    const NAME: &'static str = "dry-cuda";
    const FRESH_BYTE: u8 = 0;
    type Program = ();

    fn arch(&self) -> u16 {
        self.arch
    }

    fn prepare(&self, _kernel: &EmittedKernel) -> Result<(), String> {
        Ok(())
    }

    fn run(&self, _program: &(), _call: &Call) -> Result<(), String> {
        Ok(())
    }
}

/// The distinct kernels that `operation` launches on a device of compute capability `arch`.
///
/// # Errors
///
/// As [`DryCuda::take_log`].
pub(crate) fn emit(
    arch: u16,
    operation: impl FnOnce(&DryCuda),
) -> Result<Vec<Arc<EmittedKernel>>, String> {
    let device = DryCuda::new(arch);
    operation(&device);
    device.take_log()
}

/// Compiles every kernel and checks that a card can launch it without spilling registers.
///
/// # Panics
///
/// Panics with a list of all kernels that were refused, and where the text of each lies.
pub(crate) fn assert_compiles(compiler: &Compiler, kernels: &[Arc<EmittedKernel>]) {
    let reports = compiler.check_all(kernels);
    let refusals: Vec<String> = kernels
        .iter()
        .zip(reports)
        .enumerate()
        .filter_map(|(number, (kernel, report))| {
            let reason = report.and_then(|resources| resources.fit(kernel)).err()?;
            let text = keep_text(kernel, number);
            Some(format!("{}: {reason}", text.display()))
        })
        .collect();
    assert!(refusals.is_empty(), "{}", refusals.join("\n"));
}

/// Writes a kernel's text where it can be read and compiled by hand.
fn keep_text(kernel: &EmittedKernel, number: usize) -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("refused");
    fs::create_dir_all(&folder).expect("a folder for the texts of refused kernels");
    let path = folder.join(format!("sm_{}-{}-{number}.cu", kernel.arch, kernel.entry));
    fs::write(&path, &kernel.source).expect("a place for the text of a refused kernel");
    path
}
