//! What copying the host's memory reaches.

use std::time::{Duration, Instant};

use burn::tensor::DType;
use burn_vlm::kernels::Work;

use crate::line::{Line, NUM_SAMPLES, Report};
use crate::roofline::COPY;

/// More than caches hold.
const COPY_BYTES: usize = 1 << 28;

/// Copies memory by all cores; the best of several passes.
pub(crate) fn copy(name: &'static str, report: &mut Report<'_>) {
    let line = Line {
        device: name,
        kernel: COPY,
        case: format!("{} MiB", COPY_BYTES >> 20),
        dtype: DType::U8,
    };
    let work = Work {
        bytes: 2 * COPY_BYTES,
        flops: 0,
    };
    report.add(&line, true, || Ok((fastest_copy(), work)));
}

fn fastest_copy() -> Duration {
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let part = COPY_BYTES.div_ceil(threads);
    let source = vec![1u8; COPY_BYTES];
    let mut target = vec![0u8; COPY_BYTES];
    let mut best = Duration::MAX;
    for _ in 0..NUM_SAMPLES {
        let start = Instant::now();
        std::thread::scope(|scope| {
            for (source, target) in source.chunks(part).zip(target.chunks_mut(part)) {
                scope.spawn(|| target.copy_from_slice(source));
            }
        });
        best = best.min(start.elapsed());
    }
    best
}
