use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::config::LlamaConfig;
use crate::kernels::VlmBackend;
use crate::nn::attention::{CausalSelfAttention, Step};
use crate::nn::cache::KvCache;
use crate::nn::feed_forward::GatedMlp;
use crate::nn::linear::Linear;
use crate::nn::norm::RmsNorm;

/// One pre-norm layer of a Llama decoder.
#[derive(Module, Debug)]
pub struct LlamaLayer<B: Backend> {
    /// Before the attention.
    pub input_layernorm: RmsNorm<B>,
    /// Attention over the cache.
    pub self_attn: CausalSelfAttention<B>,
    /// Before the feed-forward block.
    pub post_attention_layernorm: RmsNorm<B>,
    /// Feed-forward block.
    pub mlp: GatedMlp<B>,
}

impl<B: Backend> LlamaLayer<B> {
    /// A layer with random weights.
    pub(super) fn new(config: &LlamaConfig, device: &B::Device) -> Self {
        let linear = |has_bias: bool| {
            move |in_features, out_features| match has_bias {
                true => Linear::with_bias(in_features, out_features, device),
                false => Linear::new(in_features, out_features, device),
            }
        };
        let norm = || RmsNorm::new(config.hidden_size, config.rms_norm_eps, device);
        Self {
            input_layernorm: norm(),
            self_attn: CausalSelfAttention::new(config, linear(config.attention_bias)),
            post_attention_layernorm: norm(),
            mlp: GatedMlp::new(
                config.hidden_size,
                config.intermediate_size,
                linear(config.mlp_bias),
            ),
        }
    }
}

impl<B: VlmBackend> LlamaLayer<B> {
    pub(super) fn forward(
        &self,
        hidden: Tensor<B, 2>,
        step: Step<'_>,
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 2> {
        let normed = self.input_layernorm.forward(hidden.clone());
        let attended = self.self_attn.forward(normed, step, cache);
        let (hidden, normed) = self.post_attention_layernorm.forward_add(attended, hidden);
        self.mlp.forward(normed, hidden)
    }
}
