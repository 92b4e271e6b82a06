//! The catalogue on whatever GPU there is, a simulated one too.
//!
//! A test a kernel: one that faults takes its process with it, and on a new device each is run in a
//! process of its own.

use burn::tensor::DType;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{Catalogue, VlmBackend};

use crate::device::{has_device, is_required};
use crate::law::{Outcome, run_entry};

fn check<B: VlmBackend>(name: &str, kernel: &str, dtypes: &[DType]) {
    if !has_device::<B>(name) {
        return;
    }
    let device = Default::default();
    let mut outcome = Outcome::default();
    let entries = Catalogue::<B>::ENTRIES
        .iter()
        .zip(Catalogue::<Cpu>::ENTRIES);
    for (entry, truth) in entries.filter(|(entry, _)| entry.name == kernel) {
        run_entry(entry, truth, &device, dtypes, &mut outcome);
    }
    outcome.report(&format!("{kernel} on {}", B::name(&device)));
    assert!(
        outcome.refused.is_empty() || !is_required(name),
        "{} refused",
        outcome.refused.len()
    );
}

/// Makes a test of each kernel on each GPU.
macro_rules! every_case_is_answered {
    ($($kernel:ident),+ $(,)?) => {
        const TESTED: &[&str] = &[$(stringify!($kernel)),+];

        #[cfg(feature = "wgpu")]
        mod every_case_is_answered_through_wgpu {
            use super::*;

            $(#[test]
            fn $kernel() {
                let dtypes = [DType::F32, DType::F16];
                check::<burn_vlm::backend::Wgpu>("wgpu", stringify!($kernel), &dtypes);
            })+
        }

        #[cfg(feature = "cuda")]
        mod every_case_is_answered_through_cuda {
            use super::*;

            $(#[test]
            fn $kernel() {
                let dtypes = [DType::F32, DType::F16, DType::BF16];
                check::<burn_vlm::backend::Cuda>("cuda", stringify!($kernel), &dtypes);
            })+
        }
    };
}
every_case_is_answered!(
    linear,
    rms_norm,
    add_rms_norm,
    layer_norm,
    swiglu,
    rope_append,
    kv_copy,
    attention_prefill,
    attention_decode,
    embed_and_splice,
    argmax,
    sample,
);

#[test]
fn every_kernel_of_the_catalogue_is_tested() {
    let names: Vec<_> = Catalogue::<Cpu>::ENTRIES
        .iter()
        .map(|entry| entry.name)
        .collect();
    assert_eq!(names, TESTED);
}
