//! From a picture to the values that a visual encoder reads.

use super::resample::{Axis, CHANNELS, Resize, resample};
use super::tiling::Tiling;
use super::{ImageInput, ImageSize, PixelValues, ResampleFilter, ResizeTo};
use crate::error::{ConfigError, ImageError, Result};

/// The longest side that preprocessing may produce, and that a configuration may ask for.
pub(crate) const MAX_EDGE: usize = 4096;

pub(crate) const CLIP_MEAN: [f64; CHANNELS] = [0.48145466, 0.4578275, 0.40821073];
pub(crate) const CLIP_STD: [f64; CHANNELS] = [0.26862954, 0.26130258, 0.27577711];
pub(crate) const BYTE_SCALE: f64 = 1.0 / 255.0;

/// How a model wants its pictures: pad, resize, crop, rescale, normalise, in this order.
///
/// Read it from the model folder with [`from_json`](Self::from_json), or take a preset.
///
/// # Examples
///
/// ```
/// use burn_vlm::image::{ImageInput, ImageSize, PreprocessConfig};
///
/// let black = ImageInput::from_rgb8(ImageSize::new(480, 640), vec![0; 480 * 640 * 3])?;
/// let pixel_values = PreprocessConfig::clip(336)?.preprocess(&black)?;
/// assert_eq!(pixel_values.shape(), [1, 3, 336, 336]);
/// assert_eq!(pixel_values.data()[0], -0.48145466 / 0.26862954);
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct PreprocessConfig {
    pub(super) padding: Padding,
    pub(super) resize: Option<(ResizeTo, ResampleFilter)>,
    pub(super) crop_size: Option<ImageSize>,
    pub(super) rescale_factor: Option<f64>,
    pub(super) normalization: Option<Normalization>,
    /// How the resized picture is cut into tiles, where it is.
    pub(super) tiling: Option<Tiling>,
}

/// What is put around a picture before it is resized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Padding {
    None,
    /// The picture stands in the middle of a square of this colour.
    Square([u8; CHANNELS]),
}

impl Padding {
    /// LLaVA's square: the colour that normalisation would bring nearest to zero.
    pub(super) fn square_of_mean(mean: [f64; CHANNELS]) -> Self {
        Self::Square(mean.map(|channel| (channel * 255.0) as u8))
    }
}

/// Mean and standard deviation of each channel.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Normalization {
    pub(super) mean: [f64; CHANNELS],
    pub(super) std: [f64; CHANNELS],
}

impl PreprocessConfig {
    /// CLIP's: the shortest edge to `size`, the centre cropped out, CLIP's mean and deviation.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] when `size` is 0 or above 4096.
    pub fn clip(size: usize) -> Result<Self> {
        let crop_size = Some(ImageSize::square(checked_edge("size", size)?));
        Ok(Self {
            crop_size,
            ..Self::with_resize(ResizeTo::ShortestEdge(size))
        })
    }

    /// BLIP's and MiniGPT-4's: squashed to a square of `size`, CLIP's mean and deviation.
    ///
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] when `size` is 0 or above 4096.
    pub fn blip(size: usize) -> Result<Self> {
        let target = ImageSize::square(checked_edge("size", size)?);
        Ok(Self::with_resize(ResizeTo::Exact(target)))
    }

    fn with_resize(resize_to: ResizeTo) -> Self {
        Self {
            padding: Padding::None,
            resize: Some((resize_to, ResampleFilter::Bicubic)),
            crop_size: None,
            rescale_factor: Some(BYTE_SCALE),
            normalization: Some(Normalization {
                mean: CLIP_MEAN,
                std: CLIP_STD,
            }),
            tiling: None,
        }
    }

    /// The same after padding to a square, as the original LLaVA does for `image_aspect_ratio`
    /// `pad`: the picture in the middle, the mean colour around it.
    pub fn with_square_padding(mut self) -> Self {
        let mean = self
            .normalization
            .map_or([0.0; CHANNELS], |normalization| normalization.mean);
        self.padding = Padding::square_of_mean(mean);
        self
    }

    /// The size of every output, or `None` where it depends on the picture.
    pub fn output_size(&self) -> Option<ImageSize> {
        if let Some(tiling) = &self.tiling {
            return Some(ImageSize::square(tiling.tile()));
        }
        self.crop_size
            .or_else(|| match (self.padding, self.resize) {
                (_, Some((ResizeTo::Exact(target), _))) => Some(target),
                (Padding::Square(_), Some((resize_to, _))) => Some(resize_to.target_of_squares()),
                (Padding::None, Some(_)) | (_, None) => None,
            })
    }

    /// Makes the values for one picture.
    ///
    /// # Errors
    ///
    /// [`ImageError::OutputTooLarge`] when a side would be longer than 4096 pixels, which only a
    /// configuration without a fixed [`output_size`](Self::output_size) can bring about.
    pub fn preprocess(&self, image: &ImageInput) -> Result<PixelValues> {
        if let Some(tiling) = &self.tiling {
            return self.tiles(image, tiling);
        }
        let plan = self.plan(image.size())?;
        let kept = resample(image, &plan.resize);
        Ok(PixelValues::new(1, plan.output, self.place(&kept, &plan)))
    }

    fn plan(&self, picture: ImageSize) -> Result<Plan, ImageError> {
        let (canvas, fill) = match self.padding {
            Padding::None => (picture, [0; CHANNELS]),
            Padding::Square(fill) => (ImageSize::square(picture.longest_edge()), fill),
        };
        // Without a resize every filter is the identity.
        let (target, filter) = match self.resize {
            Some((resize_to, filter)) => (resize_to.target(canvas), filter),
            None => (canvas, ResampleFilter::Box),
        };
        let output = self.crop_size.unwrap_or(target);
        if output.longest_edge() > MAX_EDGE {
            let ImageSize { height, width } = output;
            return Err(ImageError::OutputTooLarge {
                height,
                width,
                limit: MAX_EDGE,
            });
        }
        let vertical = plan_axis(picture.height, canvas.height, target.height, output.height);
        let horizontal = plan_axis(picture.width, canvas.width, target.width, output.width);
        Ok(Plan {
            top: offset_of_kept(&vertical, output.height),
            left: offset_of_kept(&horizontal, output.width),
            resize: Resize {
                filter,
                vertical,
                horizontal,
                fill,
            },
            output,
        })
    }

    /// The kept pixels on an output of black ones, through rescaling and normalisation.
    fn place(&self, kept: &[u8], plan: &Plan) -> Vec<f32> {
        let ImageSize { height, width } = plan.output;
        let kept_row_bytes = plan.resize.horizontal.kept.len() * CHANNELS;
        let mut values = Vec::with_capacity(CHANNELS * height * width);
        for (channel, table) in self.value_tables().iter().enumerate() {
            let first_value = values.len();
            values.resize(first_value + height * width, table[0]);
            let rows = values[first_value..].chunks_exact_mut(width).skip(plan.top);
            for (row, kept_row) in rows.zip(kept.chunks_exact(kept_row_bytes)) {
                let colors = kept_row.iter().skip(channel).step_by(CHANNELS);
                for (value, &color) in row[plan.left..].iter_mut().zip(colors) {
                    *value = table[usize::from(color)];
                }
            }
        }
        values
    }

    /// What each of the 256 colours of each channel becomes.
    ///
    /// The order of the roundings is that of `transformers`: the product in f64, then everything
    /// in f32.
    pub(super) fn value_tables(&self) -> [[f32; 256]; CHANNELS] {
        std::array::from_fn(|channel| {
            std::array::from_fn(|color| {
                let value = (color as f64 * self.rescale_factor.unwrap_or(1.0)) as f32;
                match self.normalization {
                    Some(Normalization { mean, std }) => {
                        (value - mean[channel] as f32) / std[channel] as f32
                    }
                    None => value,
                }
            })
        })
    }
}

/// Where every output pixel comes from.
struct Plan {
    resize: Resize,
    output: ImageSize,
    /// First row and column of the output that is not black.
    top: usize,
    left: usize,
}

/// The middle `output_len` pixels of a resize, or all where it has fewer.
fn plan_axis(picture_len: usize, canvas_len: usize, target_len: usize, output_len: usize) -> Axis {
    let picture_start = (canvas_len - picture_len) / 2;
    let kept_len = output_len.min(target_len);
    let kept_start = (target_len - kept_len) / 2;
    Axis {
        canvas_len,
        picture: picture_start..picture_start + picture_len,
        target_len,
        kept: kept_start..kept_start + kept_len,
    }
}

/// A crop larger than the picture rounds its offset up, not down as the crop itself does.
fn offset_of_kept(axis: &Axis, output_len: usize) -> usize {
    (output_len - axis.kept.len()).div_ceil(2)
}

/// `edge`, when a picture may have a side of this length.
pub(super) fn checked_edge(field: &str, edge: usize) -> Result<usize, ConfigError> {
    if (1..=MAX_EDGE).contains(&edge) {
        return Ok(edge);
    }
    Err(ConfigError::OutOfRange {
        field: field.to_string(),
        found: edge.to_string(),
        expected: format!("1 to {MAX_EDGE}"),
    })
}

#[cfg(test)]
mod tests;
