//! The families of models this crate runs: data that joins the modules, the weights and the words.
//!
//! A family is one file here and one line in [`FAMILIES`]. It says how its `config.json` becomes a
//! [`ModelConfig`] and how its tensors are called; [`ModelSpec::read`] finds the family of a folder
//! by walking the register, and [`VisionLanguageModel`] is what a configuration builds.

mod fields;
mod llama;
mod llava;
mod model_file;
mod spec;
mod vision_language;

use crate::error::Result;
use crate::nn::{ClipVisionConfig, LinearProjectorConfig, LlamaConfig, MlpProjectorConfig};
use crate::weights::KeyMap;
use fields::Fields;

pub(crate) use model_file::read_config;
pub use spec::ModelSpec;
pub use vision_language::VisionLanguageModel;

/// Every family that can be run.
pub const FAMILIES: &[Family] = &[llava::FAMILY, llama::FAMILY];

/// One family of models.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// The `architectures` in `config.json` that belong to it.
    pub architectures: &'static [&'static str],
    /// The `model_type` in `config.json` that belongs to it, where no architecture is named.
    pub model_type: &'static str,
    /// The template for a checkpoint that brings none of its own.
    pub default_template: &'static str,
    /// From the fields of `config.json` to a configuration.
    parse: fn(&Fields<'_>) -> Result<ModelConfig>,
}

/// What is needed to build a model and to feed it.
#[derive(Debug, Clone)]
pub struct ModelConfig {
    /// The language decoder.
    pub decoder: LlamaConfig,
    /// The way of a picture; `None` for a model that reads text only.
    pub vision: Option<VisionConfig>,
    /// Ids that end an answer, as the model's configuration lists them.
    pub eos_token_ids: Vec<u32>,
    /// From the names of the tensors to the paths in [`VisionLanguageModel`].
    pub key_map: KeyMap,
}

/// From pixels to rows of the decoder's width.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// The visual encoder.
    pub encoder: ClipVisionConfig,
    /// The projector behind it.
    pub projector: ProjectorConfig,
    /// The id that stands for one row of a picture in a prompt.
    pub image_token_id: u32,
}

/// Sizes of a [`Projector`](crate::nn::Projector).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProjectorConfig {
    /// One linear layer.
    Linear(LinearProjectorConfig),
    /// Two linear layers.
    Mlp(MlpProjectorConfig),
}

impl VisionConfig {
    /// Rows that one tile of a picture takes in a prompt.
    pub fn rows_per_tile(&self) -> usize {
        self.encoder.num_features()
    }
}
