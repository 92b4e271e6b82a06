/// The number behind the first `tiff:Orientation` of an XMP packet, as Pillow finds it: by a
/// pattern, without reading the XML.
pub(super) fn orientation(packet: &[u8]) -> Option<u8> {
    const NAME: &[u8] = b"tiff:Orientation";
    memmem(packet, NAME).find_map(|at| {
        let rest = &packet[at + NAME.len()..];
        let value = rest
            .strip_prefix(b"=\"")
            .or_else(|| rest.strip_prefix(b">"))?;
        let digit = value.first().filter(|byte| byte.is_ascii_digit())?;
        Some(digit - b'0')
    })
}

/// Where `needle`, which starts with a byte that is seldom, lies in `text`.
fn memmem<'a>(text: &'a [u8], needle: &'a [u8]) -> impl Iterator<Item = usize> + 'a {
    text.windows(needle.len())
        .enumerate()
        .filter(move |(_, window)| *window == needle)
        .map(|(at, _)| at)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_number_of_either_spelling_counts() {
        let cases: [(&str, Option<u8>); 8] = [
            (r#"<x tiff:Orientation="6"/>"#, Some(6)),
            ("<tiff:Orientation>8</tiff:Orientation>", Some(8)),
            (r#"tiff:Orientation='6' tiff:Orientation="3""#, Some(3)),
            (r#"tiff:Orientation="2"><tiff:Orientation>5<"#, Some(2)),
            (r#"tiff:Orientation="10""#, Some(1)),
            (r#"tiff:Orientation = "6""#, None),
            (r#"exif:Orientation="6""#, None),
            ("tiff:Orientation", None),
        ];
        for (packet, expected) in cases {
            assert_eq!(orientation(packet.as_bytes()), expected, "{packet}");
        }
    }
}
