use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::VlmBackend;
use crate::nn::linear::Linear;

/// Sizes of a [`LinearProjector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LinearProjectorConfig {
    /// Width of the features.
    pub vision_hidden_size: usize,
    /// Width of the decoder.
    pub hidden_size: usize,
}

impl LinearProjectorConfig {
    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> LinearProjector<B> {
        let Self {
            vision_hidden_size,
            hidden_size,
        } = *self;
        LinearProjector {
            linear: Linear::with_bias(vision_hidden_size, hidden_size, device),
        }
    }
}

/// One linear layer with bias (LLaVA v1, MiniGPT-4).
#[derive(Module, Debug)]
pub struct LinearProjector<B: Backend> {
    /// `vision_hidden_size` to `hidden_size`.
    pub linear: Linear<B>,
}

impl<B: VlmBackend> LinearProjector<B> {
    /// Projects every row.
    ///
    /// # Shapes
    /// - `features`: `[rows, vision_hidden_size]`; output: `[rows, hidden_size]`
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.linear.forward(features)
    }
}
