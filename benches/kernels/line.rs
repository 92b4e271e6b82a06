use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use burn::tensor::DType;
use burn_vlm::kernels::{VlmBackend, Work};
use serde_json::{Value, json};

/// Calls are timed together until they take this long, so that the clock does not matter.
const SAMPLE: Duration = Duration::from_millis(20);

/// The median of this many samples is reported,
pub(crate) const NUM_SAMPLES: usize = 7;

/// or of fewer, where a single one takes so long that the line would keep all others waiting.
const PATIENCE: Duration = Duration::from_secs(3);

/// What is timed.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) device: &'static str,
    pub(crate) kernel: &'static str,
    pub(crate) case: String,
    pub(crate) dtype: DType,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            device,
            kernel,
            case,
            dtype,
        } = self;
        write!(f, "{device} {kernel} {dtype:?} [{case}]")
    }
}

/// The time of one call and what it did, or why there is none.
pub(crate) type Timed = Result<(Duration, Work), String>;

/// Prints lines as they come.
#[derive(Debug)]
pub(crate) struct Report<'a> {
    words: &'a [String],
    json: bool,
    num_wrong: usize,
}

impl<'a> Report<'a> {
    pub(crate) fn new(words: &'a [String], json: bool) -> Self {
        Self {
            words,
            json,
            num_wrong: 0,
        }
    }

    /// Lines whose answer was wrong, or that failed.
    pub(crate) fn num_wrong(&self) -> usize {
        self.num_wrong
    }

    /// Takes and prints a time, if the line is asked for. What fails, fails alone.
    pub(crate) fn add(&mut self, line: &Line, is_supported: bool, measure: impl FnOnce() -> Timed) {
        let text = line.to_string();
        if !self.words.iter().all(|word| text.contains(word.as_str())) {
            return;
        }
        if !is_supported {
            return self.print(line, "not run: the device lacks a type", json!({}));
        }
        let timed = catch_unwind(AssertUnwindSafe(measure));
        match timed.unwrap_or_else(|panic| Err(format!("failed: {}", message(&*panic)))) {
            Ok((time, work)) => self.print(line, &figures(time, work), figures_json(time, work)),
            Err(error) => {
                self.num_wrong += 1;
                self.print(line, &error, json!({ "error": error }));
            }
        }
    }

    fn print(&self, line: &Line, text: &str, mut figures: Value) {
        println!("{line}: {text}");
        let is_measured = figures
            .as_object()
            .is_some_and(|figures| !figures.is_empty());
        if self.json && is_measured {
            figures["device"] = json!(line.device);
            figures["kernel"] = json!(line.kernel);
            figures["case"] = json!(line.case);
            figures["dtype"] = json!(format!("{:?}", line.dtype));
            println!("{figures}");
        }
    }
}

/// The time of one call: a GPU queues the work, so the clock is read behind a sync.
pub(crate) fn time<B: VlmBackend>(
    device: &B::Device,
    step: &mut dyn FnMut(),
) -> Result<Duration, String> {
    let mut run = |count: u32| -> Result<Duration, String> {
        let start = Instant::now();
        (0..count).for_each(|_| step());
        B::sync(device).map_err(|error| format!("failed: {error:?}"))?;
        Ok(start.elapsed())
    };
    let start = Instant::now();
    let mut count = 1;
    let mut samples = vec![loop {
        let sample = run(count)?;
        if sample >= SAMPLE {
            break sample;
        }
        count *= 2;
    }];
    while samples.len() < NUM_SAMPLES && start.elapsed() < PATIENCE {
        samples.push(run(count)?);
    }
    samples.sort();
    Ok(samples[samples.len() / 2] / count)
}

fn figures(time: Duration, work: Work) -> String {
    let (microseconds, gigabytes, gigaflops) = rates(time, work);
    format!("{microseconds:.1} us, {gigabytes:.2} GB/s, {gigaflops:.2} GFLOP/s")
}

fn figures_json(time: Duration, work: Work) -> Value {
    let (microseconds, gigabytes, gigaflops) = rates(time, work);
    let rounded = |number: f64| (number * 1e3).round() / 1e3;
    json!({
        "microseconds": rounded(microseconds),
        "gigabytes_per_second": rounded(gigabytes),
        "gigaflops_per_second": rounded(gigaflops),
    })
}

/// Microseconds, and the bytes and operations in a nanosecond.
fn rates(time: Duration, work: Work) -> (f64, f64, f64) {
    let nanoseconds = time.as_nanos().max(1) as f64;
    (
        nanoseconds / 1000.0,
        work.bytes as f64 / nanoseconds,
        work.flops as f64 / nanoseconds,
    )
}

fn message(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    let line = text.and_then(|text| text.lines().next());
    line.unwrap_or("a panic without words").to_string()
}
