//! PNG, decoded row by row: what is held at once is a row of the file and the picture in RGB.

use std::io::Cursor;

use ::png::{ColorType, DecodeOptions, Decoder, DecodingError, Limits, Reader, Transformations};

use super::ImageSize;
use super::pixel_format::PixelLayout;

/// First row, first column, and the steps of both, of the passes of an interlaced picture.
const PASSES: [[usize; 4]; 7] = [
    [0, 0, 8, 8],
    [0, 4, 8, 8],
    [4, 0, 8, 4],
    [0, 2, 4, 4],
    [2, 0, 4, 2],
    [0, 1, 2, 2],
    [1, 0, 2, 1],
];

/// The pixels of the `file`, which holds nothing but its picture of `size`.
///
/// # Shapes
///
/// * result: `[height, width, 3]`
pub(crate) fn decode(
    file: &[u8],
    size: ImageSize,
    max_scratch_bytes: usize,
) -> Result<Vec<u8>, DecodingError> {
    let mut options = DecodeOptions::default();
    options.set_ignore_crc(true);
    options.set_ignore_adler32(false);
    let mut decoder = Decoder::new_with_options(Cursor::new(file), options);
    decoder.set_limits(Limits {
        bytes: max_scratch_bytes,
    });
    decoder.set_transformations(Transformations::EXPAND);
    let mut reader = decoder.read_info()?;
    let layout = layout(&reader);
    let mut rgb = vec![0; size.height * size.width * 3];
    if reader.info().interlaced {
        for pass in PASSES {
            read_pass(&mut reader, layout, size, pass, &mut rgb)?;
        }
    } else {
        for row in rgb.chunks_exact_mut(size.width * 3) {
            let samples = reader.next_row()?.ok_or(no_row())?;
            layout.write_rgb(samples.data(), row);
        }
    }
    Ok(rgb)
}

fn layout<R: std::io::BufRead + std::io::Seek>(reader: &Reader<R>) -> PixelLayout {
    let (color_type, depth) = reader.output_color_type();
    let channels = match color_type {
        ColorType::Grayscale | ColorType::Indexed => 1,
        ColorType::GrayscaleAlpha => 2,
        ColorType::Rgb => 3,
        ColorType::Rgba => 4,
    };
    PixelLayout::big_endian(channels, if depth as u8 == 16 { 2 } else { 1 })
}

fn read_pass<R: std::io::BufRead + std::io::Seek>(
    reader: &mut Reader<R>,
    layout: PixelLayout,
    size: ImageSize,
    [first_row, first_column, row_step, column_step]: [usize; 4],
    rgb: &mut [u8],
) -> Result<(), DecodingError> {
    if first_column >= size.width {
        return Ok(());
    }
    let mut narrow = vec![0; (size.width - first_column).div_ceil(column_step) * 3];
    let rows = rgb.chunks_exact_mut(size.width * 3);
    for row in rows.skip(first_row).step_by(row_step) {
        let samples = reader.next_interlaced_row()?.ok_or(no_row())?;
        layout.write_rgb(samples.data(), &mut narrow);
        let (pixels, _) = row.as_chunks_mut::<3>();
        let (narrow, _) = narrow.as_chunks::<3>();
        let places = pixels.iter_mut().skip(first_column).step_by(column_step);
        for (place, &pixel) in places.zip(narrow) {
            *place = pixel;
        }
    }
    Ok(())
}

fn no_row() -> DecodingError {
    std::io::Error::from(std::io::ErrorKind::UnexpectedEof).into()
}
