//! Low-rank adapters (LoRA, Hu et al. 2021) as PEFT saves them: a small folder beside a model's own.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::adapter_config::{AdapterConfig, is_module};
use super::file::WeightFile;
use super::folder::Folder;
use super::format::read_tensors;
use super::key_rule::KeyRule;
use super::tensor::TensorEntry;
use crate::error::{CheckpointError, Result};

const FILES: [&str; 2] = ["adapter_model.safetensors", "adapter_model.bin"];

/// What PEFT puts in front of the names of the model that it wraps.
const PREFIX: &str = "base_model.model.";

/// What cannot be loaded as an adapter works merged.
const REMEDY: &str = "merge it into its model with PEFT's merge_and_unload and open that";

/// Layers that PEFT saves whole where their vocabulary grew, whether the configuration names them or
/// not.
const EMBEDDINGS: [&str; 4] = ["embed_tokens", "lm_head", "embed_in", "embed_out"];

/// The tensors of an adapter, checked against its own configuration.
#[derive(Debug)]
pub(super) struct Adapter {
    pub(super) file: WeightFile,
    pub(super) origin: Origin,
    /// Under the names of the model that the adapter was trained on; factors have the number of their
    /// group behind their own.
    pub(super) tensors: BTreeMap<String, TensorEntry>,
    /// How the factors are found, a rule for each scale.
    pub(super) rules: Vec<KeyRule>,
}

/// Where an adapter comes from.
#[derive(Clone, Debug)]
pub(super) struct Origin {
    pub(super) folder: PathBuf,
    /// The model that it says it was trained on.
    pub(super) base: Option<String>,
}

/// What a name in an adapter's file means.
enum Part {
    Factor {
        module: String,
        segment: &'static str,
    },
    /// A tensor that takes the place of the model's own.
    Whole { name: String },
}

impl Adapter {
    /// Opens an adapter's folder. `first_group` tells its factors from those of others.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if the folder holds no adapter, if it is of a kind that is not a sum of
    /// products, or if its tensors contradict its configuration.
    pub(super) fn open(path: &Path, first_group: usize) -> Result<Self> {
        let config = AdapterConfig::read(path)?;
        let file = Folder::open(path)?.open_first(&FILES)?;
        let stored = read_tensors(&file)?;
        let mut adapter = Self {
            file,
            origin: Origin {
                folder: path.to_path_buf(),
                base: config.base.clone(),
            },
            tensors: BTreeMap::new(),
            rules: Vec::new(),
        };
        let mut groups = Groups {
            first: first_group,
            scales: Vec::new(),
        };
        for (name, entry) in stored {
            let name = match adapter.part(&name, &config)? {
                Part::Whole { name } => name,
                Part::Factor { module, segment } => {
                    let rank = config.rank(&module)?;
                    adapter.require_rank(&name, segment, &entry, rank)?;
                    let group = groups.of(config.scale(&module, rank)?);
                    format!("{module}.{segment}@{group}.weight")
                }
            };
            adapter.tensors.insert(name, entry);
        }
        if groups.scales.is_empty() {
            return Err(adapter
                .file
                .malformed("adapter", "it holds no factor of LoRA"));
        }
        adapter.rules = groups.rules();
        Ok(adapter)
    }

    fn part(&self, name: &str, config: &AdapterConfig) -> Result<Part> {
        let Some(path) = name.strip_prefix(PREFIX) else {
            return Err(self.invalid(name, format!("does not begin with `{PREFIX}`")));
        };
        for segment in ["lora_A", "lora_B"] {
            for ending in [".weight", ".default.weight"] {
                let module = path.strip_suffix(ending);
                let module = module.and_then(|path| path.strip_suffix(segment)?.strip_suffix('.'));
                if let Some(module) = module {
                    return self.factor(name, module, segment, config);
                }
            }
        }
        if path.contains(".lora_") {
            return Err(self
                .file
                .unsupported("an adapter of more than two factors a layer", REMEDY));
        }
        let path = path
            .replace(".modules_to_save.default.", ".")
            .replace(".modules_to_save.", ".");
        let (module, parameter) = path.rsplit_once('.').unwrap_or((&path, ""));
        let saved = config
            .modules_to_save
            .iter()
            .map(String::as_str)
            .chain(EMBEDDINGS);
        let is_saved = { saved }
            .any(|saved| module.contains(&format!("{saved}.")) || is_module(module, saved));
        if is_saved || (config.has_biases && parameter == "bias") {
            return Ok(Part::Whole { name: path });
        }
        Err(self.invalid(
            name,
            "is no factor, and modules_to_save does not name it".to_string(),
        ))
    }

    fn factor(
        &self,
        name: &str,
        module: &str,
        segment: &'static str,
        config: &AdapterConfig,
    ) -> Result<Part> {
        if !config.targets(module) {
            return Err(self.invalid(name, "belongs to no module of target_modules".to_string()));
        }
        Ok(Part::Factor {
            module: module.to_string(),
            segment,
        })
    }

    /// The rank divides the scale: one that is not the tensor's would scale it wrongly.
    fn require_rank(
        &self,
        name: &str,
        segment: &str,
        entry: &TensorEntry,
        rank: usize,
    ) -> Result<()> {
        let shape = entry.info.shape();
        let found = if segment == "lora_A" {
            shape.first()
        } else {
            shape.get(1)
        };
        match found {
            Some(found) if *found == rank => Ok(()),
            _ => {
                let reason = format!(
                    "has the shape {shape:?}; adapter_config.json gives it the rank {rank}"
                );
                Err(self.invalid(name, reason))
            }
        }
    }

    fn invalid(&self, tensor: &str, reason: String) -> crate::Error {
        CheckpointError::InvalidTensor {
            path: self.file.path().to_path_buf(),
            tensor: tensor.to_string(),
            reason,
        }
        .into()
    }
}

/// The scales of an adapter: one, unless patterns in its configuration give more.
struct Groups {
    first: usize,
    scales: Vec<f32>,
}

impl Groups {
    fn of(&mut self, scale: f32) -> usize {
        let known = self.scales.iter().position(|known| *known == scale);
        let group = known.unwrap_or_else(|| {
            self.scales.push(scale);
            self.scales.len() - 1
        });
        self.first + group
    }

    fn rules(&self) -> Vec<KeyRule> {
        let rule = |(group, scale): (usize, &f32)| KeyRule::LowRank {
            down: format!("lora_A@{}", self.first + group).into(),
            up: format!("lora_B@{}", self.first + group).into(),
            scale: *scale,
        };
        self.scales.iter().enumerate().map(rule).collect()
    }
}

#[cfg(test)]
mod tests;
