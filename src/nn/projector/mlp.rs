use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::{Activation, VlmBackend};
use crate::nn::linear::Linear;

/// Sizes of an [`MlpProjector`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MlpProjectorConfig {
    /// Width of the features.
    pub vision_hidden_size: usize,
    /// Width of the decoder.
    pub hidden_size: usize,
    /// Between the two layers (HF `projector_hidden_act`).
    pub projector_hidden_act: Activation,
    /// Whether the layers have biases (HF `multimodal_projector_bias`).
    pub multimodal_projector_bias: bool,
}

impl MlpProjectorConfig {
    /// Builds the projector with random weights on `device`.
    pub fn init<B: Backend>(&self, device: &B::Device) -> MlpProjector<B> {
        let linear = Linear::maker(self.multimodal_projector_bias, device);
        MlpProjector {
            linear_1: linear(self.vision_hidden_size, self.hidden_size),
            linear_2: linear(self.hidden_size, self.hidden_size),
            activation: self.projector_hidden_act,
        }
    }
}

/// `linear_2(activation(linear_1(x)))`: the projector of LLaVA-1.5 (Liu et al. 2023).
#[derive(Module, Debug)]
pub struct MlpProjector<B: Backend> {
    /// `vision_hidden_size` to `hidden_size`.
    pub linear_1: Linear<B>,
    /// `hidden_size` to `hidden_size`.
    pub linear_2: Linear<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: VlmBackend> MlpProjector<B> {
    /// Projects every row.
    ///
    /// # Shapes
    /// - `features`: `[rows, vision_hidden_size]`; output: `[rows, hidden_size]`
    pub fn forward(&self, features: Tensor<B, 2>) -> Tensor<B, 2> {
        self.linear_2
            .forward(self.linear_1.forward_with(features, self.activation, None))
    }
}
