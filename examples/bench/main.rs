//! Measure a model's speed: prompt, decode, first token, pictures, and the share of the memory's
//! bandwidth that decoding reaches.
//!
//!     cargo run --release --example bench -- --model models/vicuna --weights bf16
//!     cargo run --release --example bench -- --shape smollm-135m --depth 1024
//!
//! Every repetition reads `--prompt-tokens` tokens at once and then, in their place, generates
//! `--new-tokens` one by one, both behind `--depth` cached ones; one repetition goes before that
//! and is not counted.

mod bandwidth;
#[path = "../common/json.rs"]
mod json;
mod measure;
#[path = "../common/model.rs"]
mod model;
mod report;
mod shape;
mod step_bytes;
mod workload;

use anyhow::Result;
use burn::tensor::DType;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{DeviceName, MultimodalPipeline, PipelineVisitor};
use clap::Parser;

use bandwidth::Memory;
use measure::Subject;
use model::ModelArgs;
use report::Report;
use shape::Shape;
use workload::Workload;

/// Measures a model's speed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// A decoder of this shape with random weights, in place of a model
    #[arg(long, value_name = "NAME", conflicts_with = "model")]
    shape: Option<Shape>,
    #[command(flatten)]
    workload: Workload,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    // A shape has no folder to open; the demo model then says which device there is.
    let pipeline = arguments.model.open()?;
    let memory = match pipeline.device() {
        DeviceName::Cpu => Memory::Host,
        _ => Memory::Device,
    };
    let report = pipeline.visit(Bench {
        shape: arguments.shape,
        dtype: arguments.model.weight_type()?.dtype(),
        workload: arguments.workload,
        memory,
        model: match arguments.shape {
            Some(shape) => format!("{shape} with random weights"),
            None => arguments.model.folder().display().to_string(),
        },
    })?;
    match arguments.json {
        true => println!("{}", report.as_json()),
        false => print!("{report}"),
    }
    Ok(())
}

/// The measurement on whichever backend was chosen.
struct Bench {
    shape: Option<Shape>,
    dtype: DType,
    workload: Workload,
    memory: Memory,
    model: String,
}

impl PipelineVisitor for Bench {
    type Output = Result<Report>;

    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> Result<Report> {
        let device = pipeline.device();
        let measured = match self.shape {
            Some(shape) => {
                let config = shape.config();
                let decoder = shape::random_decoder::<B>(&config, self.dtype, device);
                let context_length = config.max_position_embeddings;
                let subject = Subject {
                    decoder: &decoder,
                    config: &config,
                    context_length,
                    device,
                };
                subject.measure(self.workload, None)?
            }
            None => {
                let subject = Subject {
                    decoder: &pipeline.model().decoder,
                    config: &pipeline.spec().config.decoder,
                    context_length: pipeline.context_length(),
                    device,
                };
                subject.measure(self.workload, Some(pipeline))?
            }
        };
        Ok(Report {
            model: self.model,
            device: pipeline.device_name(),
            weights: self.dtype,
            workload: self.workload,
            // Read before the probe below, whose buffer is no part of the model.
            peak_memory_bytes: measure::peak_memory_bytes(),
            copy_bytes_per_second: self.memory.bytes_per_second::<B>(device)?,
            measured,
        })
    }
}
