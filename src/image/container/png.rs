//! PNG: the header, the palette, the transparency and the image data; no other chunk.
//!
//! Checksums of chunks are not compared, as Pillow does not compare those of image data: the data
//! has a checksum of its own, which the decoder compares.

use std::borrow::Cow;

use super::{Container, ENDS_EARLY, Refusal, orientation, take, take_array};
use crate::image::{ImageLimits, ImageSize};

const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";
/// How far a compressed note is unpacked; Pillow's limit.
const MAX_NOTE_BYTES: usize = 1 << 20;
const MAX_PALETTE_BYTES: usize = 256 * 3;

const INDEXED: u8 = 3;

/// Walks through the chunks.
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Container<'a>, Refusal> {
    let mut rest = bytes;
    take(&mut rest, SIGNATURE.len())?;
    let header = Chunk::take(&mut rest).ok_or(ENDS_EARLY)?;
    if header.name != b"IHDR" || header.body.len() != 13 {
        return Err("the first chunk is no header".into());
    }
    let mut parts = Parts::new(header.body);
    let size = parts.size()?;
    // Rows are turned into RGB one by one.
    limits.check_decode(size, 3.0)?;
    while let Some(chunk) = Chunk::take(&mut rest) {
        if chunk.name == b"IEND" || !parts.add(&chunk) {
            break;
        }
    }
    if parts.data.is_empty() {
        return Err(ENDS_EARLY.into());
    }
    let exif = parts.exif.take().or_else(|| parts.profile.take());
    let orientation = orientation(exif.as_deref(), parts.xmp.as_deref());
    let file = Cow::Owned(parts.file()?);
    Ok(Container {
        size,
        orientation,
        file,
        margin: None,
    })
}

struct Chunk<'a> {
    name: &'a [u8],
    /// All of it that the file has.
    body: &'a [u8],
}

impl<'a> Chunk<'a> {
    /// The next chunk; none where the file ends, or goes on with something else.
    fn take(rest: &mut &'a [u8]) -> Option<Self> {
        let (header, after) = rest.split_at_checked(8)?;
        let (length, name) = header.split_first_chunk()?;
        let is_name = |byte: &u8| byte.is_ascii_alphanumeric() || *byte == b'_';
        if !name.iter().all(is_name) {
            return None;
        }
        let length = u32::from_be_bytes(*length) as usize;
        let body = &after[..length.min(after.len())];
        const CHECKSUM_BYTES: usize = 4;
        *rest = after
            .get(length.saturating_add(CHECKSUM_BYTES)..)
            .unwrap_or_default();
        Some(Self { name, body })
    }
}

/// What of a file is used.
struct Parts<'a> {
    header: &'a [u8],
    palette: &'a [u8],
    transparency: Option<&'a [u8]>,
    data: Vec<&'a [u8]>,
    /// Whether a chunk came behind the data.
    has_all_data: bool,
    is_animated: bool,
    exif: Option<Cow<'a, [u8]>>,
    /// What ImageMagick makes of an EXIF block.
    profile: Option<Cow<'a, [u8]>>,
    xmp: Option<Cow<'a, [u8]>>,
}

impl<'a> Parts<'a> {
    fn new(header: &'a [u8]) -> Self {
        Self {
            header,
            palette: &[],
            transparency: None,
            data: Vec::new(),
            has_all_data: false,
            is_animated: false,
            exif: None,
            profile: None,
            xmp: None,
        }
    }

    fn size(&self) -> Result<ImageSize, Refusal> {
        let mut sides = self.header;
        let [width, height] = [take_array(&mut sides)?, take_array(&mut sides)?];
        let [height, width] = [height, width].map(|side| u32::from_be_bytes(side) as usize);
        Ok(ImageSize::new(height, width))
    }

    fn color_type(&self) -> u8 {
        self.header[9]
    }

    /// Takes a chunk; whether those that follow can matter.
    fn add(&mut self, chunk: &Chunk<'a>) -> bool {
        self.has_all_data |= !self.data.is_empty() && chunk.name != b"IDAT";
        match chunk.name {
            b"IDAT" if !self.has_all_data => self.data.push(chunk.body),
            b"PLTE" if self.data.is_empty() => self.palette = chunk.body,
            b"tRNS" if self.data.is_empty() => self.transparency = Some(chunk.body),
            b"acTL" => self.is_animated = true,
            // The next frame of an animation.
            b"fcTL" if self.is_animated && self.has_all_data => return false,
            b"eXIf" => self.exif = Some(chunk.body.into()),
            b"tEXt" | b"zTXt" | b"iTXt" => self.note(chunk),
            _ => {}
        }
        true
    }

    /// Keeps a text that Pillow looks into for the orientation; the last one of a name counts.
    fn note(&mut self, chunk: &Chunk<'a>) {
        let Some((keyword, text)) = split_at_zero(chunk.body) else {
            return;
        };
        let place = match keyword {
            b"exif" if chunk.name == b"tEXt" => &mut self.exif,
            b"Raw profile type exif" => &mut self.profile,
            b"XML:com.adobe.xmp" => &mut self.xmp,
            _ => return,
        };
        let Some(text) = text_of(chunk.name, text) else {
            return;
        };
        *place = match keyword {
            b"Raw profile type exif" => from_hexadecimal(&text).map(Cow::Owned),
            _ => Some(text),
        };
    }

    /// A file of nothing but the picture.
    fn file(&self) -> Result<Vec<u8>, Refusal> {
        let data_bytes: usize = self.data.iter().map(|data| data.len() + 12).sum();
        let mut file = Vec::with_capacity(data_bytes + 2048);
        file.extend_from_slice(SIGNATURE);
        push_chunk(&mut file, b"IHDR", self.header);
        if self.color_type() == INDEXED {
            // A last entry that is cut short is none.
            let (entries, _) = self.palette.as_chunks::<3>();
            let entries = entries.as_flattened();
            if entries.len() > MAX_PALETTE_BYTES {
                return Err("a palette of more than 256 colours".into());
            }
            push_chunk(&mut file, b"PLTE", entries);
        }
        if let Some(transparency) = self.transparency {
            let wanted = match self.color_type() {
                0 => transparency.get(..2).ok_or(SHORT_TRANSPARENCY)?,
                2 => transparency.get(..6).ok_or(SHORT_TRANSPARENCY)?,
                INDEXED => &transparency[..transparency.len().min(self.palette.len() / 3)],
                _ => &[],
            };
            if !wanted.is_empty() {
                push_chunk(&mut file, b"tRNS", wanted);
            }
        }
        for data in &self.data {
            push_chunk(&mut file, b"IDAT", data);
        }
        push_chunk(&mut file, b"IEND", &[]);
        Ok(file)
    }
}

const SHORT_TRANSPARENCY: &str = "a transparent colour that is cut short";

/// Appends a chunk whose checksum nobody compares.
fn push_chunk(file: &mut Vec<u8>, name: &[u8; 4], body: &[u8]) {
    file.extend((body.len() as u32).to_be_bytes());
    file.extend_from_slice(name);
    file.extend_from_slice(body);
    file.extend([0; 4]);
}

fn split_at_zero(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let at = bytes.iter().position(|&byte| byte == 0)?;
    Some((&bytes[..at], &bytes[at + 1..]))
}

/// The text behind the keyword of a chunk.
fn text_of<'a>(name: &[u8], rest: &'a [u8]) -> Option<Cow<'a, [u8]>> {
    match name {
        b"zTXt" => match rest.split_first() {
            Some((0, packed)) => inflate(packed),
            _ => None,
        },
        b"iTXt" => {
            let (&[is_packed, method], rest) = rest.split_first_chunk()?;
            let (_language, rest) = split_at_zero(rest)?;
            let (_keyword, text) = split_at_zero(rest)?;
            match (is_packed, method) {
                (0, _) => Some(text.into()),
                (_, 0) => inflate(text),
                _ => None,
            }
        }
        _ => Some(rest.into()),
    }
}

fn inflate(packed: &[u8]) -> Option<Cow<'_, [u8]>> {
    miniz_oxide::inflate::decompress_to_vec_zlib_with_limit(packed, MAX_NOTE_BYTES)
        .ok()
        .map(Cow::Owned)
}

/// The bytes of a raw profile: a name and a length, each on a line, then digits in lines.
fn from_hexadecimal(text: &[u8]) -> Option<Vec<u8>> {
    let lines = text.split(|&byte| byte == b'\n').skip(3);
    let digits: Vec<u8> = lines
        .flatten()
        .filter(|byte| !byte.is_ascii_whitespace())
        .map(|&byte| char::from(byte).to_digit(16).map(|digit| digit as u8))
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    rest.is_empty()
        .then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
}
