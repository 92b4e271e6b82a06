//! A look through the chunks of a WebP file before its decoder sees them.
//!
//! An extended WebP states its size twice: for the canvas, which the limits were checked against,
//! and in the header of each bitstream. The decoder compares the two only after it has decoded the
//! bitstream, and it allocates metadata by the length that the file claims; both are checked here.

use super::ImageSize;

const RIFF_HEADER_BYTES: usize = 12;
const CHUNK_HEADER_BYTES: usize = 8;
/// Position, size, duration and flags of an animation frame stand before its own chunks.
const FRAME_HEADER_BYTES: usize = 16;
/// What the decoder reads. Anything else it skips, even bytes that follow the picture.
const DECODED_CHUNKS: [&[u8; 4]; 8] = [
    b"ALPH", b"ANIM", b"ANMF", b"EXIF", b"ICCP", b"VP8 ", b"VP8L", b"XMP ",
];

/// Whether every chunk lies inside `bytes` and every bitstream fits the `canvas`.
///
/// A file in the simple layout passes: it has one chunk, whose own header gave the size.
///
/// # Errors
///
/// Says in a sentence which of the two does not hold.
pub(crate) fn check_chunks(bytes: &[u8], canvas: ImageSize) -> Result<(), String> {
    let chunks = bytes.get(RIFF_HEADER_BYTES..).unwrap_or_default();
    if chunks.starts_with(b"VP8X") {
        check_sequence(chunks, canvas, Place::File)
    } else {
        Ok(())
    }
}

/// Where a sequence of chunks lies.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    File,
    Frame,
}

fn check_sequence(mut rest: &[u8], canvas: ImageSize, place: Place) -> Result<(), String> {
    while let Some((header, body)) = rest.split_at_checked(CHUNK_HEADER_BYTES) {
        let name = &header[..4];
        let claimed = u32::from_le_bytes([header[4], header[5], header[6], header[7]]) as usize;
        let Some(chunk) = body.get(..claimed) else {
            return check_overrun(name, claimed, body.len());
        };
        if name == b"ANMF" {
            // Frames hold no frames; one level a recursion would let a file choose the stack.
            if place == Place::Frame {
                return Err("an animation frame inside another".to_string());
            }
            let frame = chunk.get(FRAME_HEADER_BYTES..).unwrap_or_default();
            check_sequence(frame, canvas, Place::Frame)?;
        } else if let Some(ImageSize { height, width }) = bitstream_size(name, chunk)
            && (height > canvas.height || width > canvas.width)
        {
            let ImageSize {
                height: canvas_height,
                width: canvas_width,
            } = canvas;
            return Err(format!(
                "a bitstream of {width}x{height} on a canvas of {canvas_width}x{canvas_height}"
            ));
        }
        // Chunks start at even positions; the padding byte may be missing at the end of the file.
        rest = body.get(claimed.next_multiple_of(2)..).unwrap_or_default();
    }
    Ok(())
}

fn check_overrun(name: &[u8], claimed: usize, left: usize) -> Result<(), String> {
    if DECODED_CHUNKS.iter().any(|known| known.as_slice() == name) {
        let name = name.escape_ascii();
        return Err(format!(
            "chunk {name} claims {claimed} bytes, {left} are left"
        ));
    }
    Ok(())
}

/// The size that a `VP8 ` or `VP8L` chunk states; `None` for all others.
fn bitstream_size(name: &[u8], chunk: &[u8]) -> Option<ImageSize> {
    const FOURTEEN_BITS: u32 = 0x3fff;
    let little_endian = |at: usize| -> Option<u32> {
        Some(u32::from_le_bytes(chunk.get(at..at + 4)?.try_into().ok()?))
    };
    let (height, width) = match name {
        // Three bytes of frame tag, three of start code, then the sides with two bits of scaling.
        b"VP8 " => {
            let sides = little_endian(6)?;
            ((sides >> 16) & FOURTEEN_BITS, sides & FOURTEEN_BITS)
        }
        // One signature byte, then both sides less one.
        b"VP8L" => {
            let sides = little_endian(1)?;
            (
                ((sides >> 14) & FOURTEEN_BITS) + 1,
                (sides & FOURTEEN_BITS) + 1,
            )
        }
        _ => return None,
    };
    Some(ImageSize::new(height as usize, width as usize))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
        let length = u32::try_from(body.len()).unwrap().to_le_bytes();
        let padding = vec![0; body.len() % 2];
        [name.as_slice(), &length, body, &padding].concat()
    }

    fn vp8(width: u16, height: u16) -> Vec<u8> {
        let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
        chunk(
            b"VP8 ",
            &[&[0x10, 0, 0, 0x9d, 1, 0x2a][..], &sides, &[0; 3]].concat(),
        )
    }

    fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
        let extended = chunk(b"VP8X", &[0; 10]);
        [b"RIFF\0\0\0\0WEBP".to_vec(), extended, chunks.concat()].concat()
    }

    #[test]
    fn a_bitstream_as_large_as_its_canvas_passes() {
        let bytes = file(&[vp8(30, 20)]);
        assert_eq!(check_chunks(&bytes, ImageSize::new(20, 30)), Ok(()));
    }

    #[test]
    fn a_bitstream_larger_than_its_canvas_is_refused() {
        let canvas = ImageSize::new(20, 30);
        let lossless = [
            0x2f_u32.to_le_bytes()[..1].to_vec(),
            0x0fff_ffff_u32.to_le_bytes().into(),
        ];
        for oversized in [vp8(31, 20), vp8(30, 21), chunk(b"VP8L", &lossless.concat())] {
            let direct = file(std::slice::from_ref(&oversized));
            assert!(check_chunks(&direct, canvas).is_err());
            let frame = [vec![0; FRAME_HEADER_BYTES], oversized].concat();
            assert!(check_chunks(&file(&[chunk(b"ANMF", &frame)]), canvas).is_err());
        }
    }

    #[test]
    fn frames_inside_frames_are_refused_however_deep() {
        let level = |left: usize| {
            let claim = u32::try_from(left - CHUNK_HEADER_BYTES).unwrap();
            [
                b"ANMF".to_vec(),
                claim.to_le_bytes().to_vec(),
                vec![0; FRAME_HEADER_BYTES],
            ]
            .concat()
        };
        const LEVEL_BYTES: usize = CHUNK_HEADER_BYTES + FRAME_HEADER_BYTES;
        let depth = 1 << 18;
        let nested: Vec<u8> = (0..depth)
            .flat_map(|at| level((depth - at) * LEVEL_BYTES))
            .collect();
        let message = check_chunks(&file(&[nested]), ImageSize::new(20, 30)).unwrap_err();
        assert_eq!(message, "an animation frame inside another");
    }

    #[test]
    fn a_chunk_that_claims_more_than_the_file_is_refused() {
        let mut bytes = file(&[vp8(30, 20), chunk(b"EXIF", b"II*\0")]);
        let claim = bytes.len() - 8;
        bytes[claim..claim + 4].copy_from_slice(&u32::MAX.to_le_bytes());
        let message = check_chunks(&bytes, ImageSize::new(20, 30)).unwrap_err();
        assert_eq!(message, "chunk EXIF claims 4294967295 bytes, 4 are left");
    }

    #[test]
    fn bytes_after_the_picture_are_left_alone() {
        let bytes = [file(&[vp8(30, 20)]), b"appended by someone else".to_vec()].concat();
        assert_eq!(check_chunks(&bytes, ImageSize::new(20, 30)), Ok(()));
    }
}
