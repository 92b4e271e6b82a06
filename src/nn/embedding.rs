//! The table of token embeddings.

use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Tensor, backend::Backend};

use crate::kernels::{self, SplicedRows, VlmBackend};

/// One row for each token.
#[derive(Module, Debug)]
pub struct Embedding<B: Backend> {
    /// `[vocab_size, hidden_size]`
    pub weight: Param<Tensor<B, 2>>,
}

impl<B: Backend> Embedding<B> {
    /// A table of random rows, made when first used.
    pub fn new(vocab_size: usize, hidden_size: usize, device: &B::Device) -> Self {
        let initializer = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        Self {
            weight: initializer.init([vocab_size, hidden_size], device),
        }
    }
}

impl<B: VlmBackend> Embedding<B> {
    /// The rows of `token_ids`, with those of `images` in their places.
    ///
    /// # Shapes
    /// - `images`: rows `[num_rows, hidden_size]`, in order
    /// - output: `[token_ids.len(), hidden_size]`, f32
    ///
    /// # Panics
    /// If an id outside the images is not in the table, or an image does not fit.
    pub fn forward(
        &self,
        token_ids: &[u32],
        images: Vec<SplicedRows<Tensor<B, 2>>>,
    ) -> Tensor<B, 2> {
        kernels::embed_and_splice(self.weight.val(), token_ids, images, DType::F32)
    }
}
