//! SigLIP (Zhai et al. 2023), as SmolVLM reads it: no class token, and every patch of the last layer.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use super::layer::{VisionLayer, VisionLayerConfig, require_size, run_layers};
use super::patch_embedding::PatchEmbedding;
use crate::kernels::{Activation, GoOn, VlmBackend};
use crate::nn::norm::LayerNorm;

/// Sizes of a [`SiglipVisionTransformer`], under Hugging Face's names.
#[derive(Debug, Clone, PartialEq)]
pub struct SiglipVisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Layers.
    pub num_hidden_layers: usize,
    /// Heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Height and width of a picture, in pixels.
    pub image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// Between the two linear layers of the feed-forward block.
    pub hidden_act: Activation,
    /// Added to the variance in the norms.
    pub layer_norm_eps: f64,
}

impl SiglipVisionConfig {
    /// Patches of a picture, which are its features. Pixels behind the last whole patch are dropped.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Sizes of a layer.
    pub(super) fn layer(&self) -> VisionLayerConfig {
        VisionLayerConfig {
            hidden_size: self.hidden_size,
            intermediate_size: self.intermediate_size,
            num_attention_heads: self.num_attention_heads,
            hidden_act: self.hidden_act,
            layer_norm_eps: self.layer_norm_eps,
        }
    }

    /// Builds the encoder with random weights on `device`, each made when first used.
    pub fn init<B: Backend>(&self, device: &B::Device) -> SiglipVisionTransformer<B> {
        let sizes = self.layer();
        let layers = (0..self.num_hidden_layers).map(|_| VisionLayer::new(&sizes, device));
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        SiglipVisionTransformer {
            embeddings: SiglipEmbeddings {
                patch_embedding: PatchEmbedding::with_bias(
                    self.hidden_size,
                    self.patch_size,
                    device,
                ),
                position_embedding: PositionEmbedding {
                    weight: normal.init([self.num_patches(), self.hidden_size], device),
                },
            },
            encoder: SiglipEncoder {
                layers: layers.collect(),
            },
            post_layernorm: LayerNorm::new(self.hidden_size, self.layer_norm_eps, device),
            image_size: self.image_size,
        }
    }
}

/// SigLIP's vision transformer, without the pooling behind it.
#[derive(Module, Debug)]
pub struct SiglipVisionTransformer<B: Backend> {
    embeddings: SiglipEmbeddings<B>,
    encoder: SiglipEncoder<B>,
    post_layernorm: LayerNorm<B>,
    image_size: usize,
}

#[derive(Module, Debug)]
struct SiglipEmbeddings<B: Backend> {
    patch_embedding: PatchEmbedding<B>,
    position_embedding: PositionEmbedding<B>,
}

#[derive(Module, Debug)]
struct PositionEmbedding<B: Backend> {
    /// `[num_patches, hidden_size]`
    weight: Param<Tensor<B, 2>>,
}

#[derive(Module, Debug)]
struct SiglipEncoder<B: Backend> {
    layers: Vec<VisionLayer<B>>,
}

impl<B: VlmBackend> SiglipVisionTransformer<B> {
    /// Encodes pictures, each on its own; `None` where `go_on`, which is asked between two layers, broke.
    ///
    /// # Shapes
    /// - `pixel_values`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_tiles, num_patches, hidden_size]`
    ///
    /// # Panics
    /// If the pictures are not of the size the encoder was trained on.
    pub fn forward_while(
        &self,
        pixel_values: Tensor<B, 4>,
        go_on: GoOn<'_>,
    ) -> Option<Tensor<B, 3>> {
        require_size(&pixel_values, self.image_size);
        let [num_tiles, ..] = pixel_values.dims();
        let patches = self.embeddings.patch_embedding.forward(pixel_values);
        let positions = self.embeddings.position_embedding.weight.val();
        let embedded = patches.clone() + positions.cast(patches.dtype()).unsqueeze();
        let [_, seq_len, hidden_size] = embedded.dims();
        let hidden = embedded.reshape([num_tiles * seq_len, hidden_size]);
        let hidden = run_layers(&self.encoder.layers, hidden, num_tiles, go_on)?;
        let normed = self.post_layernorm.forward(hidden);
        Some(normed.reshape([num_tiles, seq_len, hidden_size]))
    }
}
