//! Cutting a picture into tiles of the listed size that suits it best, as LLaVA-NeXT's processor does.

use serde_json::Value;

use super::preprocess::{PreprocessConfig, checked_edge};
use super::resample::CHANNELS;
use super::tiling::{TileGrid, Tiling, resize};
use super::{ImageInput, ImageSize, PixelValues, ResampleFilter};
use crate::error::Result;

/// A whole picture squashed into one tile, and behind it the tiles of the picture at the size that
/// suits it best, in its own proportions and with black beside it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AnyResolution {
    /// Height and width of a tile.
    pub(super) tile: usize,
    /// The sizes to choose from, in whole tiles; at least one.
    pub(super) pinpoints: Vec<ImageSize>,
    /// How it is resized.
    pub(super) filter: ResampleFilter,
}

impl AnyResolution {
    /// The tiles of a picture of this size.
    pub(super) fn grid(&self, picture: ImageSize) -> TileGrid {
        let ImageSize { height, width } = self.best(picture);
        TileGrid {
            rows: height / self.tile,
            columns: width / self.tile,
        }
    }

    /// The size that shows most pixels of the picture, of those the one that wastes least, of those
    /// the first: `select_best_resolution` of `transformers`, which counts in f64 too. A picture so
    /// thin that it would vanish in every size is an error there; here it takes the first.
    fn best(&self, picture: ImageSize) -> ImageSize {
        let [height, width] = [picture.height, picture.width].map(|side| side as f64);
        let shown = |target: &ImageSize| {
            let scale = (target.width as f64 / width).min(target.height as f64 / height);
            let scaled = (width * scale) as usize * (height * scale) as usize;
            scaled.min(picture.height * picture.width)
        };
        let mut best = self.pinpoints[0];
        for target in &self.pinpoints[1..] {
            let (found, most) = (shown(target), shown(&best));
            let wastes_less =
                target.height * target.width - found < best.height * best.width - most;
            if found > most || (found == most && wastes_less) {
                best = *target;
            }
        }
        best
    }
}

impl PreprocessConfig {
    /// LLaVA-NeXT's: tiles of `size` pixels a side and CLIP's mean and deviation. `pinpoints` are the
    /// sizes, in whole tiles, that a picture may be cut at.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`](crate::ConfigError::OutOfRange) when `size` is 0 or above 4096.
    ///
    /// # Panics
    ///
    /// If there are no `pinpoints`.
    pub fn any_resolution(size: usize, pinpoints: &[ImageSize]) -> Result<Self> {
        assert!(!pinpoints.is_empty(), "sizes to choose from");
        let mut config = Self::clip(checked_edge("size", size)?)?;
        config.tiling = Some(Tiling::AnyResolution(AnyResolution {
            tile: size,
            pinpoints: pinpoints.to_vec(),
            filter: ResampleFilter::Bicubic,
        }));
        Ok(config)
    }

    /// The sizes that a picture is cut at; none where it is cut otherwise or not at all.
    pub(crate) fn pinpoints(&self) -> &[ImageSize] {
        match &self.tiling {
            Some(Tiling::AnyResolution(any)) => &any.pinpoints,
            Some(Tiling::Splitting(_)) | None => &[],
        }
    }

    /// The picture as one tile, then those it is cut into.
    pub(super) fn any_resolution_tiles(
        &self,
        image: &ImageInput,
        any: &AnyResolution,
    ) -> Result<PixelValues> {
        let size = ImageSize::square(any.tile);
        let mut values = Vec::new();
        self.normalise(&mut values, resize(image, size, any.filter)?.rgb());
        let best = any.best(image.size());
        let resized = resize(image, within(image.size(), best), any.filter)?;
        let grid = any.grid(image.size());
        self.cut(&mut values, &on_black(&resized, best)?, any.tile, grid);
        Ok(PixelValues::new(grid.num_tiles(), size, values))
    }
}

/// The largest size within `target` of the picture's proportions: `get_patch_output_size` of
/// `transformers`.
fn within(picture: ImageSize, target: ImageSize) -> ImageSize {
    let scale_width = target.width as f64 / picture.width as f64;
    let scale_height = target.height as f64 / picture.height as f64;
    if scale_width < scale_height {
        let height = (picture.height as f64 * scale_width).ceil() as usize;
        ImageSize::new(height.min(target.height), target.width)
    } else {
        let width = (picture.width as f64 * scale_height).ceil() as usize;
        ImageSize::new(target.height, width.min(target.width))
    }
}

/// The picture in the middle of a black one.
fn on_black(image: &ImageInput, canvas: ImageSize) -> Result<ImageInput> {
    let top = (canvas.height - image.height()) / 2;
    let left = (canvas.width - image.width()) / 2;
    let mut pixels = vec![0; canvas.height * canvas.width * CHANNELS];
    let rows = pixels.chunks_exact_mut(canvas.width * CHANNELS).skip(top);
    let row_bytes = image.width() * CHANNELS;
    for (row, drawn) in rows.zip(image.rgb().chunks_exact(row_bytes)) {
        row[left * CHANNELS..][..row_bytes].copy_from_slice(drawn);
    }
    ImageInput::from_rgb8(canvas, pixels)
}

/// Most tiles of a picture; the sizes of LLaVA-NeXT have 4, those of LLaVA-OneVision 36.
const MAX_TILES: usize = 64;

/// What the sizes in a configuration have to be.
pub(crate) const PINPOINTS: &str =
    "a list of heights and widths in whole tiles of the encoder, at most 64 tiles each";

/// The sizes of a configuration, `[[height, width], ..]`, if they are sizes in whole tiles.
pub(crate) fn read_pinpoints(value: &Value, tile: usize) -> Option<Vec<ImageSize>> {
    let side = |value: &Value| {
        let side = usize::try_from(value.as_u64()?).ok()?;
        (side > 0 && side.is_multiple_of(tile) && side / tile <= MAX_TILES).then_some(side)
    };
    let size = |value: &Value| match value.as_array()?.as_slice() {
        [height, width] => {
            let size = ImageSize::new(side(height)?, side(width)?);
            let num_tiles = (size.height / tile) * (size.width / tile);
            (num_tiles <= MAX_TILES).then_some(size)
        }
        _ => None,
    };
    let sizes: Option<Vec<_>> = value.as_array()?.iter().map(size).collect();
    sizes.filter(|sizes| !sizes.is_empty())
}

#[cfg(test)]
mod tests;
