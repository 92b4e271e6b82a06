//! Which model, on which device: the flags and the opening.

mod repository;
mod warnings;

use std::io::IsTerminal;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Mutex;

use anyhow::{Context, Result};
use burn_vlm::weights::MatrixType;
use burn_vlm::{AnyPipeline, DeviceName, FolderLinks, LoadOptions, WarmUp};
use clap::{Args, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};

use repository::repository;

/// The model that the repository ships.
const DEMO_MODEL: &str = "examples/demo/model";

/// Which model, on which device.
#[derive(Debug, Args)]
pub(crate) struct ModelArgs {
    /// Folder of the model, or a GGUF file; the demo model without it
    #[arg(long, value_name = "PATH")]
    pub(crate) model: Option<PathBuf>,
    /// The file with the eyes of a model in GGUF, where it is not beside the model
    #[arg(long, value_name = "FILE")]
    pub(crate) mmproj: Option<PathBuf>,
    /// auto, cpu, wgpu, vulkan, metal, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "auto")]
    pub(crate) device: DeviceName,
    /// What linear and embedding weights are kept in
    #[arg(long, value_name = "TYPE", default_value = "as-stored")]
    pub(crate) weights: Weights,
    /// Reads the weights from a file that `--save-weights` wrote, in place of the model's own
    #[arg(long, value_name = "FILE", conflicts_with_all = ["adapter", "named_adapter"])]
    pub(crate) saved_weights: Option<PathBuf>,
    /// Writes the weights as they are kept into a new file, for `--saved-weights`
    #[arg(long, value_name = "FILE")]
    pub(crate) save_weights: Option<PathBuf>,
    /// Folder of a LoRA adapter to merge into the weights; may be given more than once
    #[arg(long, value_name = "DIR")]
    pub(crate) adapter: Vec<PathBuf>,
    /// Loads a LoRA adapter beside the weights, for `--use-adapter`; may be given more than once
    #[arg(long, value_name = "NAME=DIR", value_parser = named_folder, requires = "use_adapter")]
    pub(crate) named_adapter: Vec<(String, PathBuf)>,
    /// The adapter to answer with, by the name that `--named-adapter` gave it
    #[arg(long, value_name = "NAME", requires = "named_adapter")]
    pub(crate) use_adapter: Option<String>,
    /// Refuse a model folder with links that lead out of it: for folders that come from strangers
    #[arg(long)]
    pub(crate) links_inside: bool,
}

/// What matrices may be kept in.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(crate) enum Weights {
    AsStored,
    F32,
    F16,
    Bf16,
    Q8,
    Q4,
}

impl ModelArgs {
    /// The folder of the model.
    pub(crate) fn folder(&self) -> PathBuf {
        self.model.clone().unwrap_or_else(|| repository(DEMO_MODEL))
    }

    /// Opens the model, with a progress bar where somebody looks, and tells which devices were
    /// passed over.
    pub(crate) fn open(&self) -> Result<AnyPipeline> {
        warnings::show();
        let folder = self.folder();
        let bar = progress_bar("loading {bar:40} {bytes}/{total_bytes}");
        let shown = Mutex::new(bar.clone());
        let adapters = self.adapter.iter();
        let mut options = adapters
            .fold(LoadOptions::new(), LoadOptions::with_adapter)
            .with_weights(self.matrix_type())
            .with_links(self.links())
            .with_progress(move |progress| {
                if let Ok(bar) = shown.lock() {
                    bar.set_length(progress.total_bytes);
                    bar.set_position(progress.done_bytes);
                }
            });
        for (name, folder) in &self.named_adapter {
            options = options.with_named_adapter(name, folder);
        }
        if let Some(mmproj) = &self.mmproj {
            options = options.with_mmproj(mmproj);
        }
        if let Some(file) = &self.saved_weights {
            options = options.with_saved_weights(file);
        }
        let pipeline = AnyPipeline::open(&folder, self.device, &options);
        bar.finish_and_clear();
        let pipeline = pipeline.with_context(|| format!("cannot open the model in {folder:?}"))?;
        for reason in pipeline.passed_over() {
            eprintln!("passed over {reason}");
        }
        if let Some(file) = &self.save_weights {
            pipeline.save_weights(file)?;
        }
        Ok(pipeline)
    }

    fn links(&self) -> FolderLinks {
        match self.links_inside {
            true => FolderLinks::StayInside,
            false => FolderLinks::Follow,
        }
    }

    /// The type of the weights.
    pub(crate) fn matrix_type(&self) -> MatrixType {
        match self.weights {
            Weights::AsStored => MatrixType::AsStored,
            Weights::F32 => MatrixType::F32,
            Weights::F16 => MatrixType::F16,
            Weights::Bf16 => MatrixType::BF16,
            Weights::Q8 => MatrixType::Q8,
            Weights::Q4 => MatrixType::Q4,
        }
    }
}

/// What stands before the first `=`, and the folder behind it.
fn named_folder(argument: &str) -> Result<(String, PathBuf), &'static str> {
    match argument.split_once('=') {
        Some((name, folder)) if !name.is_empty() => Ok((name.to_string(), folder.into())),
        _ => Err("a name, `=` and a folder are needed"),
    }
}

/// Compiles the kernels, with a progress bar where somebody looks.
#[allow(dead_code, reason = "each program uses its own part of this module")]
pub(crate) fn warm_up(pipeline: &AnyPipeline) -> Result<WarmUp> {
    let bar = progress_bar("warming up {bar:40} {pos}/{len} {msg}");
    let warmed_up = pipeline.warm_up(|progress| {
        bar.set_length(progress.total_steps as u64);
        bar.set_position(progress.done_steps as u64);
        bar.set_message(format!("{:?}", progress.stage));
        ControlFlow::Continue(())
    });
    bar.finish_and_clear();
    warmed_up.context("cannot warm up")
}

fn progress_bar(template: &str) -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let style = ProgressStyle::with_template(template);
    ProgressBar::new(0).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
