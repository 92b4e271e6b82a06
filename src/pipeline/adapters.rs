//! Adapters that stay beside the weights, of which each request takes one or none.

use std::collections::BTreeMap;
use std::path::Path;

use burn::tensor::{DType, Tensor};

use super::load_options::LoadOptions;
use crate::error::{ConfigError, RequestError, Result};
use crate::kernels::VlmBackend;
use crate::models::{ModelSpec, VisionLanguageModel};
use crate::nn::{LlamaDecoder, LowRank};
use crate::weights::{Checkpoint, LowRankFactors, MatrixType, WeightOptions, load_apart};

/// An adapter whose files are open; its numbers are not read yet.
pub(super) struct OpenAdapter<'o> {
    name: &'o str,
    folder: &'o Path,
    /// That of the model, with the adapter added last.
    checkpoint: Checkpoint,
}

impl<'o> OpenAdapter<'o> {
    /// Opens all that have names.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if two have one name, and those of
    /// [`Checkpoint::add_adapter`].
    pub(super) fn open_named(options: &'o LoadOptions, model: &Checkpoint) -> Result<Vec<Self>> {
        let named = &options.named_adapters;
        let mut adapters = Vec::new();
        for (index, (name, folder)) in named.iter().enumerate() {
            if named[..index].iter().any(|(earlier, _)| earlier == name) {
                return Err(ConfigError::OutOfRange {
                    field: "name of an adapter".to_string(),
                    found: format!("{name} for two of them"),
                    expected: "a name of its own for each".to_string(),
                }
                .into());
            }
            let mut checkpoint = model.clone();
            checkpoint.add_adapter(folder)?;
            adapters.push(Self {
                name,
                folder,
                checkpoint,
            });
        }
        Ok(adapters)
    }
}

/// What adapters are loaded beside.
pub(super) struct Bare<'a, B: VlmBackend> {
    pub(super) spec: &'a ModelSpec,
    pub(super) model: &'a VisionLanguageModel<B>,
    pub(super) device: &'a B::Device,
    pub(super) matrices: MatrixType,
}

/// The decoder with each adapter, by the adapter's name. They share the weights.
#[derive(Debug)]
pub(super) struct Adapters<B: VlmBackend>(BTreeMap<String, LlamaDecoder<B>>);

impl<B: VlmBackend> Adapters<B> {
    /// # Errors
    ///
    /// [`ConfigError::Unsupported`] if one changes more than the decoder, and those of loading it.
    pub(super) fn load(adapters: &[OpenAdapter<'_>], bare: &Bare<'_, B>) -> Result<Self> {
        let load = |adapter: &OpenAdapter<'_>| {
            let decoder = bare.adapted(adapter)?;
            Ok((adapter.name.to_string(), decoder))
        };
        Ok(Self(adapters.iter().map(load).collect::<Result<_>>()?))
    }

    /// Their names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    /// The decoder with the adapter of this name.
    pub(super) fn get(&self, name: &str) -> Result<&LlamaDecoder<B>, RequestError> {
        self.0
            .get(name)
            .ok_or_else(|| RequestError::UnknownAdapter {
                name: name.to_string(),
                known: self.names().map(str::to_string).collect(),
            })
    }
}

impl<B: VlmBackend> Bare<'_, B> {
    fn adapted(&self, adapter: &OpenAdapter<'_>) -> Result<LlamaDecoder<B>> {
        let options = WeightOptions::default().with_matrices(self.matrices);
        let config = &self.spec.config;
        let (blank, model) = (config.init::<B>(self.device), self.model.clone());
        let loaded = load_apart(&blank, model, &adapter.checkpoint, &config.key_map, options)?;
        let mut updates = BTreeMap::new();
        let mut elsewhere = loaded.replaced;
        elsewhere.retain(|path| !path.starts_with(DECODER));
        for (path, factors) in loaded.factors {
            match of_decoder(&path) {
                Some(layer) => {
                    updates.insert(layer.to_string(), self.low_rank(factors));
                }
                None => elsewhere.push(path),
            }
        }
        let (decoder, without_layer) = loaded.module.decoder.with_low_rank(updates);
        elsewhere.extend(without_layer);
        match elsewhere.first() {
            None => Ok(decoder),
            Some(path) => Err(changes_more(adapter.folder, path).into()),
        }
    }

    fn low_rank(&self, factors: LowRankFactors) -> LowRank<B> {
        let [down, up] = [factors.down, factors.up]
            .map(|factor| Tensor::from_data(factor, (self.device, DType::F32)));
        LowRank::new(down, up)
    }
}

/// Where a decoder's parameters are.
const DECODER: &str = "decoder.";

/// The linear layer of the decoder whose weight is at `path`.
fn of_decoder(path: &str) -> Option<&str> {
    path.strip_prefix(DECODER)?.strip_suffix(".weight")
}

fn changes_more(folder: &Path, path: &str) -> ConfigError {
    const SUPPORTED: &str =
        "the linear layers of the decoder; LoadOptions::with_adapter merges an adapter of any";
    ConfigError::Unsupported {
        field: format!("named adapter {}", folder.display()),
        found: path.to_string(),
        supported: vec![SUPPORTED.to_string()],
    }
}
