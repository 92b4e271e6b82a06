//! The modules of a model, together.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::{ModelConfig, ProjectorConfig};
use crate::kernels::{GoOn, VlmBackend};
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

impl<B: VlmBackend> VisionLanguageModel<B> {
    /// The rows of prepared tiles; `None` for a model that reads text only, or where `go_on` broke
    /// between two layers of the encoder.
    ///
    /// No projector reads the question yet: one that does runs behind the prompt instead, on what the
    /// encoder made of the tiles.
    ///
    /// # Shapes
    /// - `tiles`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_tiles * rows_per_tile, hidden_size]`
    pub fn image_rows(&self, tiles: Tensor<B, 4>, go_on: GoOn<'_>) -> Option<Tensor<B, 2>> {
        let encoder = self.visual_encoder.as_ref()?;
        let projector = self.projector.as_ref()?;
        let rows = projector.forward(encoder.forward_while(tiles, go_on)?);
        let [num_tiles, rows_per_tile, hidden_size] = rows.dims();
        Some(rows.reshape([num_tiles * rows_per_tile, hidden_size]))
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
    /// Rows of the decoder's width that `num_features` features of one tile become.
    pub fn num_rows(&self, num_features: usize) -> usize {
        match self {
            Self::Linear(_) | Self::Mlp(_) => num_features,
        }
    }

    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> Projector<B> {
        match self {
            Self::Linear(config) => Projector::Linear(config.init(device)),
            Self::Mlp(config) => Projector::Mlp(config.init(device)),
        }
    }
}
