use burn::module::{Module, Param};
use burn::nn::Initializer;
use burn::tensor::{DType, Tensor, backend::Backend};

use crate::kernels::{self, KvWrite, VlmBackend};

/// A learned row for each position, which is added to the row of the token that stands there.
#[derive(Module, Debug)]
pub struct LearnedPositions<B: Backend> {
    /// `[offset + max_position_embeddings, hidden_size]`
    pub weight: Param<Tensor<B, 2>>,
    offset: usize,
}

impl<B: Backend> LearnedPositions<B> {
    /// A table of random rows, made when first used.
    pub(super) fn new(
        offset: usize,
        max_position_embeddings: usize,
        hidden_size: usize,
        device: &B::Device,
    ) -> Self {
        let initializer = Initializer::Normal {
            mean: 0.0,
            std: 0.02,
        };
        Self {
            weight: initializer.init([offset + max_position_embeddings, hidden_size], device),
            offset,
        }
    }
}

impl<B: VlmBackend> LearnedPositions<B> {
    /// The rows of `seq_len` new tokens of each sequence.
    ///
    /// # Shapes
    /// - output: `[writes.len() * seq_len, hidden_size]`, in `dtype`
    ///
    /// # Panics
    /// If a token stands behind the last position that was learned.
    pub(super) fn forward(&self, writes: &[KvWrite], seq_len: usize, dtype: DType) -> Tensor<B, 2> {
        let table = self.weight.val();
        let [num_rows, _] = table.dims();
        let rows = writes.iter().flat_map(|write| {
            let first = self.offset + write.position;
            assert!(
                first + seq_len <= num_rows,
                "position {} of the {} that were learned",
                write.position + seq_len,
                num_rows - self.offset
            );
            first..first + seq_len
        });
        let rows: Vec<u32> = rows
            .map(|row| u32::try_from(row).expect("a table has fewer rows than ids have values"))
            .collect();
        kernels::embed_and_splice(table, &rows[..], vec![], dtype)
    }
}
