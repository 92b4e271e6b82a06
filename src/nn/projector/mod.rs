//! Projectors: patch features in, rows of the decoder's width out.

mod linear;
mod mlp;

use burn::module::Module;
use burn::tensor::{Tensor, backend::Backend};

pub use linear::{LinearProjector, LinearProjectorConfig};
pub use mlp::{MlpProjector, MlpProjectorConfig};

use crate::kernels::VlmBackend;

/// Every projector whose checkpoints can be loaded.
#[derive(Module, Debug)]
#[allow(clippy::large_enum_variant, reason = "there is one of them in a model")]
pub enum Projector<B: Backend> {
    /// One linear layer.
    Linear(LinearProjector<B>),
    /// Two linear layers (LLaVA-1.5).
    Mlp(MlpProjector<B>),
}

impl<B: VlmBackend> Projector<B> {
    /// Projects the features of pictures.
    ///
    /// # Shapes
    /// - `features`: `[num_tiles, num_features, vision_hidden_size]`
    /// - output: `[num_tiles, rows_per_tile, hidden_size]`
    pub fn forward(&self, features: Tensor<B, 3>) -> Tensor<B, 3> {
        let [num_tiles, num_features, width] = features.dims();
        let rows = features.reshape([num_tiles * num_features, width]);
        let rows = match self {
            Self::Linear(projector) => projector.forward(rows),
            Self::Mlp(projector) => projector.forward(rows),
        };
        let [_, hidden_size] = rows.dims();
        rows.reshape([num_tiles, num_features, hidden_size])
    }
}
