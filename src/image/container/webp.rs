//! WebP: the picture, or the first frame of an animation.
//!
//! An extended WebP states its size twice: for the canvas, which the limits are checked against,
//! and in the header of each bitstream. The decoder compares the two only after it has decoded the
//! bitstream; they are compared here.

use std::borrow::Cow;

use super::{Container, ENDS_EARLY, Margin, Refusal, orientation, take, take_array, vp8l};
use crate::image::orientation::Orientation;
use crate::image::{ImageLimits, ImageSize};

/// Flags of an extended file.
const ANIMATION: u8 = 0x02;
const XMP: u8 = 0x04;
const EXIF: u8 = 0x08;
const ALPHA: u8 = 0x10;
/// The flag of a frame that is not blended with what is below it.
const REPLACES: u8 = 0x02;

/// Bytes that the decoder takes for each pixel, the picture in RGB included.
const LOSSY_BYTES: f64 = 4.5;
const LOSSLESS_BYTES: f64 = 9.0;
const LOSSY_WITH_ALPHA_BYTES: f64 = 11.0;

/// Walks through the chunks.
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Container<'a>, Refusal> {
    let mut rest = bytes;
    take(&mut rest, b"RIFF".len())?;
    let claimed_bytes = u32::from_le_bytes(take_array(&mut rest)?) as usize;
    let is_cut = claimed_bytes > rest.len();
    take(&mut rest, b"WEBP".len())?;
    let first = Chunk::take(&mut rest).ok_or(ENDS_EARLY)?;
    if first.name == b"VP8X" {
        let has_notes = first
            .body
            .first()
            .is_some_and(|flags| flags & (EXIF | XMP) != 0);
        // The note that says which way is up may be what was cut off.
        if is_cut && has_notes {
            return Err(ENDS_EARLY.into());
        }
        return Extended::walk(first, rest, limits);
    }
    let picture = Picture::of(None, Some(first))?;
    picture.check(picture.size, limits)?;
    Ok(Container {
        size: picture.size,
        orientation: Orientation::UPRIGHT,
        file: Cow::Owned(riff(&[picture.chunks()])),
        margin: None,
    })
}

#[derive(Clone, Copy)]
struct Chunk<'a> {
    name: &'a [u8],
    body: &'a [u8],
    /// Whether the file has all that the chunk claims.
    is_whole: bool,
}

impl<'a> Chunk<'a> {
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let (header, after) = rest.split_at_checked(8)?;
        let (name, length) = header.split_at(4);
        let length = u32::from_le_bytes(length.try_into().ok()?) as usize;
        let body = &after[..length.min(after.len())];
        // Chunks start at even positions.
        *rest = after
            .get(length.saturating_add(length % 2)..)
            .unwrap_or_default();
        Some(Self {
            name,
            body,
            is_whole: body.len() == length,
        })
    }

    /// The first chunk of a name.
    fn find(mut chunks: &'a [u8], names: &[&[u8; 4]]) -> Option<Self> {
        std::iter::from_fn(|| Chunk::take(&mut chunks))
            .find(|chunk| names.iter().any(|name| chunk.name == name.as_slice()))
    }
}

struct Extended<'a> {
    flags: u8,
    canvas: ImageSize,
    header: &'a [u8],
    chunks: &'a [u8],
}

impl<'a> Extended<'a> {
    fn walk(
        first: Chunk<'a>,
        chunks: &'a [u8],
        limits: &ImageLimits,
    ) -> Result<Container<'a>, Refusal> {
        let mut sides = first.body;
        let header = take(&mut sides, 10)?;
        let side = |at: usize| {
            let bytes = [header[at], header[at + 1], header[at + 2], 0];
            u32::from_le_bytes(bytes) as usize + 1
        };
        let extended = Self {
            flags: header[0],
            canvas: ImageSize::new(side(7), side(4)),
            header,
            chunks,
        };
        limits.check_size(extended.canvas)?;
        let (file, margin) = match extended.has(ANIMATION) {
            true => extended.first_frame(limits)?,
            false => (extended.picture(limits)?, None),
        };
        let note = |flag, name| {
            let chunk = extended.has(flag).then(|| Chunk::find(chunks, &[name]));
            chunk.flatten().map(|chunk| chunk.body)
        };
        Ok(Container {
            size: extended.canvas,
            orientation: orientation(note(EXIF, b"EXIF"), note(XMP, b"XMP ")),
            file: Cow::Owned(file),
            margin,
        })
    }

    fn has(&self, flag: u8) -> bool {
        self.flags & flag != 0
    }

    fn picture(&self, limits: &ImageLimits) -> Result<Vec<u8>, Refusal> {
        let picture = Picture::find(self.chunks, self.has(ALPHA))?;
        picture.check(self.canvas, limits)?;
        Ok(riff(&[self.header_chunk(0, &picture), picture.chunks()]))
    }

    /// A file of the first frame, and what shows around it.
    fn first_frame(&self, limits: &ImageLimits) -> Result<(Vec<u8>, Option<Margin>), Refusal> {
        // Pixels of the canvas and of the frame, and the picture made of them.
        limits.check_decode(self.canvas, LOSSLESS_BYTES)?;
        let frame = Chunk::find(self.chunks, &[b"ANMF"]).ok_or(ENDS_EARLY)?;
        let mut rest = frame.body;
        let place = take(&mut rest, 16)?;
        let number = |at: usize| {
            let bytes = [place[at], place[at + 1], place[at + 2], 0];
            u32::from_le_bytes(bytes) as usize
        };
        let size = ImageSize::new(number(9) + 1, number(6) + 1);
        let [left, top] = [2 * number(0), 2 * number(3)];
        let [right, bottom] = [left + size.width, top + size.height];
        if right > self.canvas.width || bottom > self.canvas.height {
            return Err(off_canvas(ImageSize::new(bottom, right), self.canvas));
        }
        let picture = Picture::find(rest, true)?;
        picture.check(size, limits)?;
        let control = Chunk::find(self.chunks, &[b"ANIM"]).map_or(&[][..], |chunk| chunk.body);
        let control = control.get(..6).unwrap_or(&[0; 6]);
        // There is nothing below the first frame to blend it with.
        let mut place = place.to_vec();
        place[15] |= REPLACES;
        let file = riff(&[
            self.header_chunk(ANIMATION, &picture),
            chunk(b"ANIM", &[control]),
            chunk(b"ANMF", &[&place, &picture.chunks()]),
        ]);
        // Nothing is transparent unless the file says so; then black is what nothing is.
        let margin = Margin {
            colour: if self.has(ALPHA) { [255; 3] } else { [0; 3] },
            rows: top..bottom,
            columns: left..right,
        };
        Ok((file, Some(margin)))
    }

    /// The header of a file that has one picture and says so.
    fn header_chunk(&self, flags: u8, picture: &Picture<'_>) -> Vec<u8> {
        let has_alpha = self.has(ALPHA) && (picture.alpha.is_some() || picture.is_lossless());
        let flags = flags | if has_alpha { ALPHA } else { 0 };
        chunk(b"VP8X", &[&[flags], &self.header[1..]])
    }
}

/// A bitstream, and the opacity that a lossy one cannot hold.
struct Picture<'a> {
    alpha: Option<Chunk<'a>>,
    bitstream: Chunk<'a>,
    size: ImageSize,
}

impl<'a> Picture<'a> {
    fn find(chunks: &'a [u8], has_alpha: bool) -> Result<Self, Refusal> {
        let alpha = Chunk::find(chunks, &[b"ALPH"]).filter(|_| has_alpha);
        Self::of(alpha, Chunk::find(chunks, &[b"VP8 ", b"VP8L"]))
    }

    fn of(alpha: Option<Chunk<'a>>, bitstream: Option<Chunk<'a>>) -> Result<Self, Refusal> {
        let bitstream = bitstream.ok_or("no picture in it")?;
        let alpha = alpha.filter(|_| bitstream.name == b"VP8 ");
        let is_whole = bitstream.is_whole && alpha.is_none_or(|alpha| alpha.is_whole);
        Ok(Self {
            alpha,
            bitstream,
            size: bitstream_size(bitstream)?,
        })
        .and_then(|picture| {
            if is_whole {
                Ok(picture)
            } else {
                Err(ENDS_EARLY.into())
            }
        })
    }

    fn is_lossless(&self) -> bool {
        self.bitstream.name == b"VP8L"
    }

    /// Checks the picture, which is to have this size.
    fn check(&self, size: ImageSize, limits: &ImageLimits) -> Result<(), Refusal> {
        if self.size != size {
            return Err(off_canvas(self.size, size));
        }
        let bytes_per_pixel = match (self.is_lossless(), self.alpha) {
            (true, _) => LOSSLESS_BYTES,
            (false, Some(_)) => LOSSY_WITH_ALPHA_BYTES,
            (false, None) => LOSSY_BYTES,
        };
        limits.check_decode(size, bytes_per_pixel)?;
        if self.is_lossless() {
            return vp8l::check(&self.bitstream.body[vp8l::HEADER_BYTES..], size);
        }
        match self.alpha.and_then(|alpha| alpha.body.split_first()) {
            Some((kind, packed)) if kind & 3 == 1 => vp8l::check(packed, size),
            _ => Ok(()),
        }
    }

    fn chunks(&self) -> Vec<u8> {
        let alpha = self.alpha.map(|alpha| chunk(b"ALPH", &[alpha.body]));
        let name = self.bitstream.name.try_into().unwrap_or(b"VP8 ");
        [
            alpha.unwrap_or_default(),
            chunk(name, &[self.bitstream.body]),
        ]
        .concat()
    }
}

fn off_canvas(found: ImageSize, canvas: ImageSize) -> Refusal {
    let ImageSize { height, width } = found;
    let ImageSize {
        height: canvas_height,
        width: canvas_width,
    } = canvas;
    format!("a bitstream of {width}x{height} on a canvas of {canvas_width}x{canvas_height}").into()
}

/// The size that the header of a bitstream states.
fn bitstream_size(chunk: Chunk<'_>) -> Result<ImageSize, Refusal> {
    const FOURTEEN_BITS: u32 = 0x3fff;
    let mut rest = chunk.body;
    let (height, width) = match chunk.name {
        // Three bytes of frame tag, three of start code, then the sides with two bits of scaling.
        b"VP8 " => {
            take(&mut rest, 6)?;
            let sides = u32::from_le_bytes(take_array(&mut rest)?);
            ((sides >> 16) & FOURTEEN_BITS, sides & FOURTEEN_BITS)
        }
        // One signature byte, then both sides less one.
        b"VP8L" => {
            take(&mut rest, 1)?;
            let sides = u32::from_le_bytes(take_array(&mut rest)?);
            (
                ((sides >> 14) & FOURTEEN_BITS) + 1,
                (sides & FOURTEEN_BITS) + 1,
            )
        }
        other => {
            return Err(format!("a chunk {} in place of a picture", other.escape_ascii()).into());
        }
    };
    Ok(ImageSize::new(height as usize, width as usize))
}

fn riff(chunks: &[Vec<u8>]) -> Vec<u8> {
    chunk(b"RIFF", &[b"WEBP", &chunks.concat()])
}

fn chunk(name: &[u8; 4], parts: &[&[u8]]) -> Vec<u8> {
    let length: usize = parts.iter().map(|part| part.len()).sum();
    let padding: &[u8] = if length.is_multiple_of(2) { &[] } else { &[0] };
    [
        &name[..],
        &(length as u32).to_le_bytes(),
        &parts.concat(),
        padding,
    ]
    .concat()
}
