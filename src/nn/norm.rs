//! Normalisation layers.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use crate::kernels::{self, VlmBackend};

/// Which norm, and what is added to what it divides by.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct NormConfig {
    /// Which one.
    pub kind: NormKind,
    /// Added to the mean square, or the variance.
    pub epsilon: f64,
}

/// The norms of decoders.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NormKind {
    /// [`RmsNorm`]: Llama and its like.
    Rms,
    /// [`LayerNorm`]: GPT-NeoX.
    Layer,
}

/// Whichever norm a decoder has.
#[derive(Module, Debug)]
pub enum Norm<B: Backend> {
    /// Root-mean-square normalisation.
    Rms(RmsNorm<B>),
    /// Layer normalisation.
    Layer(LayerNorm<B>),
}

impl NormConfig {
    /// Builds the norm.
    pub fn init<B: Backend>(self, hidden_size: usize, device: &B::Device) -> Norm<B> {
        match self.kind {
            NormKind::Rms => Norm::Rms(RmsNorm::new(hidden_size, self.epsilon, device)),
            NormKind::Layer => Norm::Layer(LayerNorm::new(hidden_size, self.epsilon, device)),
        }
    }
}

impl<B: VlmBackend> Norm<B> {
    /// Normalises every row.
    ///
    /// # Shapes
    /// - `x` and output: `[rows, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Rms(norm) => norm.forward(x),
            Self::Layer(norm) => norm.forward(x),
        }
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
        match self {
            Self::Rms(norm) => norm.forward_add(x, residual),
            Self::Layer(norm) => {
                let sum = x + residual;
                (sum.clone(), norm.forward(sum))
            }
        }
    }
}

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
