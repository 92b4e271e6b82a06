//! A picture from a file, from bytes or from pixels: upright, RGB, of a checked size.

use std::any::Any;
use std::fmt;
use std::fs::{self, File};
use std::io::{Cursor, Read};
use std::panic;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use ::image::{ImageDecoder, ImageFormat, ImageReader, Limits};

use super::container::{self, Container};
use super::format::Format;
use super::orientation::Orientation;
use super::pixel_format::PixelLayout;
use super::{ImageLimits, ImageSize, PixelFormat, png_rows};
use crate::error::{Error, ImageError, Result};

/// What a decoder may allocate besides the decoded picture: rows, tables, text and colour profiles.
const DECODER_SCRATCH_BYTES: u64 = 64 << 20;

/// A picture that a request can carry: upright, RGB with 8 bits a channel, of a checked size.
///
/// The format is recognised by content, never by the file's name. The first frame of an animation
/// is taken, and the orientation that a camera noted is applied. Colours are what `transformers`
/// makes of them with Pillow: what is transparent shows white, palettes are looked up, grey is
/// repeated. Of 16 bits the upper 8 are kept, for grey pictures too, which Pillow would clip to
/// white.
///
/// # Examples
///
/// ```no_run
/// use burn_vlm::ImageInput;
///
/// let photo = ImageInput::open("photo.jpg")?;
/// println!("{} x {}", photo.width(), photo.height());
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Clone)]
pub struct ImageInput {
    size: ImageSize,
    // A picture is cloned with each request that shows it.
    pixels: Arc<Pixels>,
}

/// A picture as it was stored, which may be on its side.
struct Pixels {
    stored: Vec<u8>,
    orientation: Orientation,
    /// The same upright, once somebody asked for it.
    upright: OnceLock<Vec<u8>>,
}

impl ImageInput {
    /// Reads the picture in the file `path` within the default limits.
    ///
    /// # Errors
    ///
    /// [`Error::Io`] when the file cannot be read, [`Error::Image`] when it is no regular file or
    /// one of the errors of [`from_bytes`](Self::from_bytes) applies.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with_limits(path, &ImageLimits::default())
    }

    /// Reads the picture in the file `path`.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_with_limits(path: impl AsRef<Path>, limits: &ImageLimits) -> Result<Self> {
        Self::from_bytes_with_limits(&read_file(path.as_ref(), limits)?, limits)
    }

    /// Decodes an encoded picture within the default limits.
    ///
    /// # Errors
    ///
    /// [`Error::Image`] when the bytes are in no format that this crate reads, are damaged, or state
    /// a size over the limits.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self> {
        Self::from_bytes_with_limits(bytes, &ImageLimits::default())
    }

    /// Decodes an encoded picture.
    ///
    /// # Errors
    ///
    /// As [`from_bytes`](Self::from_bytes).
    pub fn from_bytes_with_limits(bytes: &[u8], limits: &ImageLimits) -> Result<Self> {
        limits.check_bytes(bytes.len() as u64)?;
        let format = Format::of(bytes)?;
        // Decoders of foreign bytes do have bugs. A panic in one costs the picture, not the process.
        let decoded = panic::catch_unwind(|| decode(bytes, format, limits))
            .unwrap_or_else(|payload| Err(format.damaged(panic_message(payload.as_ref()))))?;
        Ok(decoded)
    }

    /// Takes RGB pixels, row by row, within the default limits.
    ///
    /// # Shapes
    ///
    /// * `rgb`: `[height, width, 3]`
    ///
    /// # Errors
    ///
    /// As [`from_pixels`](Self::from_pixels).
    ///
    /// # Examples
    ///
    /// ```
    /// use burn_vlm::{ImageInput, ImageSize};
    ///
    /// let grey = ImageInput::from_rgb8(ImageSize::new(2, 3), vec![128; 2 * 3 * 3])?;
    /// assert_eq!((grey.height(), grey.width()), (2, 3));
    /// # Ok::<(), burn_vlm::Error>(())
    /// ```
    pub fn from_rgb8(size: ImageSize, rgb: Vec<u8>) -> Result<Self> {
        Self::from_pixels(PixelFormat::Rgb8, size, rgb)
    }

    /// Takes pixels, row by row, within the default limits.
    ///
    /// # Shapes
    ///
    /// * `pixels`: `[height, width, channels]`
    ///
    /// # Errors
    ///
    /// [`Error::Image`] when `pixels` has another length than `size` and `format` ask for, or `size`
    /// is zero or over the limits.
    pub fn from_pixels(format: PixelFormat, size: ImageSize, pixels: Vec<u8>) -> Result<Self> {
        Self::from_pixels_with_limits(format, size, pixels, &ImageLimits::default())
    }

    /// Takes pixels, row by row.
    ///
    /// # Errors
    ///
    /// As [`from_pixels`](Self::from_pixels).
    pub fn from_pixels_with_limits(
        format: PixelFormat,
        size: ImageSize,
        pixels: Vec<u8>,
        limits: &ImageLimits,
    ) -> Result<Self> {
        limits.check_size(size)?;
        let ImageSize { height, width } = size;
        let layout = format.layout();
        let expected_bytes = height.saturating_mul(width).saturating_mul(layout.channels);
        let found_bytes = pixels.len();
        if expected_bytes != found_bytes {
            return Err(ImageError::PixelBuffer {
                height,
                width,
                expected_bytes,
                found_bytes,
            }
            .into());
        }
        let rgb = layout.into_rgb(pixels);
        Ok(Self::stored_as(size, rgb, Orientation::UPRIGHT))
    }

    /// A picture of which `size` rows and columns are stored in `rgb`.
    fn stored_as(size: ImageSize, rgb: Vec<u8>, orientation: Orientation) -> Self {
        Self {
            size: orientation.turn(size),
            pixels: Arc::new(Pixels {
                stored: rgb,
                orientation,
                upright: OnceLock::new(),
            }),
        }
    }

    /// A picture whose stored pixels are turned as a number of EXIF says.
    #[cfg(test)]
    pub(super) fn stored(size: ImageSize, rgb: Vec<u8>, number: u8) -> Self {
        Self::stored_as(size, rgb, Orientation::from_number(number))
    }

    /// Number of rows.
    pub fn height(&self) -> usize {
        self.size.height
    }

    /// Number of columns.
    pub fn width(&self) -> usize {
        self.size.width
    }

    /// Height and width.
    pub fn size(&self) -> ImageSize {
        self.size
    }

    /// The pixels, row by row.
    ///
    /// A photo that its camera stored on its side is turned here, which takes its memory again.
    ///
    /// # Shapes
    ///
    /// * result: `[height, width, 3]`
    pub fn rgb(&self) -> &[u8] {
        let Pixels {
            stored,
            orientation,
            upright,
        } = &*self.pixels;
        if *orientation == Orientation::UPRIGHT {
            return stored;
        }
        upright.get_or_init(|| orientation.upright(stored, orientation.turn(self.size)))
    }

    /// The pixels as they are stored, and how they become upright.
    pub(super) fn stored_rgb(&self) -> (&[u8], Orientation) {
        (&self.pixels.stored, self.pixels.orientation)
    }
}

impl PartialEq for ImageInput {
    fn eq(&self, other: &Self) -> bool {
        self.size == other.size && self.rgb() == other.rgb()
    }
}

impl Eq for ImageInput {}

impl fmt::Debug for ImageInput {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("ImageInput")
            .field("size", &self.size)
            .finish_non_exhaustive()
    }
}

fn panic_message(payload: &(dyn Any + Send)) -> String {
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    format!("the decoder panicked: {}", text.unwrap_or("no message"))
}

fn read_file(path: &Path, limits: &ImageLimits) -> Result<Vec<u8>> {
    // Looked at before it is opened: opening a pipe would wait for its writer.
    let metadata = fs::metadata(path).map_err(Error::io(path))?;
    if !metadata.is_file() {
        let found = if metadata.is_dir() {
            "a folder"
        } else {
            "a device, pipe or socket"
        };
        return Err(ImageError::NotAFile {
            path: path.to_path_buf(),
            found,
        }
        .into());
    }
    limits.check_bytes(metadata.len())?;
    let mut bytes = Vec::new();
    // The file may grow while it is read.
    let mut file = File::open(path)
        .map_err(Error::io(path))?
        .take(limits.max_bytes().saturating_add(1));
    file.read_to_end(&mut bytes).map_err(Error::io(path))?;
    Ok(bytes)
}

fn decode(bytes: &[u8], format: Format, limits: &ImageLimits) -> Result<ImageInput, ImageError> {
    let Container {
        size,
        orientation,
        file,
        margin,
    } = container::walk(bytes, format, limits)?;
    let mut rgb = if format.decoder == ImageFormat::Png {
        png_rows::decode(&file, size, DECODER_SCRATCH_BYTES as usize)
            .map_err(|error| format.damaged(error))?
    } else {
        decode_whole(&file, format, size)?
    };
    if let Some(margin) = margin {
        margin.paint(&mut rgb, size.width);
    }
    Ok(ImageInput::stored_as(size, rgb, orientation))
}

/// The pixels of a file that is decoded at once.
fn decode_whole(file: &[u8], format: Format, size: ImageSize) -> Result<Vec<u8>, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(file), format.decoder);
    reader.limits(allocation_limit(DECODER_SCRATCH_BYTES));
    let mut decoder = reader.into_decoder().map_err(|error| format.error(error))?;
    let (width, height) = decoder.dimensions();
    if ImageSize::new(height as usize, width as usize) != size {
        return Err(format.damaged(format!(
            "its headers disagree: {width}x{height} and {size:?}"
        )));
    }
    let pixel_bytes = decoder.total_bytes();
    // Frames and planes are reckoned with in `ImageLimits::check_decode`.
    let limit = pixel_bytes
        .saturating_mul(4)
        .saturating_add(DECODER_SCRATCH_BYTES);
    decoder
        .set_limits(allocation_limit(limit))
        .map_err(|error| format.error(error))?;
    let layout = PixelLayout::of(&decoder);
    let mut pixels = vec![0; pixel_bytes as usize];
    decoder
        .read_image(&mut pixels)
        .map_err(|error| format.error(error))?;
    Ok(layout.into_rgb(pixels))
}

fn allocation_limit(max_bytes: u64) -> Limits {
    let mut limits = Limits::no_limits();
    limits.max_alloc = Some(max_bytes);
    limits
}

#[cfg(test)]
mod tests;
