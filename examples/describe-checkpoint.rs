//! Describe a checkpoint without loading it: what it is, what it takes, what stands in the way.
//!
//!     cargo run --example describe-checkpoint -- examples/demo/model

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use burn_vlm::{AnyPipeline, DeviceName, ModelDescription, ModelSpec};
use clap::Parser;

/// Describes a model folder, or a file of weights.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The folder or the file
    #[arg(value_name = "PATH")]
    path: PathBuf,
    /// auto, cpu, wgpu, vulkan, metal, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto")]
    device: DeviceName,
}

/// Exits with 1 where the model cannot be opened.
fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let description = AnyPipeline::describe(&arguments.path, arguments.device)?;
    if let Some(spec) = &description.spec {
        print_spec(spec);
    }
    print_weights(&description);
    print_problems(&description);
    Ok(match description.problems.is_empty() {
        true => ExitCode::SUCCESS,
        false => ExitCode::FAILURE,
    })
}

fn print_spec(spec: &ModelSpec) {
    let (decoder, layer) = (&spec.config.decoder, &spec.config.decoder.layer);
    println!("family    {}", spec.family.name);
    println!(
        "decoder   {} layers of width {}, {} heads ({} of keys and values) of {}, feed-forward {}",
        decoder.num_hidden_layers,
        decoder.hidden_size,
        layer.num_attention_heads,
        layer.num_key_value_heads,
        layer.head_dim,
        layer.intermediate_size,
    );
    println!(
        "text      {} tokens in the vocabulary, {} in the context",
        decoder.vocab_size, decoder.max_position_embeddings
    );
    if let Some(vision) = &spec.config.vision {
        println!("eyes      {:?}", vision.encoder);
    }
}

fn print_weights(description: &ModelDescription) {
    for (name, stored) in &description.stored {
        println!(
            "stored    {:>5} tensors in {name}: {} million elements, {}",
            stored.tensors,
            stored.elements as f64 / 1e6,
            megabytes(stored.bytes)
        );
    }
    if let Some(fit) = &description.fit {
        println!("fit       {fit}");
    }
    for (matrices, bytes) in &description.memory {
        println!(
            "memory    {} with weights {}",
            megabytes(*bytes),
            matrices.name()
        );
    }
    if let Some(bytes) = description.cache_bytes_per_token {
        println!(
            "          and {} for each 1000 tokens",
            megabytes(1000 * bytes)
        );
    }
}

fn print_problems(description: &ModelDescription) {
    for problem in &description.problems {
        println!("problem   {problem}");
    }
    if let Some(found) = &description.resemblance {
        println!("looks     like {}", found.looks_like);
        println!("nearest   {}, of what can be run", found.nearest_family);
    }
}

fn megabytes(bytes: u64) -> String {
    format!("{:.1} MB", bytes as f64 / 1e6)
}
