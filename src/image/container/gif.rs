//! GIF: the first frame.

use std::borrow::Cow;

use super::{Container, Refusal, take, take_array};
use crate::image::orientation::Orientation;
use crate::image::{ImageLimits, ImageSize};

const IMAGE: u8 = b',';
const EXTENSION: u8 = b'!';
const TRAILER: u8 = b';';
const GRAPHIC_CONTROL: u8 = 0xf9;

/// Walks through the blocks up to the end of the first frame.
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Container<'a>, Refusal> {
    let mut rest = bytes;
    let mut file = take(&mut rest, 13)?.to_vec();
    file.extend_from_slice(take(&mut rest, palette_bytes(file[10]))?);
    let mut control: &[u8] = &[];
    loop {
        match take_array(&mut rest)? {
            [IMAGE] => break,
            [EXTENSION] => {
                let [kind] = take_array(&mut rest)?;
                let blocks = take_blocks(&mut rest)?;
                if kind == GRAPHIC_CONTROL {
                    control = blocks;
                }
            }
            [TRAILER] => return Err("no frame before the end".into()),
            // Pillow passes over what is neither.
            [_] => {}
        }
    }
    if !control.is_empty() {
        file.extend([EXTENSION, GRAPHIC_CONTROL]);
        file.extend_from_slice(control);
    }
    let frame = take(&mut rest, 9)?;
    let size = grow_screen(&mut file, frame);
    // Colours of four bytes, and the frame besides where it does not fill the screen.
    limits.check_decode(size, 9.0)?;
    file.push(IMAGE);
    file.extend_from_slice(frame);
    file.extend_from_slice(take(&mut rest, palette_bytes(frame[8]))?);
    file.extend(take_array::<1>(&mut rest)?);
    push_data(&mut file, rest)?;
    file.push(TRAILER);
    Ok(Container {
        size,
        orientation: Orientation::UPRIGHT,
        file: Cow::Owned(file),
    })
}

/// Bytes of the table of colours that flags announce.
fn palette_bytes(flags: u8) -> usize {
    let has_palette = flags & 0x80 != 0;
    if has_palette {
        3 << ((flags & 7) + 1)
    } else {
        0
    }
}

/// A run of blocks, the empty one that ends it included.
fn take_blocks<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], Refusal> {
    let all = *rest;
    loop {
        let [length] = take_array(rest)?;
        take(rest, length.into())?;
        if length == 0 {
            return Ok(&all[..all.len() - rest.len()]);
        }
    }
}

/// Enlarges the screen to hold the frame, as Pillow does.
fn grow_screen(file: &mut [u8], frame: &[u8]) -> ImageSize {
    let side = |bytes: &[u8], at: usize| u16::from_le_bytes([bytes[at], bytes[at + 1]]);
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
