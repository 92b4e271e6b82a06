//! The catalogue on whatever GPU `wgpu` finds, a simulated one too.

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::DType;
use burn::tensor::backend::Backend;
use burn_vlm::backend::Wgpu;

use crate::law::run_catalogue;

fn is_required() -> bool {
    std::env::var("BURN_VLM_REQUIRE").is_ok_and(|names| names.split(',').any(|name| name == "wgpu"))
}

/// Whether there is a GPU; `wgpu` panics where there is none.
#[expect(
    clippy::print_stderr,
    reason = "nothing may pass by not running unseen"
)]
pub(crate) fn has_device() -> bool {
    let device = Default::default();
    let is_there = catch_unwind(AssertUnwindSafe(|| Wgpu::sync(&device).is_ok())).unwrap_or(false);
    assert!(
        is_there || !is_required(),
        "BURN_VLM_REQUIRE=wgpu, and there is no device"
    );
    if !is_there {
        eprintln!("wgpu: not run: no device");
    }
    is_there
}

#[test]
fn every_case_is_answered_by_the_gpu() {
    if !has_device() {
        return;
    }
    let device = Default::default();
    let outcome = run_catalogue::<Wgpu>(&device, &[DType::F32, DType::F16]);
    outcome.report(&Wgpu::name(&device));
    assert!(
        outcome.refused.is_empty() || !is_required(),
        "{} refused",
        outcome.refused.len()
    );
}
