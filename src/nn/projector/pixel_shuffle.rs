use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::VlmBackend;
use crate::nn::linear::Linear;

/// Sizes of a [`PixelShuffleProjector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PixelShuffleConfig {
    /// Width of the features.
    pub vision_hidden_size: usize,
    /// Features a side of a block that becomes one row; divides the features a side of a tile.
    pub scale_factor: usize,
    /// Width of the decoder.
    pub hidden_size: usize,
}

impl PixelShuffleConfig {
    /// Features that become one row.
    pub fn block_len(&self) -> usize {
        self.scale_factor * self.scale_factor
    }

    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> PixelShuffleProjector<B> {
        let width = self.vision_hidden_size * self.block_len();
        PixelShuffleProjector {
            proj: Linear::new(width, self.hidden_size, device),
            scale_factor: self.scale_factor,
        }
    }
}

/// The features of a square block side by side, then one linear layer without bias (Idefics3,
/// SmolVLM).
#[derive(Module, Debug)]
pub struct PixelShuffleProjector<B: Backend> {
    /// `vision_hidden_size * scale_factor * scale_factor` to `hidden_size`.
    pub proj: Linear<B>,
    scale_factor: usize,
}

impl<B: VlmBackend> PixelShuffleProjector<B> {
    /// Projects the blocks of square tiles, row by row.
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, side * side, vision_hidden_size]`
    /// - output: `[num_tiles, (side / scale_factor)^2, hidden_size]`
    ///
    /// # Panics
    /// If a tile is no square, or the blocks do not fill it.
    pub fn forward(&self, features: Tensor<B, 3>) -> Tensor<B, 3> {
        let [num_tiles, num_features, width] = features.dims();
        let (side, block) = (num_features.isqrt(), self.scale_factor);
        let blocks = side / block;
        assert_eq!(
            (blocks * block).pow(2),
            num_features,
            "features of a tile in blocks of {block}"
        );
        let rows = features
            .reshape([num_tiles, blocks, block, blocks, block * width])
            .swap_dims(2, 3) // [num_tiles, blocks, blocks, block, block * width]
            .reshape([num_tiles * blocks * blocks, block * block * width]);
        let rows = self.proj.forward(rows);
        let [_, hidden_size] = rows.dims();
        rows.reshape([num_tiles, blocks * blocks, hidden_size])
    }
}
