//! Pictures that are none, are damaged, or are too large.
//!
//! | Kind | What is done about it | Shown by |
//! |---|---|---|
//! | orientation elsewhere than in a SHORT of the first EXIF segment | found as Pillow finds it | `image::container::tests`, 190 files |
//! | pixels whole, end mark, checksum or trailing note missing | answered | `image::container::tests` |
//! | pixels missing | refused | `files`, `image::container::tests` |
//! | photos of 108 and 200 megapixels, panoramas | admitted by their headers, in 4 bytes a pixel | `image::decode::tests` |
//! | tables that multiply: prefix codes of WebP | counted before they are built | `hazards` |
//! | work that multiplies: scans of a progressive JPEG | scans times pixels are bounded | `hazards` |
//! | segments without number, extended XMP | tables are counted, notes never reach the decoder | `hazards`, `notes_of_any_number_are_passed_over` |
//! | notes and profiles that unpack to gigabytes | never unpacked, or to 1 MiB | `notes_of_any_number_are_passed_over` |
//! | frames without number, frames in frames | the first is read | `notes_of_any_number_are_passed_over`, `files` |
//! | what makes a decoder panic: a palette of 4 bytes | set right before | `image::container::tests` |
//! | directories of EXIF in a circle, out of reach | one directory is read, within its block | `image::container::tests` |

use std::fs::{self, File};

use burn_vlm::image::{ImageSize, PixelFormat};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{Error, ImageError, ImageInput, ImageLimits, Result};

use crate::case::{Case, write};
use crate::support::repository;

/// Decodes a picture of this repository after its bytes were changed.
fn decode_damaged(path: &str, damage: fn(&mut Vec<u8>)) -> Result<()> {
    let mut bytes = fs::read(repository(path)).expect("the repository has this picture");
    damage(&mut bytes);
    ImageInput::from_bytes(&bytes).map(drop)
}

const PNG: &str = "examples/demo/photo.png";

/// Width and height in the first chunk of a PNG, with the checksum set right.
fn state_size(bytes: &mut [u8], width: u32, height: u32) {
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    let checksum = crc32(&bytes[12..29]);
    bytes[29..33].copy_from_slice(&checksum.to_be_bytes());
}

fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg());
    !bytes
        .iter()
        .fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

/// An animation whose frame holds a frame, and so on.
fn nested_webp(depth: usize) -> Vec<u8> {
    fn chunk(name: &[u8; 4], claimed: usize, body: &[u8]) -> Vec<u8> {
        let claimed = u32::try_from(claimed).expect("the picture is small");
        [name, &claimed.to_le_bytes()[..], body].concat()
    }
    const LEVEL_BYTES: usize = 24;
    let extended = chunk(b"VP8X", 10, &[2, 0, 0, 0, 19, 0, 0, 19, 0, 0]);
    let animation = chunk(b"ANIM", 6, &[0; 6]);
    let levels = (1..=depth).rev();
    let frames = levels.flat_map(|left| chunk(b"ANMF", left * LEVEL_BYTES - 8, &[0; 16]));
    let chunks: Vec<u8> = [extended, animation]
        .concat()
        .into_iter()
        .chain(frames)
        .collect();
    let body = [b"WEBP".to_vec(), chunks].concat();
    chunk(b"RIFF", body.len(), &body)
}

#[expect(
    clippy::extra_unused_type_parameters,
    reason = "every list of cases is made for a backend"
)]
pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    [files(), sizes(), hazards()]
        .into_iter()
        .flatten()
        .collect()
}

fn files() -> Vec<Case> {
    vec![
        case!(
            "a picture that is not there",
            "nowhere.png",
            |at| ImageInput::open(at.join("nowhere.png")).map(drop),
            Error::Io { .. }
        ),
        case!(
            "a folder in place of a picture",
            "a folder",
            |at| ImageInput::open(at).map(drop),
            Error::Image(ImageError::NotAFile { .. })
        ),
        case!(
            "a device in place of a picture",
            "device",
            |_| ImageInput::open("/dev/zero").map(drop),
            Error::Image(ImageError::NotAFile { .. })
        ),
        case!(
            "a picture of no bytes",
            "empty",
            |_| ImageInput::from_bytes(&[]).map(drop),
            Error::Image(ImageError::UnknownFormat { .. })
        ),
        case!(
            "a text in place of a picture",
            "What is ",
            |_| ImageInput::from_bytes(b"What is in this picture?").map(drop),
            Error::Image(ImageError::UnknownFormat { .. })
        ),
        case!(
            "a text that calls itself a picture",
            "not a PNG",
            |at| {
                write(&at.join("photo.png"), "<!doctype html>");
                ImageInput::open(at.join("photo.png")).map(drop)
            },
            Error::Image(ImageError::UnknownFormat { .. })
        ),
        case!(
            "a picture in a format that is not read",
            "Tiff",
            |_| ImageInput::from_bytes(b"II*\0\x08\0\0\0\0\0").map(drop),
            Error::Image(ImageError::UnknownFormat { .. })
        ),
        case!(
            "a PNG that a download cut short",
            "PNG",
            |_| decode_damaged(PNG, |bytes| bytes.truncate(bytes.len() / 2)),
            Error::Image(ImageError::Damaged { format: "PNG", .. })
        ),
        case!(
            "a PNG that is all header",
            "PNG",
            |_| decode_damaged(PNG, |bytes| bytes.truncate(33)),
            Error::Image(ImageError::Damaged { format: "PNG", .. })
        ),
        case!(
            "a PNG with another bit",
            "PNG",
            |_| decode_damaged(PNG, |bytes| bytes[90] ^= 1),
            Error::Image(ImageError::Damaged { format: "PNG", .. })
        ),
        case!(
            "a JPEG that a download cut short",
            "JPEG",
            |_| decode_damaged("tests/fixtures/image_formats/rgb.jpg", |bytes| bytes
                .truncate(bytes.len() / 2)),
            Error::Image(ImageError::Damaged { format: "JPEG", .. })
        ),
        case!(
            "a GIF that a download cut short",
            "GIF",
            |_| decode_damaged("tests/fixtures/image_formats/palette.gif", |bytes| bytes
                .truncate(bytes.len() / 2)),
            Error::Image(ImageError::Damaged { format: "GIF", .. })
        ),
        case!(
            "a WebP of frames in frames, a hundred thousand deep",
            "no picture in it",
            |_| ImageInput::from_bytes(&nested_webp(100_000)).map(drop),
            Error::Image(ImageError::Damaged { format: "WebP", .. })
        ),
        case!(
            "a WebP that a download cut short",
            "WebP",
            |_| decode_damaged("tests/fixtures/image_formats/lossy.webp", |bytes| bytes
                .truncate(bytes.len() / 2)),
            Error::Image(ImageError::Damaged { format: "WebP", .. })
        ),
        case!(
            "a BMP that a download cut short",
            "BMP",
            |_| decode_damaged("tests/fixtures/image_formats/rgb.bmp", |bytes| bytes
                .truncate(bytes.len() / 2)),
            Error::Image(ImageError::Damaged { format: "BMP", .. })
        ),
    ]
}

fn sizes() -> Vec<Case> {
    vec![
        case!(
            "a file larger than any picture",
            "the limit is 67108864",
            |at| {
                let path = at.join("large.png");
                let file = File::create(&path).expect("a temporary folder takes a file");
                file.set_len(1 << 40)
                    .expect("the file system has sparse files");
                ImageInput::open(path).map(drop)
            },
            Error::Image(ImageError::TooManyBytes { .. })
        ),
        case!(
            "a PNG that says it is a hundred thousand wide",
            "100000x10",
            |_| decode_damaged(PNG, |bytes| state_size(bytes, 100_000, 10)),
            Error::Image(ImageError::SideTooLong {
                width: 100_000,
                height: 10,
                ..
            })
        ),
        case!(
            "a PNG that would unpack to gigabytes",
            "16000x16000",
            |_| decode_damaged(PNG, |bytes| state_size(bytes, 16_000, 16_000)),
            Error::Image(ImageError::TooManyPixels { .. })
        ),
        case!(
            "a PNG of no width",
            "",
            |_| decode_damaged(PNG, |bytes| state_size(bytes, 0, 10)),
            Error::Image(ImageError::Damaged { .. } | ImageError::NoPixels { .. })
        ),
        case!(
            "pixels of no rows",
            "0x3",
            |_| ImageInput::from_rgb8(ImageSize::new(3, 0), vec![]).map(drop),
            Error::Image(ImageError::NoPixels {
                height: 3,
                width: 0
            })
        ),
        case!(
            "fewer pixels than the size asks for",
            "need 36 bytes",
            |_| ImageInput::from_rgb8(ImageSize::new(3, 4), vec![0; 35]).map(drop),
            Error::Image(ImageError::PixelBuffer {
                expected_bytes: 36,
                found_bytes: 35,
                ..
            })
        ),
        case!(
            "pixels of another format than they say",
            "need 48 bytes",
            |_| ImageInput::from_pixels(PixelFormat::Rgba8, ImageSize::new(3, 4), vec![0; 36])
                .map(drop),
            Error::Image(ImageError::PixelBuffer { .. })
        ),
        case!(
            "a size whose product overflows",
            "pixels",
            |_| ImageInput::from_rgb8(ImageSize::new(usize::MAX, usize::MAX), vec![]).map(drop),
            Error::Image(ImageError::SideTooLong { .. })
        ),
    ]
}

fn hazards() -> Vec<Case> {
    vec![
        case!(
            "a WebP of one pixel and 65536 groups of prefix codes",
            "symbols in its prefix codes",
            |_| ImageInput::from_bytes(&webp_of_many_groups()).map(drop),
            Error::Image(ImageError::Damaged { format: "WebP", .. })
        ),
        case!(
            "a progressive JPEG of a thousand scans over 190 million pixels",
            "scans over a picture of this size",
            |_| ImageInput::from_bytes_with_limits(
                &jpeg_of_many_scans(),
                &ImageLimits::default().with_max_pixels(1 << 40)
            )
            .map(drop),
            Error::Image(ImageError::Damaged { format: "JPEG", .. })
        ),
        case!(
            "a JPEG of 100000 tables",
            "more than 2048 segments",
            |_| {
                let table = [&b"\xff\xdb\0\x43\0"[..], &[1; 64]].concat();
                ImageInput::from_bytes(&with_segments(table.repeat(100_000))).map(drop)
            },
            Error::Image(ImageError::Damaged { format: "JPEG", .. })
        ),
        case!(
            "a JPEG whose scan comes before its frame",
            "a scan before its frame",
            |_| ImageInput::from_bytes(b"\xff\xd8\xff\xda\0\x08\x01\x01\0\0\x3f\0\0\xff\xd9")
                .map(drop),
            Error::Image(ImageError::Damaged { format: "JPEG", .. })
        ),
        case!(
            "a PNG of 300 colours",
            "palette of more than 256 colours",
            |_| ImageInput::from_bytes(&png_of_colours(300)).map(drop),
            Error::Image(ImageError::Damaged { format: "PNG", .. })
        ),
    ]
}

/// A JPEG of this repository with `segments` behind its first mark.
fn with_segments(segments: Vec<u8>) -> Vec<u8> {
    let path = repository("tests/fixtures/image_formats/rgb.jpg");
    let bytes = fs::read(path).expect("the repository has this picture");
    [&bytes[..2], &segments, &bytes[2..]].concat()
}

fn jpeg_of_many_scans() -> Vec<u8> {
    let frame = b"\xff\xc2\0\x0b\x08\x30\0\x3e\0\x01\x01\x11\0";
    let scan = b"\xff\xda\0\x08\x01\x01\0\0\0\0\0";
    [b"\xff\xd8", &frame[..], &scan.repeat(1000), b"\xff\xd9"].concat()
}

fn png_of_colours(count: usize) -> Vec<u8> {
    let path = repository("tests/fixtures/image_formats/palette.png");
    let bytes = fs::read(path).expect("the repository has this picture");
    let palette = bytes
        .windows(4)
        .position(|name| name == b"PLTE")
        .expect("it has a palette");
    let length = u32::from_be_bytes(*bytes[palette - 4..].first_chunk().expect("four bytes"));
    let rest = &bytes[palette + 8 + length as usize..];
    [
        &bytes[..palette - 4],
        &chunk(b"PLTE", &vec![7; 3 * count]),
        rest,
    ]
    .concat()
}

/// A chunk of a PNG.
fn chunk(name: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).expect("the picture is small");
    let named = [name, body].concat();
    [
        &length.to_be_bytes()[..],
        &named,
        &crc32(&named).to_be_bytes(),
    ]
    .concat()
}

/// A lossless WebP of one pixel, which the picture that chooses among its prefix codes gives the
/// last of 65,536 groups.
fn webp_of_many_groups() -> Vec<u8> {
    let mut bits = Vec::new();
    let mut put = |value: u32, count: u32| bits.extend((0..count).map(|at| (value >> at) & 1 == 1));
    put(0x2f, 8);
    // Both sides less one, no alpha, version 0; no transform; a cache of 2048 colours.
    put(0, 14 + 14 + 1 + 3);
    put(0, 1);
    put(1, 1);
    put(11, 4);
    // Groups are chosen by a picture in blocks of four, without a cache: green and red are 255.
    put(1, 1);
    put(0, 3);
    put(0, 1);
    for symbol in [255, 255, 0, 0, 0] {
        // A code of one symbol of eight bits.
        put(0b101, 3);
        put(symbol, 8);
    }
    let body: Vec<u8> = bits
        .chunks(8)
        .map(|bits| {
            bits.iter()
                .rev()
                .fold(0, |byte, &bit| byte << 1 | u8::from(bit))
        })
        .collect();
    let length = |count: usize| {
        u32::try_from(count)
            .expect("the picture is small")
            .to_le_bytes()
    };
    let padding = vec![0; body.len() % 2];
    let chunk = [&b"VP8L"[..], &length(body.len()), &body, &padding].concat();
    [&b"RIFF"[..], &length(chunk.len() + 4), b"WEBP", &chunk].concat()
}

/// Notes, profiles and frames that once kept a decoder for minutes, or filled memory.
#[test]
fn notes_of_any_number_are_passed_over() {
    let note = b"http://ns.adobe.com/xmp/extension/\0";
    let extended: Vec<u8> = (0..100_000_u32)
        .flat_map(|at| {
            let place = [&[b'A'; 32][..], &[0xff; 4], &(2 * at).to_be_bytes(), b"xx"].concat();
            let length = u16::try_from(2 + note.len() + place.len()).expect("a segment is small");
            [&b"\xff\xe1"[..], &length.to_be_bytes(), note, &place].concat()
        })
        .collect();
    let png = fs::read(repository(PNG)).expect("the repository has this picture");
    let between = |chunks: Vec<u8>| [&png[..33], &chunks, &png[33..]].concat();
    let control = chunk(b"fcTL", &[0; 26]);
    let files = [
        ("extended XMP", with_segments(extended)),
        (
            "comments",
            with_segments(b"\xff\xfe\0\x02".repeat(1_000_000)),
        ),
        ("frames of a PNG", between(control.repeat(100_000))),
        (
            "texts of a PNG",
            between(chunk(b"tEXt", b"key\0value").repeat(100_000)),
        ),
        (
            "a profile of gigabytes",
            between(chunk(b"iCCP", &[b"p\0\0", &[0x78; 4000][..]].concat())),
        ),
    ];
    for (name, file) in files {
        let start = std::time::Instant::now();
        ImageInput::from_bytes(&file).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(
            start.elapsed().as_secs() < 20,
            "{name} took {:?}",
            start.elapsed()
        );
    }
}
