//! A linear layer whose weight lies as checkpoints store it.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{Tensor, backend::Backend};

use super::low_rank::LowRank;
use super::weight::Weight;
use crate::kernels::{self, Activation, VlmBackend};

/// `x weight^T + bias`, and what an adapter adds to it.
#[derive(Module, Debug)]
pub struct Linear<B: Backend> {
    /// `[out_features, in_features]`: a row is what one output reads.
    pub weight: Weight<B>,
    /// `[out_features]`
    pub bias: Option<Param<Tensor<B, 1>>>,
    /// What an adapter adds that is kept apart from the weight; `None` without one.
    pub(in crate::nn) low_rank: Option<LowRank<B>>,
}

impl<B: Backend> Linear<B> {
    /// A layer without bias; the weight is random, made when first used.
    pub fn new(in_features: usize, out_features: usize, device: &B::Device) -> Self {
        Self {
            weight: Weight::new(
                &initializer(in_features),
                [out_features, in_features],
                device,
            ),
            bias: None,
            low_rank: None,
        }
    }

    /// The same with a bias.
    pub fn with_bias(in_features: usize, out_features: usize, device: &B::Device) -> Self {
        let bias = initializer(in_features).init([out_features], device);
        Self {
            bias: Some(bias),
            ..Self::new(in_features, out_features, device)
        }
    }

    /// A layer with or without bias, as `has_bias` says, on `device`.
    pub(super) fn maker(has_bias: bool, device: &B::Device) -> impl Fn(usize, usize) -> Self {
        move |in_features, out_features| match has_bias {
            true => Self::with_bias(in_features, out_features, device),
            false => Self::new(in_features, out_features, device),
        }
    }

    /// The number of outputs.
    pub fn out_features(&self) -> usize {
        let [out_features, _] = self.weight.dims();
        out_features
    }
}

impl<B: VlmBackend> Linear<B> {
    /// Applies the layer to every row.
    ///
    /// # Shapes
    /// - `x`: `[rows, in_features]`
    /// - output: `[rows, out_features]`
    ///
    /// # Panics
    /// If the last axis of `x` is not `in_features`.
    pub fn forward(&self, x: Tensor<B, 2>) -> Tensor<B, 2> {
        self.forward_with(x, Activation::Identity, None)
    }

    /// Applies the layer, then `activation`, then adds `residual`: in one kernel, where no adapter is
    /// kept beside it.
    ///
    /// # Shapes
    /// - `x`: `[rows, in_features]`; `residual` and output: `[rows, out_features]`
    ///
    /// # Panics
    /// If the shapes do not fit.
    pub fn forward_with(
        &self,
        x: Tensor<B, 2>,
        activation: Activation,
        residual: Option<Tensor<B, 2>>,
    ) -> Tensor<B, 2> {
        let bias = self.bias.as_ref().map(Param::val);
        let weight = self.weight.matrix();
        let Some(low_rank) = &self.low_rank else {
            return kernels::linear(x, weight, bias, activation, residual);
        };
        let identity = Activation::Identity;
        if activation == identity {
            let added = low_rank.forward(x.clone(), residual);
            return kernels::linear(x, weight, bias, identity, Some(added));
        }
        // What is added goes through the activation, and a residual does not.
        let added = low_rank.forward(x.clone(), None);
        let sum = kernels::linear(x, weight, bias, identity, Some(added));
        let y = kernels::activate(sum, activation);
        match residual {
            Some(residual) => y + residual,
            None => y,
        }
    }
}

/// What torch's `nn.Linear` starts with: uniform within `1 / sqrt(in_features)`.
fn initializer(in_features: usize) -> Initializer {
    let bound = 1.0 / (in_features as f64).sqrt();
    Initializer::Uniform {
        min: -bound,
        max: bound,
    }
}
