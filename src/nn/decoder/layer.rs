use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::config::{LayerConfig, LlamaConfig, MlpKind, Residual};
use crate::kernels::VlmBackend;
use crate::nn::attention::{CausalSelfAttention, Step};
use crate::nn::cache::KvCache;
use crate::nn::feed_forward::{FeedForward, GatedMlp, Mlp};
use crate::nn::linear::Linear;
use crate::nn::norm::Norm;

/// One pre-norm layer of a decoder.
#[derive(Module, Debug)]
pub struct DecoderLayer<B: Backend> {
    /// Before the attention.
    pub input_layernorm: Norm<B>,
    /// Attention over the cache.
    pub self_attn: CausalSelfAttention<B>,
    /// Before the feed-forward block.
    pub post_attention_layernorm: Norm<B>,
    /// Feed-forward block.
    pub mlp: FeedForward<B>,
    #[module(skip)]
    residual: Residual,
}

impl<B: Backend> DecoderLayer<B> {
    /// A layer with random weights.
    pub(super) fn new(config: &LlamaConfig, device: &B::Device) -> Self {
        let (hidden_size, layer) = (config.hidden_size, &config.layer);
        Self {
            input_layernorm: layer.norm.init(hidden_size, device),
            self_attn: CausalSelfAttention::new(hidden_size, layer, device),
            post_attention_layernorm: layer.norm.init(hidden_size, device),
            mlp: feed_forward(hidden_size, layer, device),
            residual: layer.residual,
        }
    }
}

impl<B: Backend> DecoderLayer<B> {
    /// Its linear layers by their paths.
    pub(super) fn linears(&mut self) -> Vec<(&'static str, &mut Linear<B>)> {
        let attention = &mut self.self_attn;
        let mut linears = vec![
            ("self_attn.qkv_proj", &mut attention.qkv_proj),
            ("self_attn.o_proj", &mut attention.o_proj),
        ];
        match &mut self.mlp {
            FeedForward::Gated(mlp) => linears.extend([
                ("mlp.gate_up_proj", &mut mlp.gate_up_proj),
                ("mlp.down_proj", &mut mlp.down_proj),
            ]),
            FeedForward::Plain(mlp) => {
                linears.extend([("mlp.fc1", &mut mlp.fc1), ("mlp.fc2", &mut mlp.fc2)]);
            }
        }
        linears
    }
}

fn feed_forward<B: Backend>(
    hidden_size: usize,
    layer: &LayerConfig,
    device: &B::Device,
) -> FeedForward<B> {
    let linear = Linear::maker(layer.biases.mlp, device);
    let size = layer.intermediate_size;
    match layer.mlp {
        MlpKind::Gated => FeedForward::Gated(GatedMlp::new(hidden_size, size, linear)),
        MlpKind::Plain(activation) => {
            FeedForward::Plain(Mlp::new(hidden_size, size, activation, linear))
        }
    }
}

impl<B: VlmBackend> DecoderLayer<B> {
    pub(super) fn forward(
        &self,
        hidden: Tensor<B, 2>,
        step: &Step<'_, B>,
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 2> {
        let normed = self.input_layernorm.forward(hidden.clone());
        match self.residual {
            Residual::Sequential => {
                let attended = self.self_attn.forward(normed, step, cache, None);
                let (hidden, normed) = self.post_attention_layernorm.forward_add(attended, hidden);
                self.mlp.forward(normed, hidden)
            }
            Residual::Parallel => {
                let beside = self.post_attention_layernorm.forward(hidden.clone());
                let attended = self.self_attn.forward(normed, step, cache, Some(hidden));
                self.mlp.forward(beside, attended)
            }
        }
    }
}
