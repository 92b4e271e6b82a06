//! Whether a device is there to be tested.
#![allow(
    dead_code,
    reason = "each test binary uses its own part of this module"
)]

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::backend::Backend;

/// Whether the backend's default device is there, simulated or not. `BURN_VLM_REQUIRE`, a list of
/// names, makes an absence a failure.
#[expect(
    clippy::print_stderr,
    reason = "nothing may pass by not running unseen"
)]
pub(crate) fn has_device<B: Backend>(name: &str) -> bool {
    // The runtimes panic where there is no device.
    let sync = || B::sync(&Default::default()).is_ok();
    let is_there = catch_unwind(AssertUnwindSafe(sync)).unwrap_or(false);
    assert!(
        is_there || !is_required(name),
        "BURN_VLM_REQUIRE={name}, and there is no device"
    );
    if !is_there {
        eprintln!("{name}: not run: no device");
    }
    is_there
}

/// Whether `BURN_VLM_REQUIRE` names a device.
pub(crate) fn is_required(name: &str) -> bool {
    let required = std::env::var("BURN_VLM_REQUIRE").unwrap_or_default();
    required.split(',').any(|required| required == name)
}
