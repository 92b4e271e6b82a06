use std::collections::BTreeMap;

use proptest::prelude::*;
use safetensors::SafeTensors;

use ::image::RgbImage;

use super::*;
use crate::image::fixtures;

fn error(bytes: &[u8]) -> ImageError {
    image_error(ImageInput::from_bytes(bytes))
}

fn image_error(result: Result<ImageInput>) -> ImageError {
    match result {
        Err(Error::Image(error)) => error,
        other => panic!("expected an image error, found {other:?}"),
    }
}

/// Every picture of the fixture, by name.
fn files() -> BTreeMap<String, Vec<u8>> {
    let file = fixtures::read("image_formats/expected.safetensors");
    let names = SafeTensors::deserialize(&file)
        .unwrap()
        .names()
        .into_iter()
        .map(str::to_string)
        .collect::<Vec<_>>();
    names
        .into_iter()
        .map(|name| {
            (
                name.clone(),
                fixtures::read(&format!("image_formats/{name}")),
            )
        })
        .collect()
}

/// The largest difference that a format's decoders may have.
fn tolerance(name: &str) -> u8 {
    match name {
        // Chroma of half the size is enlarged by another rule.
        "subsampled.jpg" | "lossy.webp" => 12,
        "cmyk.jpg" => 4,
        _ if name.ends_with(".jpg") => 3,
        _ => 0,
    }
}

#[test]
fn every_format_and_mode_equals_pillow() {
    let file = fixtures::read("image_formats/expected.safetensors");
    let tensors = SafeTensors::deserialize(&file).unwrap();
    let files = files();
    assert_eq!(files.len(), 39);
    for (name, bytes) in files {
        let expected = fixtures::picture(&tensors, &name);
        let found =
            ImageInput::from_bytes(&bytes).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!(found.size(), expected.size(), "{name}");
        let differences = found
            .rgb()
            .iter()
            .zip(expected.rgb())
            .map(|(a, b)| a.abs_diff(*b));
        let largest = differences.max().unwrap();
        assert!(largest <= tolerance(&name), "{name} differs by {largest}");
    }
}

#[test]
fn every_orientation_of_a_camera_is_undone() {
    let file = fixtures::read("image_formats/expected.safetensors");
    let upright = fixtures::picture(&SafeTensors::deserialize(&file).unwrap(), "rgb.jpg");
    for orientation in 1..=8 {
        let bytes = fixtures::read(&format!("image_formats/orientation_{orientation}.jpg"));
        let image = ImageInput::from_bytes(&bytes).unwrap();
        // 5 to 8 lay the picture on its side; the stored one is 16 high.
        let height = if orientation < 5 { 16 } else { 24 };
        assert_eq!(image.height(), height, "orientation {orientation}");
        assert_eq!(
            image.rgb()[0].abs_diff(200) < 3,
            [1, 5].contains(&orientation)
        );
    }
    let unknown = fixtures::read("image_formats/orientation_99.jpg");
    assert_eq!(
        ImageInput::from_bytes(&unknown).unwrap().size(),
        upright.size()
    );
}

#[test]
fn a_picture_cut_short_anywhere_is_damaged_or_whole() {
    for (name, bytes) in files() {
        let whole = ImageInput::from_bytes(&bytes).unwrap();
        for tenth in 0..10 {
            let cut = &bytes[..bytes.len() * tenth / 10];
            let result = panic::catch_unwind(|| ImageInput::from_bytes(cut));
            let result = result.unwrap_or_else(|_| panic!("{name} cut at {tenth}/10 panicked"));
            // The first frame of an animation may be whole in the first half of the file, and the
            // pixels before the checksum of their data.
            match result {
                Ok(found) => assert_eq!(found, whole, "{name} cut at {tenth}/10"),
                Err(error) => assert!(!error.to_string().contains("panicked"), "{error}"),
            }
        }
        let half = ImageInput::from_bytes(&bytes[..bytes.len() / 2]);
        assert!(
            half.is_err() || name.starts_with("animated"),
            "{name} cut in half"
        );
    }
}

#[test]
fn what_is_no_picture_says_what_it_looks_like() {
    let cases: [(&[u8], &str); 6] = [
        (b"", "it is empty"),
        (b"hi", "it starts with `hi`"),
        (b"<svg xmlns=\"", "it starts with `<svg xml`"),
        (b"%PDF-1.7\n%", "it starts with `%PDF-1.7`"),
        (b"II*\0\x08\0\0\0\0\0\0\0", "it is Tiff"),
        (
            &[0; 4096],
            "it starts with `\\x00\\x00\\x00\\x00\\x00\\x00\\x00\\x00`",
        ),
    ];
    for (bytes, expected) in cases {
        let expected = format!("not a PNG, JPEG, WebP, GIF or BMP picture: {expected}");
        assert_eq!(error(bytes).to_string(), expected);
    }
}

/// A header that claims a size and is followed by nothing.
fn claim(format: &str, height: u16, width: u16) -> Vec<u8> {
    let big_endian = |side: u16| u32::from(side).to_be_bytes();
    let little_endian = |side: u16| u32::from(side).to_le_bytes();
    match format {
        "PNG" => {
            let sides = [big_endian(width), big_endian(height)].concat();
            let header = [b"IHDR".as_slice(), &sides, &[8, 2, 0, 0, 0]].concat();
            let checksum = crc32(&header).to_be_bytes();
            let data = b"\0\0\0\0IDAT\x35\xaf\x06\x1e";
            [b"\x89PNG\r\n\x1a\n\0\0\0\x0d", &header[..], &checksum, data].concat()
        }
        "JPEG" => {
            let sides = [height.to_be_bytes(), width.to_be_bytes()].concat();
            let components = [1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0];
            let scan = b"\xff\xda\0\x0c\x03\x01\0\x02\0\x03\0\0\x3f\0";
            [
                &b"\xff\xd8\xff\xc0\0\x11\x08"[..],
                &sides,
                &[3],
                &components,
                scan,
            ]
            .concat()
        }
        "GIF" => {
            let sides = [width.to_le_bytes(), height.to_le_bytes()].concat();
            [
                b"GIF89a",
                &sides[..],
                &[0, 0, 0],
                b"\x2c\0\0\0\0",
                &sides,
                &[0, 2],
            ]
            .concat()
        }
        "BMP" => {
            let sides = [little_endian(width), little_endian(height)].concat();
            let start = b"BM\0\0\0\0\0\0\0\0\x36\0\0\0\x28\0\0\0";
            [&start[..], &sides, &[1, 0, 24, 0], &[0; 24]].concat()
        }
        "WebP" => {
            let sides = [
                &little_endian(width - 1)[..3],
                &little_endian(height - 1)[..3],
            ]
            .concat();
            let start = b"RIFF\x1c\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0";
            let bitstream = b"VP8L\x06\0\0\0\x2f\0\0\0\0\0";
            [&start[..], &sides, bitstream].concat()
        }
        other => panic!("no header for {other}"),
    }
}

/// The checksum of PNG chunks.
fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |remainder, &byte| {
        (0..8).fold(remainder ^ u32::from(byte), |bits, _| {
            (bits >> 1) ^ (0xedb8_8320 * (bits & 1))
        })
    })
}

#[test]
fn a_header_that_claims_too_much_is_refused_before_decoding() {
    for format in ["PNG", "JPEG", "GIF", "BMP", "WebP"] {
        let limits = ImageLimits::default().with_max_side(65_534);
        let too_long = claim(format, 65_535, 65_535);
        let too_long = image_error(ImageInput::from_bytes_with_limits(&too_long, &limits));
        assert!(
            matches!(
                too_long,
                ImageError::SideTooLong {
                    height: 65_535,
                    width: 65_535,
                    limit: 65_534
                }
            ),
            "{format}: {too_long}"
        );
        let too_many = claim(format, 14_001, 15_000);
        assert!(
            matches!(
                error(&too_many),
                ImageError::TooManyPixels {
                    height: 14_001,
                    width: 15_000,
                    ..
                }
            ),
            "{format}: {}",
            error(&too_many)
        );
        // At the limit nothing but the missing pixels is wrong.
        let empty = error(&claim(format, 8000, 8000));
        assert!(
            matches!(empty, ImageError::Damaged { .. }),
            "{format}: {empty}"
        );
    }
}

#[test]
fn a_webp_that_hides_its_size_behind_a_small_canvas_is_refused() {
    let bitstream = &fixtures::read("image_formats/lossless.webp")[12..];
    let canvas_of_one_pixel = b"VP8X\x0a\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let bytes = [b"RIFF\xff\0\0\0WEBP", &canvas_of_one_pixel[..], bitstream].concat();
    let expected = "damaged WebP picture: a bitstream of 24x16 on a canvas of 1x1";
    assert_eq!(error(&bytes).to_string(), expected);
}

#[test]
fn a_small_file_that_unpacks_to_many_pixels_is_held_by_the_limit() {
    let picture = RgbImage::new(300, 200);
    let mut bytes = Cursor::new(Vec::new());
    picture.write_to(&mut bytes, ImageFormat::Png).unwrap();
    let decode = |limits: ImageLimits| ImageInput::from_bytes_with_limits(bytes.get_ref(), &limits);
    assert!(decode(ImageLimits::default().with_max_pixels(60_000)).is_ok());
    let refused = image_error(decode(ImageLimits::default().with_max_pixels(59_999)));
    assert_eq!(
        refused.to_string(),
        "the picture is 300x200, the limit is 59999 pixels in all"
    );
    let refused = image_error(decode(ImageLimits::default().with_max_side(299)));
    assert_eq!(
        refused.to_string(),
        "the picture is 300x200, the limit is 299 pixels on a side"
    );
    let refused = image_error(decode(ImageLimits::default().with_max_bytes(10)));
    assert!(
        refused.to_string().ends_with("bytes, the limit is 10"),
        "{refused}"
    );
}

#[test]
fn the_extension_of_a_file_means_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("picture.png");
    fs::write(&path, fixtures::read("image_formats/rgb.jpg")).unwrap();
    assert_eq!(
        ImageInput::open(&path).unwrap().size(),
        ImageSize::new(16, 24)
    );
}

#[test]
fn a_missing_file_is_an_io_error_with_its_path() {
    let error = ImageInput::open("no/such/picture.png").unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("cannot read no/such/picture.png: "),
        "{error}"
    );
}

#[test]
fn a_folder_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let error = image_error(ImageInput::open(folder.path()));
    assert!(
        matches!(
            error,
            ImageError::NotAFile {
                found: "a folder",
                ..
            }
        ),
        "{error}"
    );
}

#[test]
fn a_file_over_the_limit_is_not_read() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("large.png");
    let file = File::create(&path).unwrap();
    file.set_len(70 << 20).unwrap();
    let error = image_error(ImageInput::open(&path));
    assert_eq!(
        error.to_string(),
        "the picture has 73400320 bytes, the limit is 67108864"
    );
}

#[cfg(unix)]
#[test]
fn devices_and_pipes_are_not_opened() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    let made = std::process::Command::new("mkfifo")
        .arg(&pipe)
        .status()
        .unwrap();
    assert!(made.success());
    for path in [Path::new("/dev/zero"), &pipe] {
        let error = image_error(ImageInput::open(path));
        let found = "a device, pipe or socket";
        assert!(matches!(error, ImageError::NotAFile { found: what, .. } if what == found));
    }
}

#[test]
fn a_panic_of_a_decoder_becomes_a_reason() {
    let payload = panic::catch_unwind(|| panic!("row {} of 3", 4)).unwrap_err();
    assert_eq!(
        panic_message(payload.as_ref()),
        "the decoder panicked: row 4 of 3"
    );
    assert_eq!(
        panic_message(&"no format"),
        "the decoder panicked: no format"
    );
    assert_eq!(panic_message(&3), "the decoder panicked: no message");
}

#[test]
fn pixels_of_every_format_become_rgb() {
    let size = ImageSize::new(1, 2);
    let cases = [
        (PixelFormat::Grey8, vec![7, 8], [7, 7, 7, 8, 8, 8]),
        (
            PixelFormat::GreyAlpha8,
            vec![7, 0, 8, 255],
            [255, 255, 255, 8, 8, 8],
        ),
        (
            PixelFormat::Rgb8,
            vec![1, 2, 3, 4, 5, 6],
            [1, 2, 3, 4, 5, 6],
        ),
        (
            PixelFormat::Rgba8,
            vec![1, 2, 3, 0, 4, 5, 6, 255],
            [255, 255, 255, 4, 5, 6],
        ),
    ];
    for (format, pixels, expected) in cases {
        assert_eq!(
            ImageInput::from_pixels(format, size, pixels).unwrap().rgb(),
            expected
        );
    }
}

#[test]
fn a_pixel_buffer_that_does_not_fit_is_refused() {
    let result = ImageInput::from_rgb8(ImageSize::new(4, 5), vec![0; 59]);
    assert_eq!(
        image_error(result).to_string(),
        "5x4 pixels need 60 bytes, the buffer holds 59"
    );
    for size in [ImageSize::new(0, 5), ImageSize::new(5, 0)] {
        let error = image_error(ImageInput::from_rgb8(size, Vec::new()));
        assert!(matches!(error, ImageError::NoPixels { .. }), "{error}");
    }
    let huge = ImageSize::new(usize::MAX, usize::MAX);
    assert!(matches!(
        image_error(ImageInput::from_rgb8(huge, vec![])),
        ImageError::SideTooLong { .. }
    ));
}

#[test]
fn debug_output_holds_no_pixels() {
    let image = ImageInput::from_rgb8(ImageSize::new(1, 1), vec![77, 88, 99]).unwrap();
    assert_eq!(
        format!("{image:?}"),
        "ImageInput { size: ImageSize { height: 1, width: 1 }, .. }"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn changed_bytes_give_a_picture_or_an_error(
        file in 0_usize..39,
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let (_, mut bytes) = files().into_iter().nth(file).unwrap();
        for (index, value) in changes {
            let position = index.index(bytes.len());
            bytes[position] = value;
        }
        if let Ok(image) = ImageInput::from_bytes(&bytes) {
            prop_assert_eq!(image.rgb().len(), image.height() * image.width() * 3);
        }
    }
}
