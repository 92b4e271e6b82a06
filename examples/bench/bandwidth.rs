use std::hint::black_box;
use std::time::Instant;

use anyhow::{Result, anyhow};
use burn::tensor::{DType, Tensor};
use burn_vlm::kernels::VlmBackend;
use rayon::prelude::*;

use crate::report::Spread;

/// Far more than any processor's cache holds.
const BUFFER_BYTES: usize = 512 << 20;
/// More than any GPU's cache holds, read and written, and what every device of `wgpu` can allocate.
const DEVICE_BUFFER_BYTES: usize = 128 << 20;
const PASSES: usize = 9;

/// The memory that weights are read from.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Memory {
    Host,
    Device,
}

impl Memory {
    /// How fast it is: read by all threads on the host, copied on a device.
    pub(crate) fn bytes_per_second<B: VlmBackend>(self, device: &B::Device) -> Result<Spread> {
        match self {
            Self::Host => Ok(host_bytes_per_second()),
            Self::Device => device_bytes_per_second::<B>(device),
        }
    }
}

/// Decoding only reads, so reading is what it is compared with.
fn host_bytes_per_second() -> Spread {
    // One chunk a task: small enough to share out evenly, large enough to hide the sharing.
    const CHUNK_BYTES: usize = 1 << 20;
    let buffer = vec![1_u64; BUFFER_BYTES / size_of::<u64>()];
    let passes = (0..PASSES).map(|_| {
        let started = Instant::now();
        let chunks = black_box(&buffer).par_chunks(CHUNK_BYTES / size_of::<u64>());
        let sum = chunks.map(|chunk| {
            chunk
                .iter()
                .fold(0_u64, |sum, next| sum.wrapping_add(*next))
        });
        black_box(sum.reduce(|| 0, u64::wrapping_add));
        BUFFER_BYTES as f64 / started.elapsed().as_secs_f64()
    });
    Spread::of(passes)
}

/// A copy reads and writes: both count.
fn device_bytes_per_second<B: VlmBackend>(device: &B::Device) -> Result<Spread> {
    let num_elements = DEVICE_BUFFER_BYTES / size_of::<f32>();
    let source = Tensor::<B, 1>::ones([num_elements], (device, DType::F32));
    let sync = || B::sync(device).map_err(|error| anyhow!("{error}"));
    let copy = || -> Result<f64> {
        let started = Instant::now();
        let copied = source.clone().add_scalar(1.0);
        sync()?;
        drop(copied);
        Ok(2.0 * DEVICE_BUFFER_BYTES as f64 / started.elapsed().as_secs_f64())
    };
    sync()?;
    copy()?;
    let passes = (0..PASSES).map(|_| copy()).collect::<Result<Vec<f64>>>()?;
    Ok(Spread::of(passes))
}
