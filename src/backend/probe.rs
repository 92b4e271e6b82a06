//! Asks whether a device is there before a runtime is told to use it: the runtimes panic on a
//! thread of their own where it is not.

/// Why a device cannot be used.
pub(crate) type Absent = String;

/// The adapter that `wgpu` would choose, in words, and whether it is software.
#[cfg(feature = "wgpu")]
pub(crate) fn wgpu_adapter() -> Result<WgpuAdapter, Absent> {
    use cubecl::wgpu::{AutoGraphicsApi, GraphicsApi};

    let backend = AutoGraphicsApi::backend();
    let instance = wgpu::Instance::new(wgpu::InstanceDescriptor {
        backends: backend.into(),
        ..wgpu::InstanceDescriptor::new_without_display_handle()
    });
    let options = wgpu::RequestAdapterOptions {
        power_preference: wgpu::PowerPreference::HighPerformance,
        ..Default::default()
    };
    let adapter = cubecl::future::block_on(instance.request_adapter(&options));
    let info = adapter
        .map_err(|error| format!("no {backend} adapter: {error}"))?
        .get_info();
    Ok(WgpuAdapter {
        name: format!("{} ({backend})", info.name),
        api: backend.to_str(),
        is_software: info.device_type == wgpu::DeviceType::Cpu,
    })
}

/// What `wgpu` found.
#[cfg(feature = "wgpu")]
#[derive(Debug, Clone)]
pub(crate) struct WgpuAdapter {
    pub(crate) name: String,
    /// `vulkan`, `metal` or whatever else it goes through.
    pub(crate) api: &'static str,
    pub(crate) is_software: bool,
}

/// The number of CUDA devices.
#[cfg(feature = "cuda")]
pub(crate) fn cuda_devices() -> Result<usize, Absent> {
    use cudarc::driver::{CudaContext, sys};

    #[expect(
        unsafe_code,
        reason = "the driver library may be absent, and loading it is unsafe"
    )]
    // SAFETY: the function only loads the driver library by name; nothing else is called on it.
    let is_present = unsafe { sys::is_culib_present() };
    if !is_present {
        return Err("the CUDA driver library is not installed".to_string());
    }
    match CudaContext::device_count() {
        Ok(0) => Err("the CUDA driver sees no device".to_string()),
        Ok(count) => Ok(usize::try_from(count).unwrap_or(0)),
        Err(error) => Err(format!("the CUDA driver does not start: {error}")),
    }
}
