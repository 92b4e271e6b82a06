//! Cutting a picture into square tiles, which are all encoded with the picture as a whole.

use super::any_resolution::AnyResolution;
use super::preprocess::PreprocessConfig;
use super::resample::{Axis, CHANNELS, Resize, resample};
use super::splitting::Splitting;
use super::{ImageInput, ImageSize, PixelValues, ResampleFilter, ResizeTo};
use crate::error::Result;

/// How a picture is cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Tiling {
    /// Into as many tiles as its resized sides hold (Idefics3, SmolVLM).
    Splitting(Splitting),
    /// Into those of the listed size that wastes least of it (LLaVA-NeXT).
    AnyResolution(AnyResolution),
}

/// Rows and columns of tiles that a picture is cut into, without the one of the whole picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileGrid {
    /// Tiles one below the other.
    pub rows: usize,
    /// Tiles side by side.
    pub columns: usize,
}

impl TileGrid {
    /// Tiles in all; the one of the whole picture counts too.
    pub fn num_tiles(self) -> usize {
        self.rows * self.columns + 1
    }
}

impl Tiling {
    /// Height and width of a tile.
    pub(super) fn tile(&self) -> usize {
        match self {
            Self::Splitting(splitting) => splitting.tile,
            Self::AnyResolution(any) => any.tile,
        }
    }
}

impl PreprocessConfig {
    /// The tiles that a picture of `size` is cut into; `None` where it stays one.
    pub fn tile_grid(&self, size: ImageSize) -> Option<TileGrid> {
        match self.tiling.as_ref()? {
            Tiling::Splitting(splitting) => splitting.grid(self.resized(size)),
            Tiling::AnyResolution(any) => Some(any.grid(size)),
        }
    }

    /// The most tiles that a picture can become, the one of the whole picture among them.
    pub(crate) fn max_tiles(&self) -> usize {
        let tile = self.tiling.as_ref().map_or(1, Tiling::tile);
        let side = |pixels: usize| pixels.div_ceil(tile);
        match &self.tiling {
            None => 1,
            Some(Tiling::Splitting(splitting)) if !splitting.is_split => 1,
            Some(Tiling::Splitting(_)) => match self.resize {
                Some((ResizeTo::Exact(size), _)) => side(size.height) * side(size.width) + 1,
                Some((ResizeTo::LongestEdge(edge), _)) => side(edge) * side(edge) + 1,
                // No splitting is read with another, for nothing would bound it.
                Some((ResizeTo::ShortestEdge(_) | ResizeTo::ShortestEdgeWithin { .. }, _))
                | None => usize::MAX,
            },
            Some(Tiling::AnyResolution(any)) => {
                let sizes = any.pinpoints.iter();
                let most = sizes.map(|size| side(size.height) * side(size.width)).max();
                most.unwrap_or(0) + 1
            }
        }
    }

    /// The tiles of a picture. Each resize rounds to 8 bits, as Pillow's do.
    pub(super) fn tiles(&self, image: &ImageInput, tiling: &Tiling) -> Result<PixelValues> {
        match tiling {
            Tiling::Splitting(splitting) => self.split_tiles(image, *splitting),
            Tiling::AnyResolution(any) => self.any_resolution_tiles(image, any),
        }
    }

    /// Adds the values of one tile.
    pub(super) fn normalise(&self, values: &mut Vec<f32>, pixels: &[u8]) {
        for (channel, table) in self.value_tables().iter().enumerate() {
            let colors = pixels.iter().skip(channel).step_by(CHANNELS);
            values.extend(colors.map(|color| table[usize::from(*color)]));
        }
    }

    /// Adds the values of every tile of a picture of whole tiles, row by row.
    pub(super) fn cut(
        &self,
        values: &mut Vec<f32>,
        whole: &ImageInput,
        tile: usize,
        grid: TileGrid,
    ) {
        for row in 0..grid.rows {
            for column in 0..grid.columns {
                self.normalise(values, &crop(whole, tile, [row, column]));
            }
        }
    }
}

/// The whole of a picture at another size.
pub(super) fn resize(
    image: &ImageInput,
    target: ImageSize,
    filter: ResampleFilter,
) -> Result<ImageInput> {
    let pixels = resample(
        image,
        &Resize {
            filter,
            vertical: Axis::whole(image.height(), target.height),
            horizontal: Axis::whole(image.width(), target.width),
            fill: [0; CHANNELS],
        },
    );
    ImageInput::from_rgb8(target, pixels)
}

/// The pixels of one tile.
fn crop(image: &ImageInput, tile: usize, [row, column]: [usize; 2]) -> Vec<u8> {
    let row_bytes = image.width() * CHANNELS;
    let columns = column * tile * CHANNELS..(column + 1) * tile * CHANNELS;
    let rows = image
        .rgb()
        .chunks_exact(row_bytes)
        .skip(row * tile)
        .take(tile);
    rows.flat_map(|row| &row[columns.clone()])
        .copied()
        .collect()
}
