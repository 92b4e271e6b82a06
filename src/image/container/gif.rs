//! GIF: the first frame, in the colours that Pillow gives it.

use std::borrow::Cow;

use super::{Container, Margin, Refusal, take, take_array};
use crate::image::orientation::Orientation;
use crate::image::{ImageLimits, ImageSize};

const IMAGE: u8 = b',';
const EXTENSION: u8 = b'!';
const TRAILER: u8 = b';';
const GRAPHIC_CONTROL: u8 = 0xf9;

/// Flags of a screen or a frame.
const HAS_PALETTE: u8 = 0x80;
/// The same of a frame alone.
const IS_INTERLACED: u8 = 0x40;
/// How many colours a table has, beside its flag.
const PALETTE_OF_256: u8 = 7;

/// A table of colours that has one for each index.
type Colours = [[u8; 3]; 256];

/// Walks through the blocks up to the end of the first frame.
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Container<'a>, Refusal> {
    let mut rest = bytes;
    let mut file = take(&mut rest, 13)?.to_vec();
    let shared = take(&mut rest, palette_bytes(file[10]))?;
    // The frame gets a table of its own.
    file[10] &= !HAS_PALETTE;
    let control = walk_to_frame(&mut rest)?;
    file.extend_from_slice(control);
    let frame = take(&mut rest, 9)?;
    let size = grow_screen(&mut file, frame);
    // Colours of four bytes, and the frame besides where it does not fill the screen.
    limits.check_decode(size, 9.0)?;
    let own = take(&mut rest, palette_bytes(frame[8]))?;
    let colours = colours(own, shared);
    file.push(IMAGE);
    file.extend_from_slice(&frame[..8]);
    file.push(frame[8] & IS_INTERLACED | HAS_PALETTE | PALETTE_OF_256);
    file.extend_from_slice(colours.as_flattened());
    file.extend(take_array::<1>(&mut rest)?);
    push_data(&mut file, rest)?;
    file.push(TRAILER);
    let [left, top, width, height] = [0, 2, 4, 6].map(|at| usize::from(side(frame, at)));
    if width == 0 || height == 0 {
        return Err("its frame has no pixels".into());
    }
    if left + width > size.width || top + height > size.height {
        return Err("its frame lies beyond the largest screen".into());
    }
    Ok(Container {
        size,
        orientation: Orientation::UPRIGHT,
        file: Cow::Owned(file),
        // What no frame covers has the index that is transparent, and without one the first.
        margin: (!is_transparent(control)).then_some(Margin {
            colour: colours[0],
            rows: top..top + height,
            columns: left..left + width,
        }),
    })
}

/// Walks up to the first frame; returns the extension that counts for it, empty if there is none.
fn walk_to_frame<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let mut control: &[u8] = &[];
    loop {
        let start = *rest;
        match take_array(rest)? {
            [IMAGE] => return Ok(control),
            [EXTENSION] => {
                let [kind] = take_array(rest)?;
                take_blocks(rest)?;
                let extension = &start[..start.len() - rest.len()];
                // Once one says what is transparent, another that does not takes nothing back.
                if kind == GRAPHIC_CONTROL && (control.is_empty() || is_transparent(extension)) {
                    control = extension;
                }
            }
            [TRAILER] => return Err("no frame before the end".into()),
            // Pillow passes over what is neither.
            [_] => {}
        }
    }
}

/// Whether an extension says what is transparent.
fn is_transparent(control: &[u8]) -> bool {
    // Its mark, its kind, the length of a block; flags.
    matches!(control, [_, _, 4..=u8::MAX, flags, ..] if flags & 1 != 0)
}

/// The colours of a frame: its own, or those that all frames share. A table of nothing but its own
/// indices is none, as Pillow has it; and without any, the index is the brightness.
fn colours(own: &[u8], shared: &[u8]) -> Colours {
    let table = [own, shared].map(|table| table.as_chunks::<3>().0);
    let grey = |index: usize| [index as u8; 3];
    let is_needed = |table: &&[[u8; 3]]| {
        let mut colours = table.iter().enumerate();
        colours.any(|(index, colour)| *colour != grey(index))
    };
    match table.iter().copied().find(is_needed) {
        Some(table) => std::array::from_fn(|index| table.get(index).copied().unwrap_or_default()),
        None => std::array::from_fn(grey),
    }
}

/// Bytes of the table of colours that flags announce.
fn palette_bytes(flags: u8) -> usize {
    if flags & HAS_PALETTE != 0 {
        3 << ((flags & 7) + 1)
    } else {
        0
    }
}

/// A run of blocks, the empty one that ends it included.
fn take_blocks(rest: &mut &[u8]) -> Result<(), Refusal> {
    loop {
        let [length] = take_array(rest)?;
        take(rest, length.into())?;
        if length == 0 {
            return Ok(());
        }
    }
}

/// A number of pixels.
fn side(bytes: &[u8], at: usize) -> u16 {
    u16::from_le_bytes([bytes[at], bytes[at + 1]])
}

/// Enlarges the screen to hold the frame, as Pillow does.
fn grow_screen(file: &mut [u8], frame: &[u8]) -> ImageSize {
    let grown = |file: &[u8], axis: usize| {
        let end = side(frame, axis).saturating_add(side(frame, axis + 4));
        side(file, 6 + axis).max(end)
    };
    let [width, height] = [grown(file, 0), grown(file, 2)];
    file[6..8].copy_from_slice(&width.to_le_bytes());
    file[8..10].copy_from_slice(&height.to_le_bytes());
    ImageSize::new(height.into(), width.into())
}

/// The data of a frame, whose last block and whose end the file may lack.
fn push_data(file: &mut Vec<u8>, mut rest: &[u8]) -> Result<(), Refusal> {
    while let Some((&length, after)) = rest.split_first() {
        let block = &after[..after.len().min(length.into())];
        if block.is_empty() {
            break;
        }
        file.push(block.len() as u8);
        file.extend_from_slice(block);
        rest = &after[block.len()..];
    }
    file.push(0);
    Ok(())
}
