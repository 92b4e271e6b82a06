//! Whether a device is there, before anything is loaded for it.

use super::device::DeviceName;

/// Whether a device is there and, for a fallback, worth using.
pub(super) fn available(device: DeviceName, is_fallback: bool) -> Result<(), String> {
    let not_built = |feature: &str| Err(format!("built without the feature `{feature}`"));
    match device {
        DeviceName::Auto => Err("names no single device".to_string()),
        DeviceName::Cpu if cfg!(feature = "flex") => Ok(()),
        DeviceName::Cpu => not_built("flex"),
        DeviceName::Vulkan if !cfg!(feature = "vulkan") => not_built("vulkan"),
        DeviceName::Metal if !cfg!(feature = "metal") => not_built("metal"),
        DeviceName::Wgpu | DeviceName::Vulkan | DeviceName::Metal => {
            wgpu_available(device, is_fallback)
        }
        DeviceName::Cuda(index) => cuda_available(index),
    }
}

#[cfg(feature = "wgpu")]
fn wgpu_available(device: DeviceName, is_fallback: bool) -> Result<(), String> {
    let adapter = crate::backend::probe::wgpu_adapter()?;
    let named = [DeviceName::Vulkan, DeviceName::Metal].contains(&device);
    if named && adapter.api != device.to_string() {
        return Err(format!("`wgpu` uses {} on this system", adapter.api));
    }
    match is_fallback && adapter.is_software {
        true => Err(format!("{} is a software device", adapter.name)),
        false => Ok(()),
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_available(_: DeviceName, _: bool) -> Result<(), String> {
    Err("built without the feature `wgpu`".to_string())
}

#[cfg(feature = "cuda")]
fn cuda_available(index: usize) -> Result<(), String> {
    let count = crate::backend::probe::cuda_devices()?;
    match index < count {
        true => Ok(()),
        false => Err(format!("the CUDA driver sees {count} device(s)")),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_available(_: usize) -> Result<(), String> {
    Err("built without the feature `cuda`".to_string())
}
