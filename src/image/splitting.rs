//! Cutting a picture into tiles, as the processors of Idefics3 and SmolVLM do.

use super::preprocess::PreprocessConfig;
use super::resample::{Axis, CHANNELS, Resize, resample};
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

/// Rows and columns of tiles that a picture is cut into, without the one of the whole picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TileGrid {
    /// Tiles one below the other.
    pub rows: usize,
    /// Tiles side by side.
    pub columns: usize,
}

impl TileGrid {
    /// Tiles in all; the one of the whole picture, which is the last, counts too.
    pub fn num_tiles(self) -> usize {
        self.rows * self.columns + 1
    }
}

impl Splitting {
    /// The tiles of a picture that was resized to `resized`, or `None` where the only one is that of
    /// the whole.
    fn grid(self, resized: ImageSize) -> Option<TileGrid> {
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
    /// The tiles that a picture of `size` is cut into; `None` where it stays one.
    pub fn tile_grid(&self, size: ImageSize) -> Option<TileGrid> {
        self.splitting?.grid(self.resized(size))
    }

    /// What a picture of `size` is resized to before it is cut.
    fn resized(&self, size: ImageSize) -> ImageSize {
        self.resize.map_or(size, |(to, _)| to.target(size))
    }

    /// The tiles of a picture row by row, and the whole of it behind them. Each of the three resizes
    /// rounds to 8 bits, as Pillow's do.
    pub(super) fn tiles(&self, image: &ImageInput, splitting: Splitting) -> Result<PixelValues> {
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
        for row in 0..grid.rows {
            for column in 0..grid.columns {
                self.normalise(&mut values, &crop(&whole, splitting.tile, [row, column]));
            }
        }
        let global = resize(&whole, size, splitting.filter)?;
        self.normalise(&mut values, global.rgb());
        Ok(PixelValues::new(grid.num_tiles(), size, values))
    }

    /// Adds the values of one tile.
    fn normalise(&self, values: &mut Vec<f32>, pixels: &[u8]) {
        for (channel, table) in self.value_tables().iter().enumerate() {
            let colors = pixels.iter().skip(channel).step_by(CHANNELS);
            values.extend(colors.map(|color| table[usize::from(*color)]));
        }
    }
}

fn resize(image: &ImageInput, target: ImageSize, filter: ResampleFilter) -> Result<ImageInput> {
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

#[cfg(test)]
mod tests;
