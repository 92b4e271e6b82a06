//! How a picture will be cut and what will stand for it in a prompt, planned from its size alone.

use super::VisionConfig;
use crate::image::{ImageSize, PreprocessConfig};
use crate::nn::{FeatureGrid, ProjectorInputs};
use crate::text::ImageTokens;

/// The plan of a picture: made before anything is encoded, so that a prompt and its length are known
/// without running the encoder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageLayout {
    /// Tiles that the encoder will see.
    pub num_tiles: usize,
    /// What stands for the picture in a prompt: the rows of the tiles and the text around them.
    pub tokens: ImageTokens,
    /// Where the features of each tile lie in the picture, where their rows do not follow each other
    /// tile by tile.
    pub grid: Option<FeatureGrid>,
}

impl ImageLayout {
    /// Rows of the decoder's width that the picture will become.
    pub fn num_rows(&self) -> usize {
        self.tokens.num_rows()
    }

    /// What a projector reads beside the features when `question` is asked.
    pub fn inputs<'a>(&'a self, question: &'a [u32]) -> ProjectorInputs<'a> {
        ProjectorInputs {
            question,
            grid: self.grid.as_ref(),
        }
    }
}

/// The whole picture as one tile, whatever its size.
pub(super) fn one_tile(vision: &VisionConfig, _: &PreprocessConfig, _: ImageSize) -> ImageLayout {
    let num_features = vision.encoder.num_features();
    ImageLayout {
        num_tiles: 1,
        tokens: ImageTokens::rows(vision.projector.num_rows(num_features)),
        grid: None,
    }
}
