//! Attention layers: [`SelfAttention`] for vision encoders, [`CausalSelfAttention`] for decoders.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::cache::{KvCache, StepRows};
use super::decoder::LayerConfig;
use super::linear::Linear;
use crate::kernels::{
    self, Activation, AttentionInputs, AttentionMask, KvViews, RopeAppendInputs, VlmBackend,
};

/// Every token attends to every token of its own picture.
#[derive(Module, Debug)]
pub struct SelfAttention<B: Backend> {
    /// `hidden_size` to the queries, then the keys, then the values of every head, with bias:
    /// `3 * hidden_size`.
    pub qkv_proj: Linear<B>,
    /// `hidden_size` to `hidden_size`, with bias.
    pub out_proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> SelfAttention<B> {
    /// A layer with biases and random weights.
    pub fn new(hidden_size: usize, num_heads: usize, device: &B::Device) -> Self {
        Self {
            qkv_proj: Linear::with_bias(hidden_size, 3 * hidden_size, device),
            out_proj: Linear::with_bias(hidden_size, hidden_size, device),
            num_heads,
        }
    }
}

impl<B: VlmBackend> SelfAttention<B> {
    /// Attends within each sequence and adds `residual`. Sequence `b` is slot `b` of `views`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[batch * seq_len, hidden_size]`
    pub fn forward(
        &self,
        x: Tensor<B, 2>,
        views: &KvViews<B>,
        residual: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let [rows, hidden_size] = x.dims();
        let (batch, head_dim) = (views.views().len(), hidden_size / self.num_heads);
        let qkv = self
            .qkv_proj
            .forward(x)
            .reshape([batch, rows / batch, 3 * self.num_heads, head_dim])
            .swap_dims(1, 2); // [batch, 3 * num_heads, seq_len, head_dim]
        let [query, key, value] = [0, 1, 2].map(|part| {
            let first = part * self.num_heads;
            qkv.clone().slice_dim(1, first..first + self.num_heads)
        });
        let inputs = AttentionInputs { query, key, value };
        let attended = kernels::attention_prefill(inputs, views, AttentionMask::Bidirectional);
        let attended = attended.reshape([rows, hidden_size]);
        self.out_proj
            .forward_with(attended, Activation::Identity, Some(residual))
    }
}

/// Grouped-query attention over a KV cache, whose tables rotate queries and keys.
#[derive(Module, Debug)]
pub struct CausalSelfAttention<B: Backend> {
    /// `hidden_size` to the queries, then the keys, then the values of every head:
    /// `(num_heads + 2 * num_kv_heads) * head_dim`.
    pub qkv_proj: Linear<B>,
    /// `num_heads * head_dim` to `hidden_size`.
    pub o_proj: Linear<B>,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
}

/// The new tokens of one call: which layer they are in, how many a sequence has, and its rows.
#[derive(Debug)]
pub(super) struct Step<'a, B: VlmBackend> {
    pub(super) layer: usize,
    pub(super) seq_len: usize,
    pub(super) batch: usize,
    pub(super) rows: &'a StepRows<B>,
}

impl<B: Backend> CausalSelfAttention<B> {
    /// A layer with random weights.
    pub(super) fn new(hidden_size: usize, config: &LayerConfig, device: &B::Device) -> Self {
        let q_size = config.num_attention_heads * config.head_dim;
        let kv_size = config.num_key_value_heads * config.head_dim;
        let linear = Linear::maker(config.biases.qkv, device);
        let output = Linear::maker(config.biases.attention_output, device);
        Self {
            qkv_proj: linear(hidden_size, q_size + 2 * kv_size),
            o_proj: output(q_size, hidden_size),
            num_heads: config.num_attention_heads,
            num_kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }
}

impl<B: VlmBackend> CausalSelfAttention<B> {
    /// Appends the new tokens to the cache, attends over what they see, and adds `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[batch * seq_len, hidden_size]`
    pub(super) fn forward(
        &self,
        x: Tensor<B, 2>,
        step: &Step<'_, B>,
        cache: &mut KvCache<B>,
        residual: Option<Tensor<B, 2>>,
    ) -> Tensor<B, 2> {
        let (batch, rows) = (step.batch, step.rows);
        let num_heads = self.num_heads + 2 * self.num_kv_heads;
        let qkv = self
            .qkv_proj
            .forward(x)
            .reshape([batch, step.seq_len, num_heads, self.head_dim]);
        let [key_cache, value_cache] = cache.take(step.layer);
        let appended = kernels::rope_append(
            RopeAppendInputs {
                qkv,
                key_cache,
                value_cache,
                cos: rows.rope.cos.clone(),
                sin: rows.rope.sin.clone(),
            },
            &rows.writes,
        );
        let inputs = AttentionInputs {
            query: appended.query,
            key: appended.key_cache.clone(),
            value: appended.value_cache.clone(),
        };
        let attended = match step.seq_len {
            1 => kernels::attention_decode(inputs, &rows.views),
            _ => kernels::attention_prefill(inputs, &rows.views, AttentionMask::Causal),
        };
        cache.put_back(step.layer, [appended.key_cache, appended.value_cache]);
        let attended = attended.reshape([batch * step.seq_len, self.num_heads * self.head_dim]);
        self.o_proj
            .forward_with(attended, Activation::Identity, residual)
    }
}
