//! The table of token embeddings.

use burn::module::Module;
use burn::nn::Initializer;
use burn::tensor::{DType, Tensor, backend::Backend};

use super::weight::Weight;
use crate::kernels::{self, SplicedRows, TokenIdsTensor, VlmBackend};

/// One row for each token.
#[derive(Module, Debug)]
pub struct Embedding<B: Backend> {
    /// `[vocab_size, hidden_size]`
    pub weight: Weight<B>,
}

impl<B: Backend> Embedding<B> {
    /// A table of random rows, made when first used.
    pub fn new(vocab_size: usize, hidden_size: usize, device: &B::Device) -> Self {
        let initializer = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        Self {
            weight: Weight::new(&initializer, [vocab_size, hidden_size], device),
        }
    }
}

impl<B: VlmBackend> Embedding<B> {
    /// The rows of `token_ids`, which may be on the host or on the device, with those of `images` in
    /// their places.
    ///
    /// # Shapes
    /// - `token_ids`: `[num_tokens]`
    /// - `images`: rows `[num_rows, hidden_size]`, in order
    /// - output: `[num_tokens, hidden_size]`, in `dtype`; zeros for an id on the device that is not in
    ///   the table
    ///
    /// # Panics
    /// If an id on the host, outside the images, is not in the table, or an image does not fit.
    pub fn forward<'a>(
        &self,
        token_ids: impl Into<TokenIdsTensor<'a, B>>,
        images: Vec<SplicedRows<Tensor<B, 2>>>,
        dtype: DType,
    ) -> Tensor<B, 2> {
        kernels::embed_and_splice(self.weight.matrix(), token_ids, images, dtype)
    }
}
