//! Pictures that are none, are damaged, or are too large.

use std::fs::{self, File};

use burn_vlm::image::{ImageSize, PixelFormat};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{Error, ImageError, ImageInput, Result};

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
    [files(), sizes()].into_iter().flatten().collect()
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
            |_| decode_damaged(PNG, |bytes| bytes[60] ^= 1),
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
            "frame inside another",
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
            "the limit is 20971520",
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
