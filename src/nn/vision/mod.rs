//! Visual encoders: pixels in, patch features out.

mod clip;
mod eva;
mod layer;
mod patch_embedding;
mod position_table;
mod siglip;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

pub use clip::{ClipVisionConfig, ClipVisionTransformer, FeatureSelect};
pub use eva::{EvaVisionConfig, EvaVisionTransformer};
pub use patch_embedding::PatchEmbedding;
pub use siglip::{SiglipVisionConfig, SiglipVisionTransformer};

use crate::kernels::{ALWAYS, GoOn, VlmBackend};

/// Sizes of a [`VisualEncoder`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum VisualEncoderConfig {
    /// The vision half of CLIP.
    Clip(ClipVisionConfig),
    /// EVA-CLIP's vision transformer.
    Eva(EvaVisionConfig),
    /// SigLIP's vision transformer.
    Siglip(SiglipVisionConfig),
}

/// What the cost of an encoder follows from.
#[derive(Debug, Clone, Copy)]
pub(crate) struct EncoderSizes {
    /// Rows of the residual stream for a picture.
    pub(crate) num_rows: usize,
    pub(crate) hidden_size: usize,
    pub(crate) intermediate_size: usize,
    pub(crate) num_layers: usize,
    pub(crate) num_heads: usize,
}

impl VisualEncoderConfig {
    /// What the cost of the encoder follows from.
    pub(crate) fn sizes(&self) -> EncoderSizes {
        let (layer, num_layers, num_rows) = match self {
            Self::Clip(config) => (
                config.layer(),
                config.num_hidden_layers,
                config.num_patches() + 1,
            ),
            Self::Eva(config) => (
                config.layer(),
                config.num_hidden_layers,
                config.num_patches() + 1,
            ),
            Self::Siglip(config) => (
                config.layer(),
                config.num_hidden_layers,
                config.num_patches(),
            ),
        };
        EncoderSizes {
            num_rows,
            hidden_size: layer.hidden_size,
            intermediate_size: layer.intermediate_size,
            num_layers,
            num_heads: layer.num_attention_heads,
        }
    }

    /// Height and width of a picture, in pixels.
    pub fn image_size(&self) -> usize {
        match self {
            Self::Clip(config) => config.image_size,
            Self::Eva(config) => config.image_size,
            Self::Siglip(config) => config.image_size,
        }
    }

    /// Features given out for a picture.
    pub fn num_features(&self) -> usize {
        match self {
            Self::Clip(config) => config.num_features(),
            Self::Eva(config) => config.num_features(),
            Self::Siglip(config) => config.num_patches(),
        }
    }

    /// Builds the encoder with random weights on `device`, each made when first used.
    pub fn init<B: Backend>(&self, device: &B::Device) -> VisualEncoder<B> {
        match self {
            Self::Clip(config) => VisualEncoder::Clip(config.init(device)),
            Self::Eva(config) => VisualEncoder::Eva(config.init(device)),
            Self::Siglip(config) => VisualEncoder::Siglip(config.init(device)),
        }
    }
}

/// Every encoder whose checkpoints can be loaded.
#[derive(Module, Debug)]
pub enum VisualEncoder<B: Backend> {
    /// The vision half of CLIP (Radford et al. 2021).
    Clip(ClipVisionTransformer<B>),
    /// EVA-CLIP's vision transformer (Fang et al. 2022).
    Eva(EvaVisionTransformer<B>),
    /// SigLIP's vision transformer (Zhai et al. 2023).
    Siglip(SiglipVisionTransformer<B>),
}

impl<B: VlmBackend> VisualEncoder<B> {
    /// Encodes pictures, each on its own.
    ///
    /// # Shapes
    /// - `pixel_values`: `[num_tiles, 3, height, width]`
    /// - output: `[num_tiles, num_features, hidden_size]`
    ///
    /// # Panics
    /// If the pictures are not of the size the encoder was trained on.
    pub fn forward(&self, pixel_values: Tensor<B, 4>) -> Tensor<B, 3> {
        let features = self.forward_while(pixel_values, &ALWAYS);
        features.expect("nobody interrupts the encoding")
    }

    /// As [`forward`](Self::forward), as long as `go_on` says so: it is asked between two layers.
    ///
    /// # Panics
    /// As there.
    pub fn forward_while(
        &self,
        pixel_values: Tensor<B, 4>,
        go_on: GoOn<'_>,
    ) -> Option<Tensor<B, 3>> {
        match self {
            Self::Clip(encoder) => encoder.forward_while(pixel_values, go_on),
            Self::Eva(encoder) => encoder.forward_while(pixel_values, go_on),
            Self::Siglip(encoder) => encoder.forward_while(pixel_values, go_on),
        }
    }
}
