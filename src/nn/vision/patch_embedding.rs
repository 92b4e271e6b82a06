//! The first layer of a vision transformer (Dosovitskiy et al. 2020).

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::{self, Activation, VlmBackend};
use crate::nn::weight::Weight;

/// A convolution whose stride is its kernel: every patch through the same linear layer.
#[derive(Module, Debug)]
pub struct PatchEmbedding<B: Backend> {
    /// `[hidden_size, 3 * patch_size * patch_size]`: the kernel of the convolution, flat.
    pub weight: Weight<B>,
    /// `[hidden_size]`
    pub bias: Option<Param<Tensor<B, 1>>>,
    patch_size: usize,
}

impl<B: Backend> PatchEmbedding<B> {
    /// A layer without bias and with random weights.
    pub fn new(hidden_size: usize, patch_size: usize, device: &B::Device) -> Self {
        let initializer = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        let shape = [hidden_size, 3 * patch_size * patch_size];
        Self {
            weight: Weight::new(&initializer, shape, device),
            bias: None,
            patch_size,
        }
    }

    /// The same with a bias.
    pub fn with_bias(hidden_size: usize, patch_size: usize, device: &B::Device) -> Self {
        Self {
            bias: Some(Initializer::Zeros.init([hidden_size], device)),
            ..Self::new(hidden_size, patch_size, device)
        }
    }
}

impl<B: VlmBackend> PatchEmbedding<B> {
    /// Embeds the patches, row by row of the picture. Pixels behind the last whole patch are
    /// dropped, as a convolution without padding does.
    ///
    /// # Shapes
    /// - `pixel_values`: `[num_tiles, 3, height, width]`
    /// - output: `[num_tiles, num_patches, hidden_size]`
    pub fn forward(&self, pixel_values: Tensor<B, 4>) -> Tensor<B, 3> {
        let [num_tiles, channels, height, width] = pixel_values.dims();
        let size = self.patch_size;
        let (rows, columns) = (height / size, width / size);
        let whole = [0..num_tiles, 0..channels, 0..rows * size, 0..columns * size];
        let patches = pixel_values
            .slice(whole)
            .reshape([num_tiles, channels, rows, size, columns, size])
            .permute([0, 2, 4, 1, 3, 5]) // [num_tiles, rows, columns, channels, size, size]
            .reshape([num_tiles * rows * columns, channels * size * size]);
        let bias = self.bias.as_ref().map(Param::val);
        let [hidden_size, _] = self.weight.dims();
        kernels::linear(
            patches,
            self.weight.matrix(),
            bias,
            Activation::Identity,
            None,
        )
        .reshape([num_tiles, rows * columns, hidden_size])
    }
}
