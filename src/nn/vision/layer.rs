//! The layer that vision transformers are made of.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::{Activation, GoOn, KvView, KvViews, VlmBackend};
use crate::nn::attention::SelfAttention;
use crate::nn::feed_forward::Mlp;
use crate::nn::linear::Linear;
use crate::nn::norm::LayerNorm;

/// Sizes of a [`VisionLayer`].
#[derive(Debug)]
pub(super) struct VisionLayerConfig {
    pub(super) hidden_size: usize,
    pub(super) intermediate_size: usize,
    pub(super) num_attention_heads: usize,
    pub(super) hidden_act: Activation,
    pub(super) layer_norm_eps: f64,
}

/// Attention within each picture, then a feed-forward block, each behind a norm and added to what it
/// read.
#[derive(Module, Debug)]
pub(super) struct VisionLayer<B: Backend> {
    self_attn: SelfAttention<B>,
    layer_norm1: LayerNorm<B>,
    mlp: Mlp<B>,
    layer_norm2: LayerNorm<B>,
}

impl<B: Backend> VisionLayer<B> {
    pub(super) fn new(config: &VisionLayerConfig, device: &B::Device) -> Self {
        let norm = || LayerNorm::new(config.hidden_size, config.layer_norm_eps, device);
        Self {
            self_attn: SelfAttention::new(config.hidden_size, config.num_attention_heads, device),
            layer_norm1: norm(),
            mlp: Mlp::new(
                config.hidden_size,
                config.intermediate_size,
                config.hidden_act,
                Linear::maker(true, device),
            ),
            layer_norm2: norm(),
        }
    }
}

/// # Panics
/// If the pictures are not of the size the encoder was trained on.
pub(super) fn require_size<B: Backend>(pixel_values: &Tensor<B, 4>, image_size: usize) {
    let [_, _, height, width] = pixel_values.dims();
    assert_eq!([height, width], [image_size; 2], "size of the pictures");
}

/// Runs tiles through layers, each on its own, as long as `go_on` says so: it is asked between two
/// layers.
///
/// # Shapes
/// - `hidden` and output: `[num_tiles * seq_len, hidden_size]`
pub(super) fn run_layers<B: VlmBackend>(
    layers: &[VisionLayer<B>],
    mut hidden: Tensor<B, 2>,
    num_tiles: usize,
    go_on: GoOn<'_>,
) -> Option<Tensor<B, 2>> {
    let [rows, _] = hidden.dims();
    let whole = (0..num_tiles).map(|tile| KvView::of(tile, rows / num_tiles));
    let views = KvViews::new(whole.collect(), &hidden.device());
    for layer in layers {
        if go_on().is_break() {
            return None;
        }
        hidden = layer.forward(hidden, &views);
    }
    Some(hidden)
}

impl<B: VlmBackend> VisionLayer<B> {
    /// # Shapes
    /// - `hidden` and output: `[num_tiles * seq_len, hidden_size]`; tile `t` is slot `t` of `views`
    fn forward(&self, hidden: Tensor<B, 2>, views: &KvViews<B>) -> Tensor<B, 2> {
        let normed = self.layer_norm1.forward(hidden.clone());
        let hidden = self.self_attn.forward(normed, views, hidden);
        let normed = self.layer_norm2.forward(hidden.clone());
        self.mlp.forward(normed, hidden)
    }
}
