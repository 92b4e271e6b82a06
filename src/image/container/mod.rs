//! A walk through the headers of a picture file before its decoder sees it.
//!
//! A decoder gets a file put together anew from the parts that make the picture. What notes,
//! profiles, thumbnails and further frames could do to it, they cannot do; what a decoder leaves
//! unbounded is counted here; and what makes one panic is set right or refused here, because a
//! caught panic would still be printed by the application's hook.
//!
//! Whether a picture is whole is decided by its pixels. An end mark, a checksum or a trailing note
//! that is missing costs nothing; pixels that are missing are an error.

mod bmp;
mod exif;
mod gif;
mod jpeg;
mod jpeg_scan;
mod png;
mod vp8l;
mod webp;
mod xmp;

use std::borrow::Cow;
use std::ops::Range;

use ::image::ImageFormat;

use super::format::Format;
use super::orientation::Orientation;
use super::{ImageLimits, ImageSize};
use crate::error::ImageError;

/// A picture file that was walked and found bounded.
pub(crate) struct Container<'a> {
    /// Rows and columns as they are stored, within the limits.
    pub(crate) size: ImageSize,
    pub(crate) orientation: Orientation,
    /// The file that the decoder gets.
    pub(crate) file: Cow<'a, [u8]>,
    /// What shows around the pixels that the file has, where that is not white.
    pub(crate) margin: Option<Margin>,
}

/// What shows of a picture around the frame that is its only one with pixels.
pub(crate) struct Margin {
    /// Its red, green and blue.
    pub(crate) colour: [u8; 3],
    /// The rows of the frame.
    pub(crate) rows: Range<usize>,
    /// Its columns.
    pub(crate) columns: Range<usize>,
}

impl Margin {
    /// Paints it around the frame, on pixels of `width` columns.
    pub(crate) fn paint(&self, rgb: &mut [u8], width: usize) {
        let (pixels, _) = rgb.as_chunks_mut::<3>();
        for (row, pixels) in pixels.chunks_exact_mut(width).enumerate() {
            if self.rows.contains(&row) {
                pixels[..self.columns.start].fill(self.colour);
                pixels[self.columns.end..].fill(self.colour);
            } else {
                pixels.fill(self.colour);
            }
        }
    }
}

/// Why a file is not walked to its end.
pub(crate) enum Refusal {
    /// It breaks the rules of its format, in a sentence.
    Damaged(String),
    Limit(ImageError),
}

impl From<&str> for Refusal {
    fn from(reason: &str) -> Self {
        Self::Damaged(reason.to_string())
    }
}

impl From<String> for Refusal {
    fn from(reason: String) -> Self {
        Self::Damaged(reason)
    }
}

impl From<ImageError> for Refusal {
    fn from(error: ImageError) -> Self {
        Self::Limit(error)
    }
}

/// Walks through the file `bytes` of a `format`.
pub(crate) fn walk<'a>(
    bytes: &'a [u8],
    format: Format,
    limits: &ImageLimits,
) -> Result<Container<'a>, ImageError> {
    let walked = match format.decoder {
        ImageFormat::Png => png::walk(bytes, limits),
        ImageFormat::Jpeg => jpeg::walk(bytes, limits),
        ImageFormat::WebP => webp::walk(bytes, limits),
        ImageFormat::Gif => gif::walk(bytes, limits),
        ImageFormat::Bmp => bmp::walk(bytes, limits),
        other => Err(format!("{other:?} is not read").into()),
    };
    walked.map_err(|refusal| match refusal {
        Refusal::Damaged(reason) => format.damaged(reason),
        Refusal::Limit(error) => error,
    })
}

const ENDS_EARLY: &str = "the file ends before the picture does";

/// The first `count` bytes of `rest`, which are taken off it.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], Refusal> {
    let (taken, left) = rest.split_at_checked(count).ok_or(ENDS_EARLY)?;
    *rest = left;
    Ok(taken)
}

fn take_array<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], Refusal> {
    let taken = take(rest, N)?;
    Ok(taken.try_into().expect("as many bytes were taken"))
}

/// What a file says about the way up; the note of a camera goes before that of an editor.
fn orientation(exif: Option<&[u8]>, xmp: Option<&[u8]>) -> Orientation {
    let number = exif
        .and_then(exif::orientation)
        .or_else(|| xmp.and_then(xmp::orientation));
    Orientation::from_number(number.unwrap_or(1))
}

#[cfg(test)]
mod tests;
