//! The choice of a device among those that a name stands for.

use std::path::Path;
use std::sync::Arc;

use super::available::available;
use super::device::DeviceName;
use super::erased::ErasedPipeline;
use super::open::{describe_on, open_on};
use crate::error::{CheckpointError, DeviceError, Error, Result};
use crate::pipeline::describe::ModelDescription;
use crate::pipeline::load_options::LoadOptions;

/// A pipeline, the device it was opened on, and why those before it were not taken.
pub(super) struct Choice {
    pub(super) pipeline: Arc<dyn ErasedPipeline>,
    pub(super) device: DeviceName,
    pub(super) passed_over: Vec<String>,
}

/// Opens the model on the first device that is there and takes the weights.
pub(super) fn open_first(
    folder: &Path,
    device: DeviceName,
    options: &LoadOptions,
) -> Result<Choice> {
    let is_fallback = device == DeviceName::Auto;
    let mut passed_over = Vec::new();
    for device in device.candidates() {
        if let Err(reason) = available(device, is_fallback) {
            passed_over.push(format!("{device}: {reason}"));
            continue;
        }
        match open_on(folder, device, options) {
            Ok(pipeline) => {
                return Ok(Choice {
                    pipeline,
                    device,
                    passed_over,
                });
            }
            Err(error) if is_fallback && is_of_the_device(&error) => {
                passed_over.push(format!("{device}: {error}"));
            }
            Err(error) => return Err(error),
        }
    }
    Err(DeviceError::Unavailable { tried: passed_over }.into())
}

/// Describes what is at `path` for the first device that is there.
pub(super) fn describe_first(path: &Path, device: DeviceName) -> Result<ModelDescription> {
    let is_fallback = device == DeviceName::Auto;
    let mut tried = Vec::new();
    for device in device.candidates() {
        match available(device, is_fallback) {
            Ok(()) => return describe_on(path, device),
            Err(reason) => tried.push(format!("{device}: {reason}")),
        }
    }
    Err(DeviceError::Unavailable { tried }.into())
}

/// Whether another device may take what this one refused.
fn is_of_the_device(error: &Error) -> bool {
    matches!(
        error,
        Error::Device(_) | Error::Checkpoint(CheckpointError::WeightType { .. })
    )
}
