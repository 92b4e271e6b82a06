use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::VlmBackend;
use crate::nn::linear::Linear;

/// Sizes of a [`MergeProjector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeProjectorConfig {
    /// Width of the features.
    pub vision_hidden_size: usize,
    /// Neighbours that become one row.
    pub num_merged: usize,
    /// Width of the decoder.
    pub hidden_size: usize,
}

impl MergeProjectorConfig {
    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> MergeProjector<B> {
        let merged_size = self.vision_hidden_size * self.num_merged;
        MergeProjector {
            linear: Linear::with_bias(merged_size, self.hidden_size, device),
            num_merged: self.num_merged,
        }
    }
}

/// Neighbours in a row of the picture side by side, then one linear layer (MiniGPT-4 over LLaMA-2,
/// MiniGPT-v2).
#[derive(Module, Debug)]
pub struct MergeProjector<B: Backend> {
    /// `num_merged * vision_hidden_size` to `hidden_size`.
    pub linear: Linear<B>,
    num_merged: usize,
}

impl<B: VlmBackend> MergeProjector<B> {
    /// Merges and projects the features of pictures.
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, num_features, vision_hidden_size]`
    /// - output: `[num_tiles, num_features / num_merged, hidden_size]`
    ///
    /// # Panics
    /// If `num_merged` does not divide the number of features.
    pub fn forward(&self, features: Tensor<B, 3>) -> Tensor<B, 3> {
        let [num_tiles, num_features, width] = features.dims();
        assert!(
            num_features.is_multiple_of(self.num_merged),
            "{num_features} features are merged by {}",
            self.num_merged
        );
        let num_rows = num_features / self.num_merged;
        let merged = features.reshape([num_tiles * num_rows, self.num_merged * width]);
        let rows = self.linear.forward(merged);
        let [_, hidden_size] = rows.dims();
        rows.reshape([num_tiles, num_rows, hidden_size])
    }
}
