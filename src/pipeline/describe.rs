//! What a folder or a file holds, without loading any of its weights.

use std::collections::BTreeMap;
use std::path::Path;

use super::load_options::LoadOptions;
use super::open::{open_preprocess, open_text_processor};
use crate::error::{CheckpointError, Error, Result};
use crate::kernels::VlmBackend;
use crate::models::{ModelSource, ModelSpec, Resemblance};
use crate::weights::{Checkpoint, LoadReport, MatrixType, WeightOptions, check_module};

/// What is said of the weights at each type: those of [`MatrixType`] that a model can be loaded in.
const TYPES: [MatrixType; 6] = [
    MatrixType::AsStored,
    MatrixType::F32,
    MatrixType::F16,
    MatrixType::BF16,
    MatrixType::Q8,
    MatrixType::Q4,
];

/// What a folder or a file holds, found without loading any of its weights.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct ModelDescription {
    /// Its family and configuration, if it is of one that can be run.
    pub spec: Option<ModelSpec>,
    /// The stored tensors by the name of their element type.
    pub stored: BTreeMap<&'static str, StoredTensors>,
    /// Which tensors fill which parameters, if all of them do.
    pub fit: Option<LoadReport>,
    /// Bytes that the weights take on the device at each type that matrices may be kept in; empty
    /// where model and weights do not fit.
    pub memory: Vec<(MatrixType, u64)>,
    /// Bytes that the cache takes for each token, where it is kept in f32.
    pub cache_bytes_per_token: Option<u64>,
    /// What stands in the way: the errors that opening would give, one after another.
    pub problems: Vec<Error>,
    /// What the names of its tensors look like, where it is of no family that can be run.
    pub resemblance: Option<Resemblance>,
}

/// Tensors of one element type.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct StoredTensors {
    /// How many tensors.
    pub tensors: usize,
    /// Elements of all together.
    pub elements: u64,
    /// Bytes of all together.
    pub bytes: u64,
}

impl ModelDescription {
    /// Looks at a model folder, or at a file of weights. Nothing of it is an error: what is wrong is
    /// part of the description.
    pub fn of<B: VlmBackend>(path: &Path, device: &B::Device) -> Self {
        let mut description = Self::default();
        let source = description.keep(ModelSource::find(path, None));
        if let Some(source) = &source {
            description.read_small_files(source);
        }
        let weights = open_weights(path, source, description.spec.as_ref());
        let checkpoint = description.keep(weights);
        let Some(checkpoint) = checkpoint else {
            return description;
        };
        description.count(&checkpoint);
        match description.spec.clone() {
            Some(spec) => description.fit::<B>(spec, &checkpoint, device),
            None => {
                let names = checkpoint.iter().map(|(name, _)| name);
                description.resemblance = Resemblance::of(names);
            }
        }
        description
    }

    /// What was found, or nothing and a problem more.
    fn keep<T>(&mut self, found: Result<T>) -> Option<T> {
        found.map_err(|error| self.problems.push(error)).ok()
    }

    fn read_small_files(&mut self, source: &ModelSource) {
        self.spec = self.keep(source.spec());
        let Some(spec) = self.spec.clone() else {
            return;
        };
        self.cache_bytes_per_token = Some(cache_bytes_per_token(&spec));
        let allowance = LoadOptions::new().size_allowance.0;
        self.keep(spec.config.require_affordable(allowance));
        self.keep(open_text_processor(source, &spec));
        if let Some(preprocess) = self.keep(open_preprocess(&spec)).flatten() {
            let max_tiles = preprocess.max_tiles();
            self.keep(spec.config.require_affordable_tiles(max_tiles, allowance));
        }
    }

    fn count(&mut self, checkpoint: &Checkpoint) {
        for (_, info) in checkpoint.iter() {
            let stored = self.stored.entry(info.element_type().name()).or_default();
            stored.tensors += 1;
            stored.elements += info.num_elements() as u64;
            stored.bytes += info.len_bytes() as u64;
        }
    }

    fn fit<B: VlmBackend>(
        &mut self,
        mut spec: ModelSpec,
        checkpoint: &Checkpoint,
        device: &B::Device,
    ) {
        self.keep(spec.config.settle_head(checkpoint));
        let model = spec.config.init::<B>(device);
        let check = |matrices| {
            let options = WeightOptions::default().with_matrices(matrices);
            check_module(&model, checkpoint, &spec.config.key_map, &options)
        };
        self.fit = self.keep(check(MatrixType::AsStored));
        if self.fit.is_none() {
            return;
        }
        for matrices in TYPES {
            match check(matrices) {
                Ok(report) => self.memory.push((matrices, report.kept_bytes)),
                // A type that the device does not read has no line.
                Err(Error::Checkpoint(CheckpointError::WeightType { .. })) => {}
                Err(error) => return self.problems.push(error),
            }
        }
    }
}

fn open_weights(
    path: &Path,
    source: Option<ModelSource>,
    spec: Option<&ModelSpec>,
) -> Result<Checkpoint> {
    match (source, spec) {
        (Some(source), Some(spec)) => source.into_checkpoint(spec),
        (Some(ModelSource::Gguf(model)), None) => model.into_checkpoint(),
        _ if path.is_dir() => Checkpoint::open(path),
        _ => Checkpoint::open_files(&[path]),
    }
}

/// Keys and values of all layers.
fn cache_bytes_per_token(spec: &ModelSpec) -> u64 {
    let decoder = &spec.config.decoder;
    let width = decoder.layer.num_key_value_heads * decoder.layer.head_dim;
    (2 * decoder.num_hidden_layers * width * size_of::<f32>()) as u64
}
