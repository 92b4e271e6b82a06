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
use burn_vlm::weights::KeptType;
use burn_vlm::{DeviceName, MultimodalPipeline, PipelineVisitor};
use clap::{Parser, ValueEnum};

use bandwidth::Memory;
use measure::Subject;
use model::ModelArgs;
use report::Report;
use shape::{RandomTypes, Shape};
use workload::Workload;

/// Measures a model's speed.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
    /// A decoder of this shape with random weights, in place of a model
    #[arg(long, value_name = "NAME", conflicts_with_all = ["model", "adapter", "named_adapter"])]
    shape: Option<Shape>,
    /// What activations and cache of the shape are kept in
    #[arg(long, value_name = "TYPE", default_value = "f32", requires = "shape")]
    compute: Compute,
    #[command(flatten)]
    workload: Workload,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Compute {
    F32,
    F16,
    Bf16,
}

impl Compute {
    fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::Bf16 => DType::BF16,
        }
    }
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
        compute: arguments.compute,
        random_types: RandomTypes::of(arguments.model.matrix_type()),
        workload: arguments.workload,
        memory,
        adapter: arguments.model.use_adapter.clone(),
        model: match arguments.shape {
            Some(shape) => {
                let compute = arguments.compute;
                format!("{shape} with random weights, computed in {compute:?}")
            }
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
    compute: Compute,
    random_types: RandomTypes,
    workload: Workload,
    memory: Memory,
    /// The adapter to decode with.
    adapter: Option<String>,
    model: String,
}

impl PipelineVisitor for Bench {
    type Output = Result<Report>;

    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> Result<Report> {
        let device = pipeline.device();
        let weights = match self.shape {
            Some(_) => names(self.random_types.all().iter()),
            None => names(pipeline.load_report().matrices.keys()),
        };
        let measured = match self.shape {
            Some(shape) => {
                let config = shape.config(self.compute.dtype());
                let decoder = shape::random_decoder::<B>(&config, self.random_types, device);
                let context_length = config.max_position_embeddings;
                let subject = Subject {
                    decoder: &decoder,
                    context_length,
                    device,
                };
                subject.measure(self.workload, None)?
            }
            None => {
                let subject = Subject {
                    decoder: pipeline.decoder(self.adapter.as_deref())?,
                    context_length: pipeline.context_length(),
                    device,
                };
                subject.measure(self.workload, Some(pipeline))?
            }
        };
        Ok(Report {
            model: self.model,
            device: pipeline.device_name(),
            weights,
            workload: self.workload,
            // Read before the probe below, whose buffer is no part of the model.
            peak_memory_bytes: measure::peak_memory_bytes(),
            copy_bytes_per_second: self.memory.bytes_per_second::<B>(device)?,
            measured,
        })
    }
}

/// The types that the matrices of a model are kept in.
fn names<'a>(types: impl Iterator<Item = &'a KeptType>) -> String {
    let names: Vec<String> = types.map(ToString::to_string).collect();
    names.join("+")
}
