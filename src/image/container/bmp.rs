//! BMP: one header and rows that end on four bytes.

use std::borrow::Cow;

use super::{Container, ENDS_EARLY, Refusal};
use crate::image::orientation::Orientation;
use crate::image::{ImageLimits, ImageSize};

/// Looks at the header; the last row may lack what only fills it up.
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Container<'a>, Refusal> {
    let header = Header::parse(bytes).ok_or(ENDS_EARLY)?;
    limits.check_decode(header.size, 4.0)?;
    let mut file = Cow::Borrowed(bytes);
    if header.is_packed_by_row {
        let row_bits = header.size.width * header.bits_per_pixel;
        let row_bytes = row_bits.div_ceil(8);
        let filling = row_bytes.next_multiple_of(4) - row_bytes;
        file.to_mut().extend(std::iter::repeat_n(0, filling));
    }
    Ok(Container {
        size: header.size,
        orientation: Orientation::UPRIGHT,
        file,
        margin: None,
    })
}

struct Header {
    size: ImageSize,
    bits_per_pixel: usize,
    /// Not by runs of pixels.
    is_packed_by_row: bool,
}

impl Header {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let short = |at: usize| Some(u16::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        let long = |at: usize| Some(i32::from_le_bytes(*bytes.get(at..)?.first_chunk()?));
        // The oldest header has sides of two bytes.
        if long(14)? == 12 {
            return Some(Self {
                size: ImageSize::new(short(20)?.into(), short(18)?.into()),
                bits_per_pixel: short(24)?.into(),
                is_packed_by_row: true,
            });
        }
        // A negative height counts rows from the top.
        let height = long(22)?.unsigned_abs() as usize;
        let width = usize::try_from(long(18)?).unwrap_or(0);
        Some(Self {
            size: ImageSize::new(height, width),
            bits_per_pixel: short(28)?.into(),
            is_packed_by_row: matches!(long(30)?, 0 | 3),
        })
    }
}
