//! Cutting a picture into tiles, as the processors of Idefics3 and SmolVLM do.

use super::preprocess::PreprocessConfig;
use super::tiling::{TileGrid, resize};
use super::{ImageInput, ImageSize, PixelValues, ResampleFilter};
use crate::error::Result;

/// How a picture is cut into square tiles, with the whole of it as one more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Splitting {
    /// Height and width of a tile.
    pub(super) tile: usize,
    /// Whether it is cut at all; otherwise it is squashed into one tile.
    pub(super) is_split: bool,
    /// How it is resized to whole tiles.
    pub(super) filter: ResampleFilter,
}

impl Splitting {
    /// The tiles of a picture that was resized to `resized`, or `None` where the only one is that of
    /// the whole.
    pub(super) fn grid(self, resized: ImageSize) -> Option<TileGrid> {
        let whole = self.whole_tiles(resized);
        let grid = TileGrid {
            rows: whole.height / self.tile,
            columns: whole.width / self.tile,
        };
        (self.is_split && grid.num_tiles() > 2).then_some(grid)
    }

    /// The size in whole tiles: the longer side is rounded up first, and the other one follows before
    /// it is rounded up too.
    fn whole_tiles(self, size: ImageSize) -> ImageSize {
        let aspect_ratio = size.width as f64 / size.height as f64;
        let round_up = |side: usize| side.max(1).next_multiple_of(self.tile);
        if size.width >= size.height {
            let width = round_up(size.width);
            let height = (width as f64 / aspect_ratio) as usize;
            ImageSize::new(round_up(height), width)
        } else {
            let height = round_up(size.height);
            let width = (height as f64 * aspect_ratio) as usize;
            ImageSize::new(height, round_up(width))
        }
    }
}

impl PreprocessConfig {
    /// What a picture of `size` is resized to before it is cut.
    pub(super) fn resized(&self, size: ImageSize) -> ImageSize {
        self.resize.map_or(size, |(to, _)| to.target(size))
    }

    /// The tiles of a picture row by row, and the whole of it behind them.
    pub(super) fn split_tiles(
        &self,
        image: &ImageInput,
        splitting: Splitting,
    ) -> Result<PixelValues> {
        let size = ImageSize::square(splitting.tile);
        let mut values = Vec::new();
        let resized = match self.resize {
            Some((to, filter)) => &resize(image, to.target(image.size()), filter)?,
            None => image,
        };
        let Some(grid) = splitting.grid(resized.size()) else {
            let only = resize(resized, size, splitting.filter)?;
            self.normalise(&mut values, only.rgb());
            return Ok(PixelValues::new(1, size, values));
        };
        let whole = splitting.whole_tiles(resized.size());
        let whole = resize(resized, whole, splitting.filter)?;
        self.cut(&mut values, &whole, splitting.tile, grid);
        let global = resize(&whole, size, splitting.filter)?;
        self.normalise(&mut values, global.rgb());
        Ok(PixelValues::new(grid.num_tiles(), size, values))
    }
}

#[cfg(test)]
mod tests;
