//! Attention layers: [`SelfAttention`] for vision encoders, [`CausalSelfAttention`] for decoders.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::cache::KvCache;
use super::decoder::LlamaConfig;
use super::linear::Linear;
use crate::kernels::{
    self, Activation, AttentionInputs, AttentionMask, KvRow, RopeAppendInputs, VlmBackend,
};

/// Every token attends to every token of its own picture.
#[derive(Module, Debug)]
pub struct SelfAttention<B: Backend> {
    /// `hidden_size` to `hidden_size`, with bias, as the other three.
    pub q_proj: Linear<B>,
    /// See `q_proj`.
    pub k_proj: Linear<B>,
    /// See `q_proj`.
    pub v_proj: Linear<B>,
    /// See `q_proj`.
    pub out_proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> SelfAttention<B> {
    /// A layer with biases and random weights.
    pub fn new(hidden_size: usize, num_heads: usize, device: &B::Device) -> Self {
        let linear = || Linear::with_bias(hidden_size, hidden_size, device);
        Self {
            q_proj: linear(),
            k_proj: linear(),
            v_proj: linear(),
            out_proj: linear(),
            num_heads,
        }
    }
}

impl<B: VlmBackend> SelfAttention<B> {
    /// Attends within each of `batch` sequences and adds `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[batch * seq_len, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>, batch: usize, residual: Tensor<B, 2>) -> Tensor<B, 2> {
        let [rows, hidden_size] = x.dims();
        let seq_len = rows / batch;
        let heads = |linear: &Linear<B>| {
            let shape = [batch, seq_len, self.num_heads, hidden_size / self.num_heads];
            linear.forward(x.clone()).reshape(shape).swap_dims(1, 2) // [batch, num_heads, seq_len, head_dim]
        };
        let inputs = AttentionInputs {
            query: heads(&self.q_proj),
            key: heads(&self.k_proj),
            value: heads(&self.v_proj),
        };
        let own: Vec<KvRow> = (0..batch)
            .map(|slot| KvRow { slot, len: seq_len })
            .collect();
        let attended = kernels::attention_prefill(inputs, &own, AttentionMask::Bidirectional);
        let attended = attended.reshape([rows, hidden_size]);
        self.out_proj
            .forward_with(attended, Activation::Identity, Some(residual))
    }
}

/// Grouped-query attention with rotary positions over a KV cache.
#[derive(Module, Debug)]
pub struct CausalSelfAttention<B: Backend> {
    /// `hidden_size` to `num_heads * head_dim`.
    pub q_proj: Linear<B>,
    /// `hidden_size` to `num_kv_heads * head_dim`.
    pub k_proj: Linear<B>,
    /// `hidden_size` to `num_kv_heads * head_dim`.
    pub v_proj: Linear<B>,
    /// `num_heads * head_dim` to `hidden_size`.
    pub o_proj: Linear<B>,
    num_heads: usize,
    num_kv_heads: usize,
    head_dim: usize,
}

/// Where the tokens of one call stand: which layer, how many, and in which rows of the cache.
#[derive(Debug, Clone, Copy)]
pub(super) struct Step<'a> {
    pub(super) layer: usize,
    pub(super) seq_len: usize,
    pub(super) rows: &'a [KvRow],
}

impl<B: Backend> CausalSelfAttention<B> {
    /// A layer with random weights.
    pub(super) fn new(config: &LlamaConfig, linear: impl Fn(usize, usize) -> Linear<B>) -> Self {
        let q_size = config.num_attention_heads * config.head_dim;
        let kv_size = config.num_key_value_heads * config.head_dim;
        Self {
            q_proj: linear(config.hidden_size, q_size),
            k_proj: linear(config.hidden_size, kv_size),
            v_proj: linear(config.hidden_size, kv_size),
            o_proj: linear(q_size, config.hidden_size),
            num_heads: config.num_attention_heads,
            num_kv_heads: config.num_key_value_heads,
            head_dim: config.head_dim,
        }
    }
}

impl<B: VlmBackend> CausalSelfAttention<B> {
    /// Appends the new tokens to the cache and attends over all of their sequence.
    ///
    /// # Shapes
    /// - `x` and output: `[batch * seq_len, hidden_size]`
    pub(super) fn forward(
        &self,
        x: Tensor<B, 2>,
        step: Step<'_>,
        cache: &mut KvCache<B>,
    ) -> Tensor<B, 2> {
        let batch = step.rows.len();
        let heads = |linear: &Linear<B>, num_heads: usize| {
            linear
                .forward(x.clone())
                .reshape([batch, step.seq_len, num_heads, self.head_dim])
        };
        let (rope, [key_cache, value_cache]) = cache.take(step.layer);
        let appended = kernels::rope_append(
            RopeAppendInputs {
                query: heads(&self.q_proj, self.num_heads),
                key: heads(&self.k_proj, self.num_kv_heads),
                value: heads(&self.v_proj, self.num_kv_heads),
                key_cache,
                value_cache,
                cos: rope.cos.clone(),
                sin: rope.sin.clone(),
            },
            step.rows,
        );
        let attended = attend(
            AttentionInputs {
                query: appended.query,
                key: appended.key_cache.clone(),
                value: appended.value_cache.clone(),
            },
            step,
        );
        cache.put_back(step.layer, [appended.key_cache, appended.value_cache]);
        let rows = batch * step.seq_len;
        self.o_proj
            .forward(attended.reshape([rows, self.num_heads * self.head_dim]))
    }
}

fn attend<B: VlmBackend>(inputs: AttentionInputs<Tensor<B, 4>>, step: Step<'_>) -> Tensor<B, 4> {
    let grown = step.rows.iter().map(|row| KvRow {
        len: row.len + step.seq_len,
        ..*row
    });
    let grown: Vec<KvRow> = grown.collect();
    match step.seq_len {
        1 => kernels::attention_decode(inputs, &grown),
        _ => kernels::attention_prefill(inputs, &grown, AttentionMask::Causal),
    }
}
