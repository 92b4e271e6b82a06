//! The backends that are compiled in: the one place that names them.

use std::any::Any;
use std::path::Path;
use std::sync::Arc;

use super::device::DeviceName;
use super::erased::ErasedPipeline;
#[cfg(feature = "flex")]
use crate::backend::Cpu;
#[cfg(feature = "cuda")]
use crate::backend::Cuda;
#[cfg(feature = "wgpu")]
use crate::backend::Wgpu;
use crate::error::{DeviceError, Result};
use crate::kernels::VlmBackend;
use crate::pipeline::describe::ModelDescription;
use crate::pipeline::load_options::LoadOptions;
use crate::pipeline::multimodal::MultimodalPipeline;

/// What [`AnyPipeline::visit`](super::AnyPipeline::visit) runs: code that is generic over the
/// backend.
pub trait PipelineVisitor {
    /// What it returns.
    type Output;

    /// Runs over the pipeline of whichever backend was chosen.
    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> Self::Output;
}

/// Opens the model on the backend of a device.
pub(super) fn open_on(
    folder: &Path,
    device: DeviceName,
    options: &LoadOptions,
) -> Result<Arc<dyn ErasedPipeline>> {
    match device {
        #[cfg(feature = "flex")]
        DeviceName::Cpu => open::<Cpu>(folder, &Default::default(), options),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu | DeviceName::Vulkan | DeviceName::Metal => {
            open::<Wgpu>(folder, &Default::default(), options)
        }
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(index) => {
            open::<Cuda>(folder, &cubecl::cuda::CudaDevice { index }, options)
        }
        #[allow(
            unreachable_patterns,
            reason = "with every backend built, only `auto` is left"
        )]
        other => Err(DeviceError::Unavailable {
            tried: vec![other.to_string()],
        }
        .into()),
    }
}

/// Describes what is at `path` for the backend of a device.
pub(super) fn describe_on(path: &Path, device: DeviceName) -> Result<ModelDescription> {
    match device {
        #[cfg(feature = "flex")]
        DeviceName::Cpu => Ok(ModelDescription::of::<Cpu>(path, &Default::default())),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu | DeviceName::Vulkan | DeviceName::Metal => {
            Ok(ModelDescription::of::<Wgpu>(path, &Default::default()))
        }
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(index) => {
            let device = cubecl::cuda::CudaDevice { index };
            Ok(ModelDescription::of::<Cuda>(path, &device))
        }
        #[allow(
            unreachable_patterns,
            reason = "with every backend built, only `auto` is left"
        )]
        other => Err(DeviceError::Unavailable {
            tried: vec![other.to_string()],
        }
        .into()),
    }
}

fn open<B: VlmBackend>(
    folder: &Path,
    device: &B::Device,
    options: &LoadOptions,
) -> Result<Arc<dyn ErasedPipeline>> {
    let pipeline = MultimodalPipeline::<B>::open_on(folder, device, options)?;
    Ok(Arc::new(pipeline))
}

/// Shows a visitor the pipeline with the type that [`open_on`] gave it.
pub(super) fn visit<V: PipelineVisitor>(pipeline: &dyn ErasedPipeline, visitor: V) -> V::Output {
    let pipeline: &dyn Any = pipeline;
    #[cfg(feature = "flex")]
    if let Some(pipeline) = pipeline.downcast_ref::<MultimodalPipeline<Cpu>>() {
        return visitor.visit(pipeline);
    }
    #[cfg(feature = "wgpu")]
    if let Some(pipeline) = pipeline.downcast_ref::<MultimodalPipeline<Wgpu>>() {
        return visitor.visit(pipeline);
    }
    #[cfg(feature = "cuda")]
    if let Some(pipeline) = pipeline.downcast_ref::<MultimodalPipeline<Cuda>>() {
        return visitor.visit(pipeline);
    }
    unreachable!("`open_on` opens pipelines of these backends only")
}
