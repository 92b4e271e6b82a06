//! Projectors: patch features in, rows of the decoder's width out.

mod cross_attention;
mod linear;
mod merge;
mod mlp;
mod pixel_shuffle;
mod qformer;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

pub use linear::{LinearProjector, LinearProjectorConfig};
pub use merge::{MergeProjector, MergeProjectorConfig};
pub use mlp::{MlpProjector, MlpProjectorConfig};
pub use pixel_shuffle::{PixelShuffleConfig, PixelShuffleProjector};
pub use qformer::{QFormerConfig, QFormerProjector, QFormerTextConfig};

use crate::kernels::VlmBackend;

/// Every projector whose checkpoints can be loaded.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of them in a model")]
pub enum Projector<B: Backend> {
    /// One linear layer.
    Linear(LinearProjector<B>),
    /// Two linear layers (LLaVA-1.5).
    Mlp(MlpProjector<B>),
    /// Neighbours side by side, then one linear layer (MiniGPT-v2).
    Merge(MergeProjector<B>),
    /// Learned queries that read the picture (BLIP-2, MiniGPT-4).
    QFormer(QFormerProjector<B>),
    /// Blocks of features side by side, then one linear layer (Idefics3, SmolVLM).
    PixelShuffle(PixelShuffleProjector<B>),
}

impl<B: VlmBackend> Projector<B> {
    /// Whether the rows depend on the question.
    pub fn reads_question(&self) -> bool {
        match self {
            Self::QFormer(projector) => projector.reads_question(),
            Self::Linear(_) | Self::Mlp(_) | Self::Merge(_) | Self::PixelShuffle(_) => false,
        }
    }

    /// Projects the features of pictures, about whose `question` only those projectors care that
    /// [read it](Self::reads_question).
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, num_features, vision_hidden_size]`
    /// - output: `[num_tiles, rows_per_tile, hidden_size]`
    pub fn forward(&self, features: Tensor<B, 3>, question: &[u32]) -> Tensor<B, 3> {
        match self {
            Self::Linear(projector) => each_row(features, |rows| projector.forward(rows)),
            Self::Mlp(projector) => each_row(features, |rows| projector.forward(rows)),
            Self::Merge(projector) => projector.forward(features),
            Self::QFormer(projector) => projector.forward(features, question),
            Self::PixelShuffle(projector) => projector.forward(features),
        }
    }
}

/// Every feature alone.
fn each_row<B: Backend>(
    features: Tensor<B, 3>,
    project: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 2>,
) -> Tensor<B, 3> {
    let [num_tiles, num_features, width] = features.dims();
    let rows = project(features.reshape([num_tiles * num_features, width]));
    let [_, hidden_size] = rows.dims();
    rows.reshape([num_tiles, num_features, hidden_size])
}
