//! What the launchers emit, judged by NVIDIA's compiler: no error, no spill, and registers and
//! shared memory within the device.

use std::sync::Arc;

use burn::tensor::DType;
use burn_vlm::kernels::{Catalogue, Implementation, KernelEntry, KernelTrace};

use crate::device::nvrtc::Compiler;
use crate::device::{ARCHITECTURES, DryBackend, DryCuda, EmittedKernel, assert_compiles};

const DTYPES: [DType; 3] = [DType::F32, DType::F16, DType::BF16];

#[test]
fn every_kernel_compiles_and_fits_every_architecture() {
    let Some(compiler) = Compiler::find_or_skip() else {
        return;
    };
    for arch in ARCHITECTURES {
        let device = DryCuda::new(arch);
        let entries = Catalogue::<DryBackend>::ENTRIES.iter();
        let kernels: Vec<_> = entries.flat_map(|entry| emitted(entry, &device)).collect();
        assert!(!kernels.is_empty(), "nothing was emitted for sm_{arch}");
        assert_compiles(&compiler, &kernels);
    }
}

/// The texts that a kernel's cases emit. Where the reference answers, they are Burn's and not ours
/// to judge.
fn emitted(entry: &KernelEntry<DryBackend>, device: &DryCuda) -> Vec<Arc<EmittedKernel>> {
    let mut ours = Vec::new();
    for case in (entry.cases)() {
        for dtype in DTYPES {
            let (_, report) = KernelTrace::collect(|| (case.kernel)(device, dtype));
            let log = device.take_log();
            let log = log.unwrap_or_else(|error| panic!("{} [{}]: {error}", entry.name, case.name));
            if !report
                .calls()
                .any(|(_, by, _)| by == Implementation::Reference)
            {
                ours.extend(log);
            }
        }
    }
    ours
}
