//! Names of devices that do not exist, or not in this build.

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AnyPipeline, DeviceError, DeviceName, Error, LoadOptions, Result};

use crate::case::{Case, TEXT};
use crate::support::model_folder;

fn name(name: &str) -> Result<()> {
    Ok(name.parse::<DeviceName>().map(drop)?)
}

fn open(device: DeviceName) -> Result<()> {
    AnyPipeline::open(model_folder(TEXT), device, &LoadOptions::new()).map(drop)
}

#[expect(
    clippy::extra_unused_type_parameters,
    reason = "every list of cases is made for a backend"
)]
pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a device that nobody has",
            "abacus",
            |_| name("abacus"),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!(
            "a device without a name",
            "this build knows: auto",
            |_| name(""),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!(
            "a device by a letter",
            "cuda:x",
            |_| name("cuda:x"),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!(
            "a device by a negative number",
            "cuda:-1",
            |_| name("cuda:-1"),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!(
            "a device by a number that overflows",
            "cuda:99999999999999999999",
            |_| name("cuda:99999999999999999999"),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!(
            "a device by no number",
            "cuda:",
            |_| name("cuda:"),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!(
            "a device behind a space",
            " cpu",
            |_| name(" cpu"),
            Error::Device(DeviceError::Unknown { .. })
        ),
        case!("the thousandth CUDA device", "cuda:999",
            |_| open(DeviceName::Cuda(999)),
            Error::Device(DeviceError::Unavailable { tried }) if tried.len() == 1),
        #[cfg(not(feature = "wgpu"))]
        case!(
            "a backend that is not in this build",
            "`wgpu`",
            |_| open(DeviceName::Wgpu),
            Error::Device(DeviceError::Unavailable { .. })
        ),
        #[cfg(not(feature = "vulkan"))]
        case!(
            "Vulkan where it is not in this build",
            "`vulkan`",
            |_| open(DeviceName::Vulkan),
            Error::Device(DeviceError::Unavailable { .. })
        ),
        #[cfg(not(feature = "metal"))]
        case!(
            "Metal where it is not in this build",
            "`metal`",
            |_| open(DeviceName::Metal),
            Error::Device(DeviceError::Unavailable { .. })
        ),
    ]
}
