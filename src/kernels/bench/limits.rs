//! What the device reaches without our kernels: the limit that their shares are of.

use std::collections::BTreeMap;
use std::time::Duration;

use burn::tensor::{DType, Distribution, Tensor};

use super::clock::{NUM_SAMPLES, Sync, Timer, take_turns};
use super::record::{LimitedBy, median};
use crate::kernels::{VlmBackend, Work};

/// More than any cache holds, read and written, and what every device of `wgpu` can allocate.
const COPY_BYTES: usize = 128 << 20;

/// Bytes and operations a nanosecond.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct Limits {
    pub(super) copy: Option<f64>,
    pub(super) matmul: BTreeMap<String, f64>,
}

impl Limits {
    /// The part of what the device can do that `work` in so many nanoseconds is, and what bounds it.
    pub(super) fn share(
        &self,
        work: Work,
        dtype: DType,
        nanoseconds: f64,
    ) -> Option<(f64, LimitedBy)> {
        let matmul = self.matmul.get(dtype_name(dtype).as_str());
        let memory = self.copy.map(|rate| work.bytes as f64 / rate);
        let arithmetic = matmul.map(|rate| work.flops as f64 / rate);
        let bounds = [
            (memory, LimitedBy::Memory),
            (arithmetic, LimitedBy::Arithmetic),
        ];
        let known = bounds
            .into_iter()
            .filter_map(|(least, by)| least.map(|least| (least / nanoseconds, by)));
        known.max_by(|a, b| a.0.total_cmp(&b.0))
    }
}

/// A type as it is written: `F32`.
pub(super) fn dtype_name(dtype: DType) -> String {
    format!("{dtype:?}")
}

/// Copies memory on the device: an addition, since a bare copy may be a second handle.
pub(super) fn copy<B: VlmBackend>(device: &B::Device, sync: Sync<'_>) -> Result<f64, String> {
    let num_elements = COPY_BYTES / size_of::<f32>();
    let source = Tensor::<B, 1>::ones([num_elements], (device, DType::F32));
    let nanoseconds = time(Box::new(move || drop(source.clone().add_scalar(1.0))), sync)?;
    Ok(2.0 * COPY_BYTES as f64 / nanoseconds)
}

/// Copies the host's memory by all cores.
pub(super) fn copy_on_host() -> f64 {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = COPY_BYTES.div_ceil(threads);
    let source = vec![1u8; COPY_BYTES];
    let mut target = vec![0u8; COPY_BYTES];
    let mut pass = || {
        let start = std::time::Instant::now();
        std::thread::scope(|scope| {
            for (source, target) in source.chunks(part).zip(target.chunks_mut(part)) {
                scope.spawn(|| target.copy_from_slice(source));
            }
        });
        start.elapsed()
    };
    let best = (0..=NUM_SAMPLES).map(|_| pass()).min();
    2.0 * COPY_BYTES as f64 / best.map_or(1.0, nanoseconds)
}

/// Burn's own matrix product of two squares.
pub(super) fn matmul<B: VlmBackend>(
    device: &B::Device,
    dtype: DType,
    size: usize,
    sync: Sync<'_>,
) -> Result<f64, String> {
    let uniform = Distribution::Uniform(-1.0, 1.0);
    let square = || Tensor::<B, 2>::random([size; 2], uniform, (device, DType::F32)).cast(dtype);
    let (a, b) = (square(), square());
    let nanoseconds = time(Box::new(move || drop(a.clone().matmul(b.clone()))), sync)?;
    Ok(2.0 * (size as f64).powi(3) / nanoseconds)
}

fn time(step: Box<dyn FnMut()>, sync: Sync<'_>) -> Result<f64, String> {
    let mut samples = take_turns(vec![Timer::new(step, sync)], sync);
    let samples = samples.pop().unwrap_or_else(|| Ok(vec![]))?;
    Ok(median(
        &samples.into_iter().map(nanoseconds).collect::<Vec<_>>(),
    ))
}

pub(super) fn nanoseconds(time: Duration) -> f64 {
    time.as_nanos().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bound_that_takes_longer_is_the_limit() {
        let limits = Limits {
            copy: Some(10.0),
            matmul: BTreeMap::from([("F32".to_string(), 100.0)]),
        };
        let work = |bytes, flops| Work { bytes, flops };
        let memory = limits.share(work(1000, 1000), DType::F32, 200.0);
        assert_eq!(memory, Some((0.5, LimitedBy::Memory)));
        let arithmetic = limits.share(work(1000, 40_000), DType::F32, 800.0);
        assert_eq!(arithmetic, Some((0.5, LimitedBy::Arithmetic)));
        assert_eq!(Limits::default().share(work(1, 1), DType::F32, 1.0), None);
    }
}
