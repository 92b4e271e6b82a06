//! Make a model of a base and the difference that was published: Vicuna v0, Alpaca.
//!
//!     cargo run --release --example apply-delta -- llama-7b vicuna-7b-delta-v0 vicuna-7b
//!     cargo run --release --example apply-delta -- llama-7b alpaca-7b-wdiff alpaca-7b \
//!         --new-rows mean --sum 50637.1836

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, ensure};
use burn_vlm::{DeltaOptions, NewRows, apply_delta};
use clap::{Parser, ValueEnum};

/// How far the sum of all parameters may be from the one that is expected.
const TOLERANCE: f64 = 1e-2;

/// Adds a published difference to its base.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Folder of the base
    #[arg(value_name = "BASE")]
    base: PathBuf,
    /// Folder of the difference; its tokenizer and configuration are the result's
    #[arg(value_name = "DELTA")]
    delta: PathBuf,
    /// Folder of the result
    #[arg(value_name = "TARGET")]
    target: PathBuf,
    /// What stands in the rows of words that the base lacks
    #[arg(long, value_name = "KIND", default_value = "zeros")]
    new_rows: Rows,
    /// What all parameters must add up to
    #[arg(long, value_name = "NUMBER")]
    sum: Option<f64>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Rows {
    Zeros,
    Mean,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let options = DeltaOptions {
        new_rows: match arguments.new_rows {
            Rows::Zeros => NewRows::Zeros,
            Rows::Mean => NewRows::Mean,
        },
        ..DeltaOptions::default()
    };
    let report = apply_delta(
        &arguments.base,
        &arguments.delta,
        &arguments.target,
        &options,
    )?;
    copy_descriptions(&arguments.delta, &arguments.target)?;
    println!(
        "{} tensors in {} files; all parameters add up to {:.4}",
        report.num_tensors, report.num_shards, report.sum
    );
    if let Some(expected) = arguments.sum {
        let difference = (report.sum - expected).abs();
        ensure!(
            difference <= TOLERANCE,
            "the sum should be {expected}: the base or the difference is another one"
        );
    }
    Ok(())
}

/// Copies the files that are no weights: configuration and tokenizer.
fn copy_descriptions(from: &Path, to: &Path) -> Result<()> {
    for entry in fs::read_dir(from)? {
        let path = entry?.path();
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        let is_description = name.ends_with(".json") || name == "tokenizer.model";
        if is_description && !name.ends_with(".index.json") && path.is_file() {
            let copy = to.join(&*name);
            fs::copy(&path, &copy).with_context(|| format!("cannot write {}", copy.display()))?;
        }
    }
    Ok(())
}
