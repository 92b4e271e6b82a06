//! Feed-forward blocks: [`Mlp`] for vision encoders, GPT-NeoX and OPT, [`GatedMlp`] for Llama decoders.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::linear::Linear;
use crate::kernels::{self, Activation, VlmBackend};

/// `residual + fc2(activation(fc1(x)))`.
#[derive(Module, Debug)]
pub struct Mlp<B: Backend> {
    /// `hidden_size` to `intermediate_size`.
    pub fc1: Linear<B>,
    /// `intermediate_size` to `hidden_size`.
    pub fc2: Linear<B>,
    #[module(skip)]
    activation: Activation,
}

impl<B: Backend> Mlp<B> {
    /// A block around the linear layers that `linear(in_features, out_features)` makes.
    pub(super) fn new(
        hidden_size: usize,
        intermediate_size: usize,
        activation: Activation,
        linear: impl Fn(usize, usize) -> Linear<B>,
    ) -> Self {
        Self {
            fc1: linear(hidden_size, intermediate_size),
            fc2: linear(intermediate_size, hidden_size),
            activation,
        }
    }
}

impl<B: VlmBackend> Mlp<B> {
    /// Applies the block to every row and adds `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[rows, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>) -> Tensor<B, 2> {
        let widened = self.fc1.forward_with(x, self.activation, None);
        self.fc2
            .forward_with(widened, Activation::Identity, Some(residual))
    }
}

/// `residual + down_proj(silu(gate) * up)`, the SwiGLU block of Llama: gate and up are one matrix, so
/// that `x` is read once.
#[derive(Module, Debug)]
pub struct GatedMlp<B: Backend> {
    /// `hidden_size` to the gate, then what it lets through: `2 * intermediate_size`.
    pub gate_up_proj: Linear<B>,
    /// `intermediate_size` to `hidden_size`.
    pub down_proj: Linear<B>,
}

impl<B: Backend> GatedMlp<B> {
    /// A block around the linear layers that `linear(in_features, out_features)` makes.
    pub(super) fn new(
        hidden_size: usize,
        intermediate_size: usize,
        linear: impl Fn(usize, usize) -> Linear<B>,
    ) -> Self {
        Self {
            gate_up_proj: linear(hidden_size, 2 * intermediate_size),
            down_proj: linear(intermediate_size, hidden_size),
        }
    }
}

impl<B: VlmBackend> GatedMlp<B> {
    /// Applies the block to every row and adds `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[rows, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>) -> Tensor<B, 2> {
        let gated = kernels::swiglu(self.gate_up_proj.forward(x));
        self.down_proj
            .forward_with(gated, Activation::Identity, Some(residual))
    }
}

/// Whichever feed-forward block a decoder has.
#[derive(Module, Debug)]
pub enum FeedForward<B: Backend> {
    /// With a gate.
    Gated(GatedMlp<B>),
    /// Without one.
    Plain(Mlp<B>),
}

impl<B: VlmBackend> FeedForward<B> {
    /// Applies the block to every row and adds `residual`.
    ///
    /// # Shapes
    /// - `x`, `residual` and output: `[rows, hidden_size]`
    pub fn forward(&self, x: Tensor<B, 2>, residual: Tensor<B, 2>) -> Tensor<B, 2> {
        match self {
            Self::Gated(mlp) => mlp.forward(x, residual),
            Self::Plain(mlp) => mlp.forward(x, residual),
        }
    }
}
