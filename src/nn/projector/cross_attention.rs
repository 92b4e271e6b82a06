use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::{self, Activation, AttentionInputs, AttentionMask, KvViews, VlmBackend};
use crate::nn::linear::Linear;

/// Every query attends to every feature of its own picture.
#[derive(Module, Debug)]
pub(super) struct CrossAttention<B: Backend> {
    /// `hidden_size` to the queries of every head, with bias.
    q_proj: Linear<B>,
    /// The width of the features to the keys, then the values of every head, with bias:
    /// `2 * hidden_size`.
    kv_proj: Linear<B>,
    /// `hidden_size` to `hidden_size`, with bias.
    out_proj: Linear<B>,
    num_heads: usize,
}

impl<B: Backend> CrossAttention<B> {
    pub(super) fn new(
        [hidden_size, features_size]: [usize; 2],
        num_heads: usize,
        device: &B::Device,
    ) -> Self {
        Self {
            q_proj: Linear::with_bias(hidden_size, hidden_size, device),
            kv_proj: Linear::with_bias(features_size, 2 * hidden_size, device),
            out_proj: Linear::with_bias(hidden_size, hidden_size, device),
            num_heads,
        }
    }
}

impl<B: VlmBackend> CrossAttention<B> {
    /// Attends and adds `residual`. Picture `t` is slot `t` of `views`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[num_tiles * num_queries, hidden_size]`
    /// - `features`: `[num_tiles, num_features, features_size]`
    pub(super) fn forward(
        &self,
        x: Tensor<B, 2>,
        features: Tensor<B, 3>,
        views: &KvViews<B>,
        residual: Tensor<B, 2>,
    ) -> Tensor<B, 2> {
        let [num_tiles, num_features, features_size] = features.dims();
        let [rows, hidden_size] = x.dims();
        let (num_heads, head_dim) = (self.num_heads, hidden_size / self.num_heads);
        let query = self
            .q_proj
            .forward(x)
            .reshape([num_tiles, rows / num_tiles, num_heads, head_dim])
            .swap_dims(1, 2); // [num_tiles, num_heads, num_queries, head_dim]
        let features = features.reshape([num_tiles * num_features, features_size]);
        let key_value = self
            .kv_proj
            .forward(features)
            .reshape([num_tiles, num_features, 2 * num_heads, head_dim])
            .swap_dims(1, 2); // [num_tiles, 2 * num_heads, num_features, head_dim]
        let inputs = AttentionInputs {
            query,
            key: key_value.clone().slice_dim(1, 0..num_heads),
            value: key_value.slice_dim(1, num_heads..2 * num_heads),
        };
        let attended = kernels::attention_prefill(inputs, views, AttentionMask::Bidirectional);
        let attended = attended.reshape([rows, hidden_size]);
        self.out_proj
            .forward_with(attended, Activation::Identity, Some(residual))
    }
}
