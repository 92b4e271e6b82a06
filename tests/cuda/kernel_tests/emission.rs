//! What the launchers emit, judged by NVIDIA's compiler: no error, registers and shared memory
//! within the device, and no spill but what [`Resources::fit`] spares.

use std::collections::BTreeMap;
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
    let kernels = ARCHITECTURES.map(|arch| {
        let device = DryCuda::new(arch);
        let entries = Catalogue::<DryBackend>::ENTRIES.iter();
        let kernels: Vec<_> = entries.flat_map(|entry| emitted(entry, &device)).collect();
        assert!(!kernels.is_empty(), "nothing was emitted for sm_{arch}");
        kernels
    });
    // All at once: what mends a kernel on one architecture may spoil it on another.
    assert_compiles(&compiler, &kernels.concat());
    for of_arch in &kernels {
        print_table(&compiler, of_arch);
    }
}

/// What each kernel takes of a multiprocessor at the most, over all types and problems.
#[expect(clippy::print_stderr, reason = "a table for whoever tunes a kernel")]
fn print_table(compiler: &Compiler, kernels: &[Arc<EmittedKernel>]) {
    let mut most: BTreeMap<&str, [u32; 5]> = BTreeMap::new();
    for (kernel, resources) in kernels.iter().zip(compiler.check_all(kernels)) {
        let resources = resources.expect("it was compiled before");
        let blocks = resources.blocks_of_multiprocessor(kernel);
        let warps = blocks * kernel.cube_dim.num_elems().div_ceil(32);
        let shared_bytes = kernel.shared_memory_bytes as u32 + resources.static_shared_bytes;
        let [texts, registers, spilled, shared, fewest_warps] =
            most.entry(&kernel.entry).or_insert([0, 0, 0, 0, u32::MAX]);
        *texts += 1;
        *registers = resources.registers.max(*registers);
        *spilled = resources.spill_bytes.max(*spilled);
        *shared = shared_bytes.max(*shared);
        *fewest_warps = warps.min(*fewest_warps);
    }
    for (entry, [texts, registers, spilled, shared_bytes, warps]) in most {
        let arch = kernels[0].arch;
        eprintln!(
            "sm_{arch} {entry}: {texts} texts, at most {registers} registers, {spilled} bytes spilled \
             and {shared_bytes} bytes shared, at least {warps} of 64 warps"
        );
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
