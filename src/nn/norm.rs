//! Normalisation layers.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::{self, VlmBackend};

/// Root-mean-square normalisation, what Llama uses.
#[derive(Module, Debug)]
pub struct RmsNorm<B: Backend> {
    /// `[hidden_size]`
    pub weight: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: Backend> RmsNorm<B> {
    /// A layer that starts with the weight 1.
    pub fn new(hidden_size: usize, epsilon: f64, device: &B::Device) -> Self {
        Self {
            weight: Initializer::Ones.init([hidden_size], device),
            epsilon,
        }
    }
}

impl<B: VlmBackend> RmsNorm<B> {
    /// Normalises every row.
    ///
    /// # Shapes
    /// - `x` and output: `[rows, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        kernels::rms_norm(x, self.weight.val(), self.epsilon)
    }

    /// Adds `residual` to `x` and normalises the sum: returns `(sum, normed)`.
    ///
    /// # Shapes
    /// - `x`, `residual` and both results: `[rows, hidden_size]`
    pub fn forward_add(
        &self,
        x: Tensor<B, 2>,
        residual: Tensor<B, 2>,
    ) -> (Tensor<B, 2>, Tensor<B, 2>) {
        kernels::add_rms_norm(x, residual, self.weight.val(), self.epsilon)
    }
}

/// Layer normalisation, what vision encoders use.
#[derive(Module, Debug)]
pub struct LayerNorm<B: Backend> {
    /// `[hidden_size]`
    pub weight: Param<Tensor<B, 1>>,
    /// `[hidden_size]`
    pub bias: Param<Tensor<B, 1>>,
    epsilon: f64,
}

impl<B: Backend> LayerNorm<B> {
    /// A layer that starts with the weight 1 and the bias 0.
    pub fn new(hidden_size: usize, epsilon: f64, device: &B::Device) -> Self {
        Self {
            weight: Initializer::Ones.init([hidden_size], device),
            bias: Initializer::Zeros.init([hidden_size], device),
            epsilon,
        }
    }
}

impl<B: VlmBackend> LayerNorm<B> {
    /// Normalises every row.
    ///
    /// # Shapes
    /// - `x` and output: `[rows, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        kernels::layer_norm(x, self.weight.val(), self.bias.val(), self.epsilon)
    }
}
