//! The families of models this crate runs: data that joins the modules, the weights and the words.
//!
//! A family is one file here and one line in [`FAMILIES`]. It says how its `config.json` becomes a
//! [`ModelConfig`] and how its tensors are called; [`ModelSpec::read`] finds the family of a folder
//! by walking the register, and [`VisionLanguageModel`] is what a configuration builds.

mod blip;
mod blip2;
mod cost;
mod fields;
mod generation_config;
mod gguf_clip;
mod gguf_fields;
mod gguf_llama;
mod gguf_model;
mod gguf_words;
mod gpt_neox;
mod grounding;
mod head;
mod idefics3;
mod image_layout;
mod instructblip;
mod llama;
mod llava;
mod llava_authors;
mod llava_next;
mod minigpt4;
mod minigpt_v2;
mod mistral;
mod model_file;
mod model_files;
mod model_source;
mod opt;
mod project;
mod resemblance;
mod spec;
mod vision_fields;
mod vision_language;
mod yaml;

use crate::error::Result;
use crate::image::{ImageSize, PreprocessConfig};
use crate::nn::{
    AnyResolutionConfig, LinearProjectorConfig, LlamaConfig, MergeProjectorConfig,
    MlpProjectorConfig, PixelShuffleConfig, QFormerConfig, VisualEncoderConfig,
};
use crate::text::Bos;
use crate::weights::KeyMap;
use fields::Fields;

#[cfg(feature = "testing")]
pub use generation_config::GenerationConfig;
pub use grounding::{GroundedPhrase, PixelBox, RelativeBox, TaskTag};
pub use image_layout::ImageLayout;
pub(crate) use model_file::read_config;
pub(crate) use model_files::{ModelFiles, Processor};
pub(crate) use model_source::ModelSource;
pub use resemblance::Resemblance;
pub use spec::ModelSpec;
pub use vision_language::VisionLanguageModel;

/// Every family that can be run.
pub const FAMILIES: &[Family] = &[
    llava::FAMILY,
    llava_next::FAMILY,
    llama::FAMILY,
    mistral::FAMILY,
    gpt_neox::FAMILY,
    minigpt4::FAMILY,
    minigpt4::OVER_LLAMA_2,
    minigpt_v2::FAMILY,
    instructblip::FAMILY,
    blip2::FAMILY,
    idefics3::FAMILY,
    idefics3::SMOLVLM,
];

/// One family of models.
#[derive(Debug)]
pub struct Family {
    /// Its name.
    pub name: &'static str,
    /// The `architectures` in `config.json`, or the `arch` in a project's YAML, that belong to it. They
    /// decide between families of one model type, and where the model type is not known.
    pub architectures: &'static [&'static str],
    /// The `model_type` beside them that belongs to it. It decides, as in `transformers`: old
    /// checkpoints spell their architecture otherwise.
    pub model_type: &'static str,
    /// The template for a checkpoint that brings none of its own.
    pub default_template: &'static str,
    /// What its own chat template leaves to us of the beginning of a prompt.
    pub chat_bos: Bos,
    /// The class of `transformers` that prepares its pictures where no file names one; `None` where
    /// it sees none, or has a way of its own.
    pub(crate) image_processor: Option<&'static str>,
    /// How its pictures are prepared where no file says anything; `None` where its models differ too
    /// much for one to be meant.
    pub(crate) usual_preparation: Option<fn(&VisionConfig) -> Result<PreprocessConfig>>,
    /// How a picture of a size is cut, and what stands for it in a prompt.
    layout: fn(&VisionConfig, &PreprocessConfig, ImageSize) -> ImageLayout,
    /// From the fields of `config.json`, or the `model` section of a project's YAML, to a
    /// configuration.
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
    pub(crate) key_map: KeyMap,
}

/// From pixels to rows of the decoder's width.
#[derive(Debug, Clone, PartialEq)]
pub struct VisionConfig {
    /// The visual encoder.
    pub encoder: VisualEncoderConfig,
    /// The projector behind it.
    pub projector: ProjectorConfig,
    /// The id that stands for one row of a picture in a prompt; `None` where the vocabulary has none.
    pub image_token_id: Option<u32>,
    /// The sizes that a picture may be cut into tiles at (HF `image_grid_pinpoints`); none where it is
    /// cut otherwise or not at all.
    pub image_grid_pinpoints: Vec<ImageSize>,
}

/// Sizes of a [`Projector`](crate::nn::Projector).
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum ProjectorConfig {
    /// One linear layer.
    Linear(LinearProjectorConfig),
    /// Two linear layers.
    Mlp(MlpProjectorConfig),
    /// Neighbours side by side, then one linear layer.
    Merge(MergeProjectorConfig),
    /// Learned queries that read the picture.
    QFormer(QFormerConfig),
    /// Blocks of features side by side, then one linear layer.
    PixelShuffle(PixelShuffleConfig),
    /// Two linear layers over tiles that are laid side by side.
    AnyResolution(AnyResolutionConfig),
}
