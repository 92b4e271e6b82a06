//! How a picture will be cut and what will stand for it in a prompt, planned from its size alone.

use super::VisionConfig;
use crate::image::{ImageSize, PreprocessConfig};
use crate::text::ImageTokens;

/// The plan of a picture: made before anything is encoded, so that a prompt and its length are known
/// without running the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayout {
    /// Tiles that the encoder will see.
    pub num_tiles: usize,
    /// What stands for the picture in a prompt: the rows of the tiles and the text around them.
    pub tokens: ImageTokens,
}

impl ImageLayout {
    /// Rows of the decoder's width that the picture will become.
    pub fn num_rows(&self) -> usize {
        self.tokens.num_rows()
    }
}

/// The whole picture as one tile, whatever its size.
pub(super) fn one_tile(vision: &VisionConfig, _: &PreprocessConfig, _: ImageSize) -> ImageLayout {
    let num_features = vision.encoder.num_features();
    ImageLayout {
        num_tiles: 1,
        tokens: ImageTokens::rows(vision.projector.num_rows(num_features)),
    }
}
