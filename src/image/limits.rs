use super::ImageSize;
use crate::error::ImageError;

/// How large a picture may be, checked before anything is decoded.
///
/// The defaults hold a photo of any camera, those of 200 megapixels and panoramas among them:
/// 64 MiB, 210 million pixels, 65,535 pixels on a side. They are more than Pillow's, which refuses
/// what has more than 179 million pixels.
///
/// Decoding takes at most 4 bytes for each pixel of the limit, which is 840 MB by default, and
/// besides twice the bytes of the file and 64 MiB. A picture itself takes 3 bytes a pixel. Formats
/// whose decoders take more hold fewer pixels: a progressive JPEG 93 to 140 million, an animated
/// WebP or a lossless one 93 million, a GIF 93 million.
///
/// # Examples
///
/// ```
/// use burn_vlm::{ImageInput, ImageLimits, ImageSize, PixelFormat};
///
/// let limits = ImageLimits::default().with_max_pixels(10);
/// let size = ImageSize::new(3, 4);
/// let refused = ImageInput::from_pixels_with_limits(PixelFormat::Grey8, size, vec![0; 12], &limits);
/// assert_eq!(
///     refused.unwrap_err().to_string(),
///     "the picture is 4x3, the limit is 10 pixels in all",
/// );
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ImageLimits {
    max_bytes: u64,
    max_pixels: u64,
    max_side: usize,
}

impl Default for ImageLimits {
    fn default() -> Self {
        Self {
            max_bytes: 64 << 20,
            max_pixels: 210_000_000,
            max_side: 65_535,
        }
    }
}

impl ImageLimits {
    /// The largest encoded picture, in bytes.
    pub fn with_max_bytes(mut self, max_bytes: u64) -> Self {
        self.max_bytes = max_bytes;
        self
    }

    /// The largest product of height and width.
    pub fn with_max_pixels(mut self, max_pixels: u64) -> Self {
        self.max_pixels = max_pixels;
        self
    }

    /// The longest height or width.
    pub fn with_max_side(mut self, max_side: usize) -> Self {
        self.max_side = max_side;
        self
    }

    pub(crate) fn max_bytes(&self) -> u64 {
        self.max_bytes
    }

    pub(crate) fn check_bytes(&self, found_bytes: u64) -> Result<(), ImageError> {
        if found_bytes > self.max_bytes {
            return Err(ImageError::TooManyBytes {
                found_bytes,
                limit_bytes: self.max_bytes,
            });
        }
        Ok(())
    }

    /// Checks a size whose decoder takes `bytes_per_pixel`, the picture in RGB included.
    pub(crate) fn check_decode(
        &self,
        size: ImageSize,
        bytes_per_pixel: f64,
    ) -> Result<(), ImageError> {
        const BYTES_PER_PIXEL: f64 = 4.0;
        let share = (BYTES_PER_PIXEL / bytes_per_pixel).min(1.0);
        let max_pixels = (self.max_pixels as f64 * share) as u64;
        self.with_max_pixels(max_pixels).check_size(size)
    }

    pub(crate) fn check_size(&self, size: ImageSize) -> Result<(), ImageError> {
        let ImageSize { height, width } = size;
        if height == 0 || width == 0 {
            return Err(ImageError::NoPixels { height, width });
        }
        if size.longest_edge() > self.max_side {
            return Err(ImageError::SideTooLong {
                height,
                width,
                limit: self.max_side,
            });
        }
        if (height as u64).saturating_mul(width as u64) > self.max_pixels {
            return Err(ImageError::TooManyPixels {
                height,
                width,
                limit_pixels: self.max_pixels,
            });
        }
        Ok(())
    }
}
