use std::fmt;
use std::time::Duration;

use serde_json::{Value, json};

use crate::json::kernels_json;
use crate::measure::Measured;
use crate::workload::Workload;

/// Everything that a run found out.
pub(crate) struct Report {
    pub(crate) model: String,
    pub(crate) device: String,
    pub(crate) weights: String,
    pub(crate) workload: Workload,
    pub(crate) peak_memory_bytes: Option<u64>,
    pub(crate) copy_bytes_per_second: Spread,
    pub(crate) measured: Measured,
}

/// The middle of repeated measurements, and how far they lie apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Spread {
    pub(crate) median: f64,
    pub(crate) min: f64,
    pub(crate) max: f64,
}

impl Spread {
    /// Of at least one number.
    pub(crate) fn of(numbers: impl IntoIterator<Item = f64>) -> Self {
        let mut sorted: Vec<f64> = numbers.into_iter().collect();
        sorted.sort_by(f64::total_cmp);
        let (below, above) = (sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2]);
        let (min, max) = (sorted[0], sorted[sorted.len() - 1]);
        Self {
            median: (below + above) / 2.0,
            min,
            max,
        }
    }

    fn scaled(self, factor: f64) -> Self {
        let Self { median, min, max } = self;
        Self {
            median: median * factor,
            min: min * factor,
            max: max * factor,
        }
    }

    fn as_json(self) -> Value {
        let Self { median, min, max } = self;
        json!({ "median": rounded(median), "min": rounded(min), "max": rounded(max) })
    }
}

fn rounded(number: f64) -> f64 {
    (number * 1e3).round() / 1e3
}

impl Report {
    fn prompt_tokens_per_second(&self) -> Spread {
        self.per_second(&self.measured.prompt, self.workload.prompt_tokens)
    }

    fn decode_tokens_per_second(&self) -> Spread {
        let tokens = self.workload.new_tokens * self.workload.batch;
        self.per_second(&self.measured.decode, tokens)
    }

    fn decode_gigabytes_per_second(&self) -> Spread {
        let bytes = self.workload.new_tokens * self.measured.step_bytes.total();
        self.per_second(&self.measured.decode, bytes).scaled(1e-9)
    }

    fn copy_gigabytes_per_second(&self) -> Spread {
        self.copy_bytes_per_second.scaled(1e-9)
    }

    fn copy_share(&self) -> f64 {
        self.decode_gigabytes_per_second().median / self.copy_gigabytes_per_second().median
    }

    fn image_encode_ms(&self) -> Option<Spread> {
        let times = &self.measured.image_encode;
        (!times.is_empty()).then(|| Spread::of(times.iter().map(milliseconds)))
    }

    /// A picture, where the model has eyes, then the prompt.
    fn first_token_ms(&self) -> Spread {
        let pictures = self.measured.image_encode.iter().map(milliseconds);
        let pictures = pictures.chain(std::iter::repeat(0.0));
        let prompts = self.measured.prompt.iter().map(milliseconds);
        Spread::of(
            prompts
                .zip(pictures)
                .map(|(prompt, picture)| prompt + picture),
        )
    }

    fn per_second(&self, times: &[Duration], amount: usize) -> Spread {
        Spread::of(times.iter().map(|time| amount as f64 / time.as_secs_f64()))
    }

    fn write_kernels(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f)?;
        for (kernel, by, calls) in self.measured.kernels.calls() {
            writeln!(
                f,
                "{kernel:20}{by:>12}{calls:12} calls",
                by = by.to_string()
            )?;
        }
        Ok(())
    }

    /// All of it as one object.
    pub(crate) fn as_json(&self) -> Value {
        let workload = self.workload;
        let step_bytes = self.measured.step_bytes;
        json!({
            "model": self.model,
            "device": self.device,
            "threads": rayon::current_num_threads(),
            "weights": self.weights,
            "prompt_tokens": workload.prompt_tokens,
            "new_tokens": workload.new_tokens,
            "depth": workload.depth,
            "batch": workload.batch,
            "repetitions": workload.repetitions,
            "prompt_tokens_per_second": self.prompt_tokens_per_second().as_json(),
            "decode_tokens_per_second": self.decode_tokens_per_second().as_json(),
            "first_token_ms": self.first_token_ms().as_json(),
            "image_encode_ms": self.image_encode_ms().map(Spread::as_json),
            "step_bytes": { "weights": step_bytes.weights, "cache": step_bytes.cache },
            "decode_gigabytes_per_second": self.decode_gigabytes_per_second().as_json(),
            "copy_gigabytes_per_second": self.copy_gigabytes_per_second().as_json(),
            "copy_share": rounded(self.copy_share()),
            "peak_host_memory_bytes": self.peak_memory_bytes,
            "kernels": kernels_json(&self.measured.kernels),
        })
    }
}

fn milliseconds(time: &Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let workload = self.workload;
        let (weights, threads) = (&self.weights, rayon::current_num_threads());
        writeln!(
            f,
            "{} · {weights} · {} · {threads} threads",
            self.model, self.device
        )?;
        writeln!(
            f,
            "{} prompt tokens, {} new ones, behind {}, batch {}, {} repetitions\n",
            workload.prompt_tokens,
            workload.new_tokens,
            workload.depth,
            workload.batch,
            workload.repetitions,
        )?;
        writeln!(f, "{:20}{:>12}{:>12}{:>12}", "", "median", "min", "max")?;
        let mut row = |name: &str, spread: Spread| {
            let Spread { median, min, max } = spread;
            writeln!(f, "{name:20}{median:12.2}{min:12.2}{max:12.2}")
        };
        row("prompt tokens/s", self.prompt_tokens_per_second())?;
        row("decode tokens/s", self.decode_tokens_per_second())?;
        row("first token ms", self.first_token_ms())?;
        if let Some(image_encode_ms) = self.image_encode_ms() {
            row("image encode ms", image_encode_ms)?;
        }
        row("decode GB/s", self.decode_gigabytes_per_second())?;
        row("copy GB/s", self.copy_gigabytes_per_second())?;
        writeln!(
            f,
            "{:20}{:11.0}%",
            "share of copy",
            self.copy_share() * 100.0
        )?;
        if let Some(bytes) = self.peak_memory_bytes {
            writeln!(f, "{:20}{:12.0}", "peak host memory MB", bytes as f64 / 1e6)?;
        }
        self.write_kernels(f)
    }
}
