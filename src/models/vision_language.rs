//! The modules of a model, together.

use burn::module::Module;
use burn::tensor::backend::Backend;

use super::{ModelConfig, ProjectorConfig};
use crate::nn::{LlamaDecoder, Projector, VisualEncoder};

/// A visual encoder, a projector and a language decoder.
#[derive(Module, Debug)]
pub struct VisionLanguageModel<B: Backend> {
    /// Pixels to patch features; `None` for a model that reads text only.
    pub visual_encoder: Option<VisualEncoder<B>>,
    /// Patch features to rows of the decoder's width.
    pub projector: Option<Projector<B>>,
    /// Rows to logits.
    pub decoder: LlamaDecoder<B>,
}

impl ModelConfig {
    /// Builds the model with random weights on `device`, each made when first used: loading a
    /// checkpoint into it makes none of them.
    pub fn init<B: Backend>(&self, device: &B::Device) -> VisionLanguageModel<B> {
        let vision = self.vision.as_ref();
        VisionLanguageModel {
            visual_encoder: vision.map(|vision| VisualEncoder::Clip(vision.encoder.init(device))),
            projector: vision.map(|vision| vision.projector.init(device)),
            decoder: self.decoder.init(device),
        }
    }
}

impl ProjectorConfig {
    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Projector<B> {
        match self {
            Self::Linear(config) => Projector::Linear(config.init(device)),
            Self::Mlp(config) => Projector::Mlp(config.init(device)),
        }
    }
}
