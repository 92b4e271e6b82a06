use std::path::PathBuf;

use super::visible::visible_line;

/// A picture that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImageError {
    /// The path leads to something that is no regular file.
    #[error(
        "{} is {found}, expected a file that holds a picture",
        visible_line(path)
    )]
    NotAFile {
        /// The path that was given.
        path: PathBuf,
        /// What is there instead.
        found: &'static str,
    },
    /// The bytes are no picture in a format this crate reads.
    #[error("not a PNG, JPEG, WebP, GIF or BMP picture: {}", visible_line(found))]
    UnknownFormat {
        /// What the first bytes look like.
        found: String,
    },
    /// The file is in a known format and breaks its rules, most often because it was cut short.
    #[error("damaged {format} picture: {}", visible_line(reason))]
    Damaged {
        /// Name of the format.
        format: &'static str,
        /// Where and how the decoder stopped.
        reason: String,
    },
    /// The file is sound, but uses a corner of its format that the decoder does not know.
    #[error(
        "the {format} picture uses a feature that is not supported: {}; save it again",
        visible_line(reason)
    )]
    UnsupportedFeature {
        /// Name of the format.
        format: &'static str,
        /// The feature, in the decoder's words.
        reason: String,
    },
    /// The encoded picture is larger than the limit.
    #[error("the picture has {found_bytes} bytes, the limit is {limit_bytes}")]
    TooManyBytes {
        /// Bytes of the file or buffer.
        found_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// The picture has more pixels than the limit.
    #[error("the picture is {width}x{height}, the limit is {limit_pixels} pixels in all")]
    TooManyPixels {
        /// Height in pixels, as the file states it.
        height: usize,
        /// Width in pixels, as the file states it.
        width: usize,
        /// The limit.
        limit_pixels: u64,
    },
    /// One side of the picture is longer than the limit.
    #[error("the picture is {width}x{height}, the limit is {limit} pixels on a side")]
    SideTooLong {
        /// Height in pixels, as the file states it.
        height: usize,
        /// Width in pixels, as the file states it.
        width: usize,
        /// The limit.
        limit: usize,
    },
    /// The picture has no pixels.
    #[error("the picture is {width}x{height}: it has no pixels")]
    NoPixels {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
    },
    /// A pixel buffer does not have the length that its size and format ask for.
    #[error("{width}x{height} pixels need {expected_bytes} bytes, the buffer holds {found_bytes}")]
    PixelBuffer {
        /// Height in pixels.
        height: usize,
        /// Width in pixels.
        width: usize,
        /// The length that would fit.
        expected_bytes: usize,
        /// The length of the buffer.
        found_bytes: usize,
    },
    /// The model's preprocessing, which keeps the aspect ratio, would make the picture too large.
    #[error(
        "preprocessing would make the picture {width}x{height}, the limit is {limit} pixels on a \
         side: crop the picture first"
    )]
    OutputTooLarge {
        /// Height after preprocessing.
        height: usize,
        /// Width after preprocessing.
        width: usize,
        /// The limit.
        limit: usize,
    },
}
