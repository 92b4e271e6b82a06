//! The vision half of CLIP (Radford et al. 2021), as LLaVA reads it: an inner layer's features.

use std::collections::BTreeMap;

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use super::layer::{VisionLayer, VisionLayerConfig, require_size, run_layers};
use super::patch_embedding::PatchEmbedding;
use crate::kernels::{Activation, GoOn, VlmBackend};
use crate::nn::norm::LayerNorm;

/// Sizes of a [`ClipVisionTransformer`], under Hugging Face's names.
#[derive(Debug, Clone, PartialEq)]
pub struct ClipVisionConfig {
    /// Width of the residual stream.
    pub hidden_size: usize,
    /// Width of the feed-forward block.
    pub intermediate_size: usize,
    /// Layers that are run. Checkpoints hold more where features are taken from an inner one.
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
    /// Which features are given out (HF `vision_feature_select_strategy`).
    pub select: FeatureSelect,
    /// Whose outputs are given out, side by side in this order: 0 is what the first layer reads, and
    /// none is above `num_hidden_layers` (HF `vision_feature_layer`).
    pub feature_layers: Vec<usize>,
}

/// Which features of a picture are given out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FeatureSelect {
    /// Those of the patches (HF `default`).
    Patches,
    /// The class token's in front of them (HF `full`).
    ClassAndPatches,
}

impl FeatureSelect {
    /// Features given out for a picture of `num_patches`.
    pub(super) fn num_features(self, num_patches: usize) -> usize {
        match self {
            Self::Patches => num_patches,
            Self::ClassAndPatches => num_patches + 1,
        }
    }

    /// # Shapes
    /// - `hidden`: `[num_tiles, num_patches + 1, hidden_size]`, the class token first
    /// - output: `[num_tiles, num_features, hidden_size]`
    pub(super) fn of<B: Backend>(self, hidden: Tensor<B, 3>) -> Tensor<B, 3> {
        let [_, seq_len, _] = hidden.dims();
        match self {
            Self::ClassAndPatches => hidden,
            Self::Patches => hidden.slice_dim(1, 1..seq_len),
        }
    }
}

impl ClipVisionConfig {
    /// Patches of a picture.
    pub fn num_patches(&self) -> usize {
        (self.image_size / self.patch_size).pow(2)
    }

    /// Features given out for a picture.
    pub fn num_features(&self) -> usize {
        self.select.num_features(self.num_patches())
    }

    /// Width of a feature.
    pub fn feature_size(&self) -> usize {
        self.hidden_size * self.feature_layers.len()
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
    pub fn init<B: Backend>(&self, device: &B::Device) -> ClipVisionTransformer<B> {
        let sizes = self.layer();
        let layers = (0..self.num_hidden_layers).map(|_| VisionLayer::new(&sizes, device));
        let normal = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        ClipVisionTransformer {
            embeddings: ClipEmbeddings {
                class_embedding: normal.init([self.hidden_size], device),
                patch_embedding: PatchEmbedding::new(self.hidden_size, self.patch_size, device),
                position_embedding: PositionEmbedding {
                    weight: normal.init([self.num_patches() + 1, self.hidden_size], device),
                },
            },
            pre_layrnorm: LayerNorm::new(self.hidden_size, self.layer_norm_eps, device),
            encoder: ClipEncoder {
                layers: layers.collect(),
            },
            image_size: self.image_size,
            select: self.select,
            feature_layers: self.feature_layers.clone(),
        }
    }
}

/// CLIP's vision transformer, without the pooling behind it.
#[derive(Module, Debug)]
pub struct ClipVisionTransformer<B: Backend> {
    embeddings: ClipEmbeddings<B>,
    // The checkpoints' own spelling.
    pre_layrnorm: LayerNorm<B>,
    encoder: ClipEncoder<B>,
    image_size: usize,
    #[module(skip)]
    select: FeatureSelect,
    #[module(skip)]
    feature_layers: Vec<usize>,
}

#[derive(Module, Debug)]
struct ClipEmbeddings<B: Backend> {
    /// `[hidden_size]`
    class_embedding: Param<Tensor<B, 1>>,
    patch_embedding: PatchEmbedding<B>,
    position_embedding: PositionEmbedding<B>,
}

#[derive(Module, Debug)]
struct PositionEmbedding<B: Backend> {
    /// `[num_patches + 1, hidden_size]`
    weight: Param<Tensor<B, 2>>,
}

#[derive(Module, Debug)]
struct ClipEncoder<B: Backend> {
    layers: Vec<VisionLayer<B>>,
}

impl<B: VlmBackend> ClipVisionTransformer<B> {
    /// Encodes pictures, each on its own; `None` where `go_on`, which is asked between two layers, broke.
    ///
    /// # Shapes
    /// - `pixel_values`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_tiles, num_features, feature_size]`
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
        let embedded = self.embeddings.forward(pixel_values);
        let [_, seq_len, hidden_size] = embedded.dims();
        let embedded = embedded.reshape([num_tiles * seq_len, hidden_size]);
        let hidden = self.pre_layrnorm.forward(embedded);
        let features = self.run_layers(hidden, num_tiles, go_on)?;
        let [_, feature_size] = features.dims();
        let features = features.reshape([num_tiles, seq_len, feature_size]);
        Some(self.select.of(features))
    }

    /// The outputs of the layers whose features are given out, side by side.
    fn run_layers(
        &self,
        mut hidden: Tensor<B, 2>,
        num_tiles: usize,
        go_on: GoOn<'_>,
    ) -> Option<Tensor<B, 2>> {
        let mut outputs = BTreeMap::new();
        let mut run = 0;
        let mut wanted = self.feature_layers.clone();
        wanted.sort_unstable();
        for layer in wanted {
            hidden = run_layers(&self.encoder.layers[run..layer], hidden, num_tiles, go_on)?;
            run = layer;
            outputs.insert(layer, hidden.clone());
        }
        if let [_] = self.feature_layers[..] {
            return Some(hidden);
        }
        let outputs = self
            .feature_layers
            .iter()
            .map(|layer| outputs[layer].clone());
        Some(Tensor::cat(outputs.collect(), 1))
    }
}

impl<B: VlmBackend> ClipEmbeddings<B> {
    fn forward(&self, pixel_values: Tensor<B, 4>) -> Tensor<B, 3> {
        let patches = self.patch_embedding.forward(pixel_values);
        let [num_tiles, _, hidden_size] = patches.dims();
        let dtype = patches.dtype();
        let class = self.class_embedding.val().cast(dtype);
        let class = class.reshape([1, 1, hidden_size]).repeat_dim(0, num_tiles);
        let positions = self.position_embedding.weight.val().cast(dtype);
        Tensor::cat(vec![class, patches], 1) + positions.unsqueeze()
    }
}
