//! What a low-rank adapter (LoRA, Hu et al. 2021) adds to a linear layer, kept apart from its weight.

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

use super::weight::Weight;
use crate::kernels::{self, Activation, VlmBackend};

/// `x down^T up^T`: two thin products beside a wide one.
#[derive(Module, Debug)]
pub struct LowRank<B: Backend> {
    /// `[rank, in_features]`
    down: Weight<B>,
    /// `[out_features, rank]`, with the adapter's scale in it.
    up: Weight<B>,
}

impl<B: Backend> LowRank<B> {
    /// Of two matrices.
    ///
    /// # Shapes
    /// - `down`: `[rank, in_features]`
    /// - `up`: `[out_features, rank]`
    ///
    /// # Panics
    /// If their ranks differ.
    pub fn new(down: Tensor<B, 2>, up: Tensor<B, 2>) -> Self {
        let ([rank, _], [_, up_rank]) = (down.dims(), up.dims());
        assert_eq!(rank, up_rank, "ranks of the two matrices");
        Self {
            down: Weight::of(down),
            up: Weight::of(up),
        }
    }
}

impl<B: VlmBackend> LowRank<B> {
    /// The product and `residual`.
    ///
    /// # Shapes
    /// - `x`: `[rows, in_features]`; `residual` and output: `[rows, out_features]`
    pub(super) fn forward(&self, x: Tensor<B, 2>, residual: Option<Tensor<B, 2>>) -> Tensor<B, 2> {
        let identity = Activation::Identity;
        let narrowed = kernels::linear(x, self.down.matrix(), None, identity, None);
        kernels::linear(narrowed, self.up.matrix(), None, identity, residual)
    }
}
