//! What the example programs share: flags, opening a model, and the JSON of an answer.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use burn_vlm::weights::WeightType;
use burn_vlm::{Answer, AnyPipeline, DeviceName, LoadOptions, SampleOptions, Sampling};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

/// The model that the repository ships.
pub const DEMO_MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo/model");

/// Which model, on which device.
#[derive(Debug, Args)]
pub struct ModelArgs {
    /// Folder of the model; the demo model without it
    #[arg(long, value_name = "DIR")]
    pub model: Option<PathBuf>,
    /// auto, cpu, wgpu, vulkan, metal, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub device: DeviceName,
    /// What linear and embedding weights are kept in
    #[arg(long, value_name = "TYPE", default_value = "f32")]
    pub weights: Weights,
}

/// The weight types of the design; not all are built yet.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum Weights {
    F32,
    F16,
    Bf16,
    Q8,
    Q4,
}

impl ModelArgs {
    /// Opens the model, with a progress bar where somebody looks.
    pub fn open(&self) -> Result<AnyPipeline> {
        let folder = self
            .model
            .clone()
            .unwrap_or_else(|| PathBuf::from(DEMO_MODEL));
        let bar = progress_bar();
        let shown = Mutex::new(bar.clone());
        let options = LoadOptions::new()
            .with_weights(self.weight_type()?)
            .with_progress(move |progress| {
                if let Ok(bar) = shown.lock() {
                    bar.set_length(progress.total_bytes);
                    bar.set_position(progress.done_bytes);
                }
            });
        let pipeline = AnyPipeline::open(&folder, self.device, &options);
        bar.finish_and_clear();
        pipeline.with_context(|| format!("cannot open the model in {}", folder.display()))
    }

    fn weight_type(&self) -> Result<WeightType> {
        match self.weights {
            Weights::F32 => Ok(WeightType::F32),
            Weights::F16 => Ok(WeightType::F16),
            Weights::Bf16 => Ok(WeightType::BF16),
            Weights::Q8 | Weights::Q4 => {
                bail!("quantised weights are not available in this version: use f32, f16 or bf16")
            }
        }
    }
}

fn progress_bar() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template("loading {bar:40} {bytes}/{total_bytes}");
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

/// How an answer is generated.
#[derive(Debug, Args)]
pub struct AnswerArgs {
    /// Most tokens of an answer
    #[arg(long, value_name = "N")]
    pub max_new_tokens: Option<usize>,
    /// Draw tokens at this temperature; 0 is greedy
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub temperature: f32,
    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub seed: u64,
    /// Prompt format: a template's name, or chat_template for the model's own
    #[arg(long, value_name = "NAME")]
    pub template: Option<String>,
    /// LoRA adapter (not available in this version)
    #[arg(long, value_name = "DIR")]
    pub adapter: Option<PathBuf>,
}

impl AnswerArgs {
    /// How tokens are chosen.
    pub fn sampling(&self) -> Sampling {
        match self.temperature == 0.0 {
            true => Sampling::Greedy,
            false => Sampling::Sample(SampleOptions {
                temperature: self.temperature,
                ..SampleOptions::default()
            }),
        }
    }

    /// Puts the settings on a request.
    pub fn apply<I>(&self, request: burn_vlm::AskRequest<I>) -> Result<burn_vlm::AskRequest<I>> {
        if self.adapter.is_some() {
            bail!("adapters are not available in this version: merge the adapter into the model");
        }
        let mut request = request.sampling(self.sampling()).seed(self.seed);
        if let Some(tokens) = self.max_new_tokens {
            request = request.max_new_tokens(tokens);
        }
        if let Some(template) = &self.template {
            request = request.template(template);
        }
        Ok(request)
    }
}

/// An answer as one JSON object.
pub fn answer_json(answer: &Answer) -> Value {
    let kernels: Value =
        answer
            .kernels
            .calls()
            .fold(json!({}), |mut kernels, (name, by, calls)| {
                kernels[name][by.to_string()] = json!(calls);
                kernels
            });
    json!({
        "text": answer.text,
        "token_ids": answer.token_ids,
        "finish": answer.finish.name(),
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "image_tokens": answer.usage.image_tokens,
            "generated_tokens": answer.usage.generated_tokens,
        },
        "timings_ms": {
            "load": milliseconds(answer.timings.load),
            "image": milliseconds(answer.timings.image),
            "encode": milliseconds(answer.timings.encode),
            "prefill": milliseconds(answer.timings.prefill),
            "decode": milliseconds(answer.timings.decode),
        },
        "decode_tokens_per_second": answer.decode_tokens_per_second(),
        "device": answer.device,
        "kernels": kernels,
    })
}

/// Milliseconds with microseconds behind the point.
pub fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}

/// Writes the pieces of an answer as they come.
pub fn print_pieces(pieces: impl Iterator<Item = burn_vlm::Result<String>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for piece in pieces {
        write!(out, "{}", piece?)?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(())
}

/// The closing line: what the answer cost.
pub fn print_cost(answer: &Answer) {
    let timings = &answer.timings;
    let first_token = timings.image + timings.encode + timings.prefill;
    let speed = answer.decode_tokens_per_second();
    eprintln!(
        "{} image tokens, {} prompt tokens · first token {:.0} ms · {} tokens{} · {}",
        answer.usage.image_tokens,
        answer.usage.prompt_tokens,
        milliseconds(first_token),
        answer.usage.generated_tokens,
        speed.map_or(String::new(), |speed| format!(" at {speed:.1} tokens/s")),
        answer.device,
    );
}
