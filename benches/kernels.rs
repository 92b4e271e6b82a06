//! Times every kernel of the catalogue on the sizes of real models.
//!
//! `cargo bench --bench kernels -- linear F16` keeps the lines whose text holds every word. Each
//! answer is checked against the reference first. Beside the time stand the bytes and operations
//! that a perfect kernel would need, divided by it; the first line says what copying memory reaches
//! here, in the same run.
#![expect(clippy::print_stdout, reason = "a report")]

use std::time::{Duration, Instant};

use burn::tensor::DType;
use burn_vlm::kernels::{Case, Catalogue, VlmBackend, Work};

/// Calls are timed together until they take this long, so that the clock does not matter.
const SAMPLE: Duration = Duration::from_millis(20);

/// The median of this many samples is reported.
const NUM_SAMPLES: usize = 7;

fn main() {
    // `cargo test --benches` and `cargo bench` pass flags of their own.
    let words: Vec<String> = std::env::args()
        .skip(1)
        .filter(|word| !word.starts_with("--"))
        .collect();
    println!(
        "copying memory: {:.1} GB/s, read and written",
        copy_bandwidth()
    );
    #[cfg(feature = "flex")]
    run_catalogue::<burn_vlm::backend::Cpu>(&words, &[DType::F32]);
    #[cfg(feature = "wgpu")]
    run_catalogue::<burn_vlm::backend::Wgpu>(&words, &[DType::F32, DType::F16]);
    #[cfg(feature = "cuda")]
    run_catalogue::<burn_vlm::backend::Cuda>(&words, &[DType::F32, DType::F16]);
}

fn run_catalogue<B: VlmBackend>(words: &[String], dtypes: &[DType]) {
    let device = B::Device::default();
    let name = B::name(&device);
    for entry in Catalogue::<B>::ENTRIES {
        for case in (entry.bench_cases)() {
            for &dtype in dtypes {
                let line = format!("{name} {} {dtype:?} [{}]", entry.name, case.name);
                let mut stored = case.stored.iter().chain([&dtype]);
                if !words.iter().all(|word| line.contains(word.as_str())) {
                    continue;
                }
                if !stored.all(|dtype| B::supports_dtype(&device, *dtype)) {
                    println!("{line}: not run: the device lacks a type");
                    continue;
                }
                check(&case, &device, dtype, &line);
                report(&line, time(&case, &device, dtype), (case.work)(dtype));
            }
        }
    }
}

fn check<B: VlmBackend>(case: &Case<B>, device: &B::Device, dtype: DType, line: &str) {
    let answers = (case.kernel)(device, dtype);
    let plain = (case.reference)(device, dtype);
    let exact = (case.exact)(device, dtype);
    for (answer, (plain, exact)) in answers.iter().zip(plain.iter().zip(&exact)) {
        if let Err(deviation) = answer.check(plain, exact, dtype) {
            panic!("{line}: {deviation}");
        }
    }
}

/// The time of one call.
fn time<B: VlmBackend>(case: &Case<B>, device: &B::Device, dtype: DType) -> Duration {
    let mut step = case.prepare(device, dtype);
    let mut run = |count: u32| {
        let start = Instant::now();
        (0..count).for_each(|_| step());
        B::sync(device).expect("the check has run the same kernel");
        start.elapsed()
    };
    let mut count = 1;
    while run(count) < SAMPLE {
        count *= 2;
    }
    let mut samples: Vec<_> = (0..NUM_SAMPLES).map(|_| run(count) / count).collect();
    samples.sort();
    samples[NUM_SAMPLES / 2]
}

fn report(line: &str, time: Duration, work: Work) {
    let per_nanosecond = |amount: usize| amount as f64 / time.as_nanos().max(1) as f64;
    println!(
        "{line}: {:.1} us, {:.2} GB/s, {:.2} GFLOP/s",
        time.as_nanos() as f64 / 1000.0,
        per_nanosecond(work.bytes),
        per_nanosecond(work.flops),
    );
}

/// Bytes read and written in a nanosecond by all cores, of more memory than caches hold.
fn copy_bandwidth() -> f64 {
    let size = 1 << 28;
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let source = vec![1u8; size];
    let mut target = vec![0u8; size];
    let mut best = Duration::MAX;
    for _ in 0..NUM_SAMPLES {
        let start = Instant::now();
        std::thread::scope(|scope| {
            let part = size.div_ceil(threads);
            for (source, target) in source.chunks(part).zip(target.chunks_mut(part)) {
                scope.spawn(|| target.copy_from_slice(source));
            }
        });
        best = best.min(start.elapsed());
    }
    2.0 * size as f64 / best.as_nanos().max(1) as f64
}
