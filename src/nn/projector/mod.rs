//! Projectors: patch features in, rows of the decoder's width out.

mod any_resolution;
mod cross_attention;
mod linear;
mod merge;
mod mlp;
mod pixel_shuffle;
mod qformer;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

pub use any_resolution::{AnyResolutionConfig, AnyResolutionProjector, FeatureGrid};
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
    /// Two linear layers over tiles that are laid side by side (LLaVA-NeXT).
    AnyResolution(AnyResolutionProjector<B>),
}

/// What the rows of a picture depend on beside its features; projectors read what they care for.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProjectorInputs<'a> {
    /// The ids of the question, for those that [read it](Projector::reads_question).
    pub question: &'a [u32],
    /// Where the features of each tile lie in the picture, for those that lay them side by side.
    pub grid: Option<&'a FeatureGrid>,
}

impl<B: VlmBackend> Projector<B> {
    /// Whether the rows depend on the question.
    pub fn reads_question(&self) -> bool {
        match self {
            Self::QFormer(projector) => projector.reads_question(),
            Self::Linear(_)
            | Self::Mlp(_)
            | Self::Merge(_)
            | Self::PixelShuffle(_)
            | Self::AnyResolution(_) => false,
        }
    }

    /// Projects the features of the tiles of one picture.
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, num_features, vision_hidden_size]`
    /// - output: `[num_rows, hidden_size]`
    ///
    /// # Panics
    /// If it lays tiles side by side and `inputs` have no grid.
    pub fn forward(&self, features: Tensor<B, 3>, inputs: ProjectorInputs<'_>) -> Tensor<B, 2> {
        let of_tiles = match self {
            Self::Linear(projector) => return each_row(features, |rows| projector.forward(rows)),
            Self::Mlp(projector) => return each_row(features, |rows| projector.forward(rows)),
            Self::AnyResolution(projector) => {
                let grid = inputs.grid.expect("the layout of a picture that is cut");
                return projector.forward(features, grid);
            }
            Self::Merge(projector) => projector.forward(features),
            Self::QFormer(projector) => projector.forward(features, inputs.question),
            Self::PixelShuffle(projector) => projector.forward(features),
        };
        let [num_tiles, rows_per_tile, hidden_size] = of_tiles.dims();
        of_tiles.reshape([num_tiles * rows_per_tile, hidden_size])
    }
}

/// Every feature alone.
fn each_row<B: Backend>(
    features: Tensor<B, 3>,
    project: impl FnOnce(Tensor<B, 2>) -> Tensor<B, 2>,
) -> Tensor<B, 2> {
    let [num_tiles, num_features, width] = features.dims();
    project(features.reshape([num_tiles * num_features, width]))
}
