//! The catalogue on whatever GPU there is, a simulated one too.

use burn::tensor::DType;
use burn_vlm::kernels::VlmBackend;

use crate::device::{has_device, is_required};
use crate::law::run_catalogue;

fn check<B: VlmBackend>(name: &str, dtypes: &[DType]) {
    if !has_device::<B>(name) {
        return;
    }
    let device = Default::default();
    let outcome = run_catalogue::<B>(&device, dtypes);
    outcome.report(&B::name(&device));
    assert!(
        outcome.refused.is_empty() || !is_required(name),
        "{} refused",
        outcome.refused.len()
    );
}

#[cfg(feature = "wgpu")]
#[test]
fn every_case_is_answered_through_wgpu() {
    check::<burn_vlm::backend::Wgpu>("wgpu", &[DType::F32, DType::F16]);
}

#[cfg(feature = "cuda")]
#[test]
fn every_case_is_answered_through_cuda() {
    let dtypes = [DType::F32, DType::F16, DType::BF16];
    check::<burn_vlm::backend::Cuda>("cuda", &dtypes);
}
