//! Visual encoders: pixels in, patch features out.

mod clip;
mod patch_embedding;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

pub use clip::{ClipVisionConfig, ClipVisionTransformer, FeatureSelect};
pub use patch_embedding::PatchEmbedding;

use crate::kernels::VlmBackend;

/// Every encoder whose checkpoints can be loaded.
#[derive(Module, Debug)]
pub enum VisualEncoder<B: Backend> {
    /// The vision half of CLIP (Radford et al. 2021).
    Clip(ClipVisionTransformer<B>),
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
        match self {
            Self::Clip(encoder) => encoder.forward(pixel_values),
        }
    }
}
