//! JPEG: the frame, the tables and the scans; none of the application's segments.
//!
//! The decoder is built to show as much of a damaged file as it can, and paints the rest grey. A
//! model would describe the grey, so a file that ends within its picture is refused. One that
//! reaches a mark too early is read as Pillow reads it, grey and all.

use std::borrow::Cow;

use super::jpeg_scan::{Component, Scan, Tables};
use super::{Container, ENDS_EARLY, Refusal, orientation, take, take_array};
use crate::image::{ImageLimits, ImageSize};

const MARKER: u8 = 0xff;
const SOI: u8 = 0xd8;
const EOI: u8 = 0xd9;
const SOS: u8 = 0xda;
const DHT: u8 = 0xc4;
const DRI: u8 = 0xdd;
const APP1: u8 = 0xe1;
const APP14: u8 = 0xee;

/// What sets up a table costs the decoder more than its bytes. Real files have two for each scan.
const MAX_SEGMENTS: usize = 2048;
/// Every scan of a progressive picture goes over all of it.
const MAX_SCAN_PIXELS: u64 = 3_000_000_000;
/// Pixels that a picture may have for each byte of its scans. A flat one of one colour, which takes a
/// bit or two for each block of 64, has 512 at most: beyond this next to nothing of it is there.
const MAX_PIXELS_A_BYTE: u64 = 4096;
/// Pixels that cost nothing, however few bytes there are.
const FREE_PIXELS: u64 = 1 << 20;

/// Walks through the segments.
pub(super) fn walk<'a>(bytes: &'a [u8], limits: &ImageLimits) -> Result<Container<'a>, Refusal> {
    let mut walk = Walk {
        rest: bytes,
        file: vec![MARKER, SOI],
        exif: Vec::new(),
        xmp: None,
        frame: None,
        tables: Tables::default(),
        num_segments: 0,
        num_scan_bytes: 0,
    };
    walk.headers(limits)?;
    walk.scans()?;
    walk.require_scans()?;
    walk.file.extend([MARKER, EOI]);
    let exif = (!walk.exif.is_empty()).then_some(walk.exif.as_slice());
    Ok(Container {
        size: walk.frame.ok_or(NO_FRAME)?.size,
        orientation: orientation(exif, walk.xmp),
        file: Cow::Owned(walk.file),
        margin: None,
    })
}

const NO_FRAME: &str = "a scan before its frame";

struct Walk<'a> {
    rest: &'a [u8],
    file: Vec<u8>,
    exif: Vec<u8>,
    xmp: Option<&'a [u8]>,
    frame: Option<Frame>,
    tables: Tables,
    num_segments: usize,
    num_scan_bytes: u64,
}

#[derive(Clone)]
struct Frame {
    size: ImageSize,
    is_progressive: bool,
    components: Vec<Component>,
}

impl<'a> Walk<'a> {
    /// Everything up to the first scan.
    fn headers(&mut self, limits: &ImageLimits) -> Result<(), Refusal> {
        loop {
            match self.marker()? {
                EOI => return Err("the file ends before its picture starts".into()),
                SOS => return Ok(()),
                APP1 => {
                    let body = self.body()?;
                    self.note(body);
                }
                marker => self.segment(marker, Some(limits))?,
            }
        }
    }

    /// The scans, the first of whose markers was read.
    fn scans(&mut self) -> Result<(), Refusal> {
        let frame = self.frame.clone().ok_or(NO_FRAME)?;
        let pixels = frame.size.height as u64 * frame.size.width as u64;
        let mut scan_pixels = 0;
        loop {
            scan_pixels += pixels;
            if frame.is_progressive && scan_pixels > MAX_SCAN_PIXELS {
                let scans = scan_pixels / pixels;
                return Err(format!("{scans} scans over a picture of this size").into());
            }
            let body = self.body()?;
            self.keep(SOS, body)?;
            let data = self.scan_data();
            self.num_scan_bytes += data.len() as u64;
            let is_whole_picture = !frame.is_progressive
                && body.first().map(|&count| usize::from(count)) == Some(frame.components.len());
            if is_whole_picture {
                return self.check_whole(&frame, body, data);
            }
            loop {
                match self.marker()? {
                    EOI => return Ok(()),
                    SOS => break,
                    marker => self.segment(marker, None)?,
                }
            }
        }
    }

    /// Refuses a picture that is nothing but its size.
    fn require_scans(&self) -> Result<(), Refusal> {
        let size = self.frame.as_ref().ok_or(NO_FRAME)?.size;
        let pixels = size.height as u64 * size.width as u64;
        if pixels > FREE_PIXELS + MAX_PIXELS_A_BYTE * self.num_scan_bytes {
            return Err(ENDS_EARLY.into());
        }
        Ok(())
    }

    /// Whether the one scan of a picture has all of it, where no end mark says so.
    fn check_whole(&self, frame: &Frame, body: &[u8], data: &[u8]) -> Result<(), Refusal> {
        let ends_by_mark = self.rest.starts_with(&[MARKER, EOI]);
        let scan = || Scan::new(frame.size, &frame.components, &self.tables, body, data);
        if ends_by_mark || scan().is_some_and(Scan::has_every_unit) {
            Ok(())
        } else {
            Err(ENDS_EARLY.into())
        }
    }

    /// The code of the next marker; fill bytes and what lies between segments is passed over.
    fn marker(&mut self) -> Result<u8, Refusal> {
        loop {
            let at = self.rest.iter().position(|&byte| byte == MARKER);
            self.rest = &self.rest[at.ok_or(ENDS_EARLY)?..];
            let fill = self.rest.iter().take_while(|&&byte| byte == MARKER).count();
            self.rest = &self.rest[fill..];
            let [code] = take_array(&mut self.rest)?;
            // Without a body: stuffing, restarts, another start, and one for private use.
            if !matches!(code, 0 | 0x01 | 0xd0..=SOI) {
                return Ok(code);
            }
        }
    }

    fn body(&mut self) -> Result<&'a [u8], Refusal> {
        let length = usize::from(u16::from_be_bytes(take_array(&mut self.rest)?));
        let length = length.checked_sub(2).ok_or("a segment of no length")?;
        take(&mut self.rest, length)
    }

    /// A segment that is no scan and no note.
    fn segment(&mut self, marker: u8, limits: Option<&ImageLimits>) -> Result<(), Refusal> {
        let body = self.body()?;
        match marker {
            DHT => self.tables.define(body)?,
            DRI => self.tables.set_restart_interval(body),
            0xdb | 0xcc | 0xdc => {}
            0xc0..=0xcf => {
                if self.frame.is_some() {
                    return Err("a second frame".into());
                }
                let frame = Frame::parse(marker, body)?;
                if let Some(limits) = limits {
                    limits.check_decode(frame.size, frame.decode_bytes_per_pixel())?;
                }
                self.frame = Some(frame);
            }
            // How colours are stored; a frame of a video leaves out its tables.
            APP14 if body.starts_with(b"Adobe") => {}
            0xe0 if body.starts_with(b"AVI1") => {}
            _ => return Ok(()),
        }
        self.keep(marker, body)
    }

    fn keep(&mut self, marker: u8, body: &[u8]) -> Result<(), Refusal> {
        self.num_segments += 1;
        if self.num_segments > MAX_SEGMENTS {
            return Err(format!("more than {MAX_SEGMENTS} segments").into());
        }
        let length = body.len() as u16 + 2;
        self.file.extend([MARKER, marker]);
        self.file.extend(length.to_be_bytes());
        self.file.extend_from_slice(body);
        Ok(())
    }

    /// Joins what Pillow joins: all EXIF segments; the last XMP one.
    fn note(&mut self, body: &'a [u8]) {
        const EXIF: &[u8] = b"Exif\0\0";
        if let Some(exif) = body.strip_prefix(EXIF) {
            let is_first = self.exif.is_empty();
            self.exif
                .extend_from_slice(if is_first { body } else { exif });
        } else if let Some(xmp) = body.strip_prefix(b"http://ns.adobe.com/xap/1.0/\0") {
            self.xmp = Some(xmp);
        }
    }

    /// The data of a scan, up to the next marker that is no restart.
    fn scan_data(&mut self) -> &'a [u8] {
        let mut end = 0;
        while let Some(at) = self.rest[end..].iter().position(|&byte| byte == MARKER) {
            end += at;
            match self.rest.get(end + 1) {
                Some(0 | 0xd0..=0xd7) => end += 2,
                Some(&MARKER) => end += 1,
                Some(_) => return self.take_scan_data(end),
                None => break,
            }
        }
        self.take_scan_data(self.rest.len())
    }

    fn take_scan_data(&mut self, end: usize) -> &'a [u8] {
        let (data, rest) = self.rest.split_at(end);
        self.file.extend_from_slice(data);
        self.rest = rest;
        data
    }
}

impl Frame {
    fn parse(marker: u8, body: &[u8]) -> Result<Self, Refusal> {
        let mut rest = body;
        let [_precision] = take_array(&mut rest)?;
        let height = u16::from_be_bytes(take_array(&mut rest)?);
        let width = u16::from_be_bytes(take_array(&mut rest)?);
        let [count] = take_array(&mut rest)?;
        if !matches!(count, 1 | 3 | 4) || rest.len() != 3 * usize::from(count) {
            return Err(format!("a frame of {count} components in {} bytes", body.len()).into());
        }
        let components = rest.chunks_exact(3).map(Component::parse);
        Ok(Self {
            size: ImageSize::new(height.into(), width.into()),
            is_progressive: !matches!(marker, 0xc0 | 0xc1),
            components: components
                .collect::<Option<_>>()
                .ok_or("a component of no blocks, or of too many")?,
        })
    }

    /// Three for the pixels. A progressive picture is held as coefficients of two bytes besides,
    /// and a grey one as its samples.
    fn decode_bytes_per_pixel(&self) -> f64 {
        let areas = self.components.iter().map(Component::area);
        let largest = areas.clone().max().unwrap_or(1);
        let samples = areas.sum::<usize>() as f64 / largest as f64;
        match (self.is_progressive, self.components.len()) {
            (true, _) => 3.0 + 2.0 * samples,
            (false, 1) => 4.0,
            (false, _) => 3.0,
        }
    }
}
