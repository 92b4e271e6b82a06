//! What more than one program writes as JSON.

use burn_vlm::kernels::KernelReport;
use serde_json::{Value, json};

/// Calls by kernel and implementation.
pub(crate) fn kernels_json(report: &KernelReport) -> Value {
    report
        .calls()
        .fold(json!({}), |mut kernels, (name, by, calls)| {
            kernels[name][by.to_string()] = json!(calls);
            kernels
        })
}
