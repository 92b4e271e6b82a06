//! A look for the end of a JPEG file before its decoder sees it.
//!
//! The decoder is built to show as much of a damaged file as it can, and paints the rest grey. A
//! model would describe the grey. As Pillow does, a file that was cut short is refused.

const MARKER: u8 = 0xff;
const START_OF_IMAGE: u8 = 0xd8;
const END_OF_IMAGE: u8 = 0xd9;
const RESTART: std::ops::RangeInclusive<u8> = 0xd0..=0xd7;

/// Whether the file reaches its end marker.
///
/// Segments are stepped over by their length, so the end of a thumbnail inside of one does not count.
///
/// # Errors
///
/// Says in a sentence that it does not.
pub(crate) fn check_end(bytes: &[u8]) -> Result<(), String> {
    let reaches_end = end_of_picture(bytes).is_some();
    if reaches_end {
        Ok(())
    } else {
        Err("the file ends before the picture does".to_string())
    }
}

fn end_of_picture(bytes: &[u8]) -> Option<usize> {
    let mut position = 0;
    loop {
        let code = position
            + bytes
                .get(position..)?
                .iter()
                .position(|&byte| byte == MARKER)?
            + 1;
        position = match *bytes.get(code)? {
            END_OF_IMAGE => return Some(code),
            // Inside a scan: a byte of data that looks like a marker, or a restart. Before one: fill.
            0 | START_OF_IMAGE => code + 1,
            MARKER => code,
            restart if RESTART.contains(&restart) => code + 1,
            _ => code + 1 + segment_bytes(bytes.get(code + 1..)?)?,
        };
    }
}

/// The length of a segment, which counts its own two bytes.
fn segment_bytes(segment: &[u8]) -> Option<usize> {
    let length = u16::from_be_bytes(*segment.first_chunk()?);
    Some(usize::from(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file that has all that is stepped over: a segment with a thumbnail, a scan with an escaped
    /// data byte and a restart.
    const PICTURE: &[u8] =
        b"\xff\xd8\xff\xe1\0\x06\xff\xd8\xff\xd9\xff\xda\0\x02\x12\xff\0\xff\xd0\x34\xff\xd9";

    #[test]
    fn a_whole_file_passes_with_or_without_appended_bytes() {
        assert_eq!(check_end(PICTURE), Ok(()));
        assert_eq!(check_end(&[PICTURE, b"appended"].concat()), Ok(()));
    }

    #[test]
    fn a_file_cut_anywhere_is_refused() {
        for end in 0..PICTURE.len() {
            assert!(check_end(&PICTURE[..end]).is_err(), "cut at {end}");
        }
    }
}
