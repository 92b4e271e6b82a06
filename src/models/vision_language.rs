//! The modules of a model, together.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{ModelConfig, ProjectorConfig};
use crate::kernels::{GoOn, VlmBackend};
use crate::nn::{LlamaDecoder, Projector, ProjectorInputs, VisualEncoder};

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

impl<B: VlmBackend> VisionLanguageModel<B> {
    /// The features of prepared tiles, at most `at_once` of which go through the encoder together;
    /// `None` for a model that reads text only, or where `go_on` broke between two layers of the
    /// encoder.
    ///
    /// # Shapes
    /// - `tiles`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_tiles, num_features, vision_hidden_size]`
    pub fn image_features(
        &self,
        tiles: Tensor<B, 4>,
        at_once: usize,
        go_on: GoOn<'_>,
    ) -> Option<Tensor<B, 3>> {
        let encoder = self.visual_encoder.as_ref()?;
        if tiles.dims()[0] <= at_once {
            return encoder.forward_while(tiles, go_on);
        }
        let parts = tiles.split(at_once, 0).into_iter();
        let features: Option<Vec<_>> = parts
            .map(|part| encoder.forward_while(part, go_on))
            .collect();
        Some(Tensor::cat(features?, 0))
    }

    /// Whether the rows of a picture depend on the question: they are then made behind each prompt,
    /// of features that are kept.
    pub fn reads_question(&self) -> bool {
        let projector = self.projector.as_ref();
        projector.is_some_and(Projector::reads_question)
    }

    /// The rows of the features of one picture; `None` for a model that reads text only.
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, num_features, vision_hidden_size]`
    /// - output: `[num_rows, hidden_size]`
    ///
    /// # Panics
    /// As [`Projector::forward`].
    pub fn image_rows(
        &self,
        features: Tensor<B, 3>,
        inputs: ProjectorInputs<'_>,
    ) -> Option<Tensor<B, 2>> {
        Some(self.projector.as_ref()?.forward(features, inputs))
    }
}

impl ModelConfig {
    /// Builds the model with random weights on `device`, each made when first used: loading a
    /// checkpoint into it makes none of them.
    pub fn init<B: Backend>(&self, device: &B::Device) -> VisionLanguageModel<B> {
        let vision = self.vision.as_ref();
        VisionLanguageModel {
            visual_encoder: vision.map(|vision| vision.encoder.init(device)),
            projector: vision.map(|vision| vision.projector.init(device)),
            decoder: self.decoder.init(device),
        }
    }
}

impl ProjectorConfig {
    /// Rows of the decoder's width that `num_features` features of one tile become, where no tile lies
    /// beside it.
    pub fn num_rows(&self, num_features: usize) -> usize {
        match self {
            Self::Linear(_) | Self::Mlp(_) | Self::AnyResolution(_) => num_features,
            Self::Merge(config) => num_features / config.num_merged,
            Self::QFormer(config) => config.num_query_tokens,
            Self::PixelShuffle(config) => num_features / config.block_len(),
        }
    }

    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Projector<B> {
        match self {
            Self::Linear(config) => Projector::Linear(config.init(device)),
            Self::Mlp(config) => Projector::Mlp(config.init(device)),
            Self::Merge(config) => Projector::Merge(config.init(device)),
            Self::QFormer(config) => Projector::QFormer(config.init(device)),
            Self::PixelShuffle(config) => Projector::PixelShuffle(config.init(device)),
            Self::AnyResolution(config) => Projector::AnyResolution(config.init(device)),
        }
    }
}
