//! EVA-CLIP's vision transformer (Fang et al. 2022), as BLIP-2, InstructBLIP and MiniGPT-4 read it.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use super::clip::FeatureSelect;
use super::layer::{VisionLayer, VisionLayerConfig, require_size, run_layers};
use super::patch_embedding::PatchEmbedding;
use super::position_table::resample_positions;
use crate::kernels::{Activation, GoOn, VlmBackend};
use crate::nn::norm::LayerNorm;

/// Sizes of an [`EvaVisionTransformer`], under Hugging Face's names.
#[derive(Debug, Clone, PartialEq)]
pub struct EvaVisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Layers that are run.
    pub num_hidden_layers: usize,
    /// Heads; divides `hidden_size`.
    pub num_attention_heads: usize,
    /// Height and width of a picture, in pixels.
    pub image_size: usize,
    /// Height and width of the pictures whose positions were learned, in pixels.
    pub position_image_size: usize,
    /// Height and width of a patch, in pixels.
    pub patch_size: usize,
    /// Between the two linear layers of the feed-forward block.
    pub hidden_act: Activation,
    /// Added to the variance in the norms of the layers.
    pub layer_norm_eps: f64,
    /// Added to the variance in the norm behind them.
    pub post_layer_norm_eps: f64,
    /// Which features are given out.
    pub select: FeatureSelect,
}

impl EvaVisionConfig {
    /// Patches of a picture.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Features given out for a picture.
    pub fn num_features(&self) -> usize {
        self.select.num_features(self.num_patches())
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
    pub fn init<B: Backend>(&self, device: &B::Device) -> EvaVisionTransformer<B> {
        let hidden_size = self.hidden_size;
        let sizes = self.layer();
        let layers = (0..self.num_hidden_layers).map(|_| VisionLayer::new(&sizes, device));
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let grid = |image_size| image_size / self.patch_size;
        let grids = [self.position_image_size, self.image_size].map(grid);
        let learned = grids[0] * grids[0] + 1;
        let patches = PatchEmbedding::with_bias(hidden_size, self.patch_size, device);
        EvaVisionTransformer {
            class_embedding: normal.init([1, 1, hidden_size], device),
            position_embedding: normal.init([1, learned, hidden_size], device),
            patch_embedding: patches,
            layers: layers.collect(),
            post_layernorm: LayerNorm::new(hidden_size, self.post_layer_norm_eps, device),
            image_size: self.image_size,
            grids,
            select: self.select,
        }
    }
}

/// EVA-CLIP's vision transformer and the norm that BLIP-2 put behind it (`ln_vision`).
#[derive(Module, Debug)]
pub struct EvaVisionTransformer<B: Backend> {
    /// `[1, 1, hidden_size]`
    class_embedding: Param<Tensor<B, 3>>,
    /// `[1, learned_patches + 1, hidden_size]`
    position_embedding: Param<Tensor<B, 3>>,
    patch_embedding: PatchEmbedding<B>,
    layers: Vec<VisionLayer<B>>,
    post_layernorm: LayerNorm<B>,
    image_size: usize,
    /// Patches along a side: of the pictures whose positions were learned, and of those that are read.
    grids: [usize; 2],
    #[module(skip)]
    select: FeatureSelect,
}

impl<B: VlmBackend> EvaVisionTransformer<B> {
    /// Encodes pictures, each on its own; `None` where `go_on`, which is asked between two layers, broke.
    ///
    /// # Shapes
    /// - `pixel_values`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_tiles, num_features, hidden_size]`
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
        let embedded = self.embed(pixel_values);
        let [_, seq_len, hidden_size] = embedded.dims();
        let hidden = embedded.reshape([num_tiles * seq_len, hidden_size]);
        let hidden = run_layers(&self.layers, hidden, num_tiles, go_on)?;
        let features = self.post_layernorm.forward(hidden);
        let features = features.reshape([num_tiles, seq_len, hidden_size]);
        Some(self.select.of(features))
    }

    fn embed(&self, pixel_values: Tensor<B, 4>) -> Tensor<B, 3> {
        let patches = self.patch_embedding.forward(pixel_values);
        let [num_tiles, _, _] = patches.dims();
        let dtype = patches.dtype();
        let class = self.class_embedding.val().cast(dtype);
        let positions = resample_positions(self.position_embedding.val(), self.grids);
        Tensor::cat(vec![class.repeat_dim(0, num_tiles), patches], 1) + positions.cast(dtype)
    }
}
