//! Text that a file chose, as far as a message repeats it.
//!
//! A name, a value or a parser's complaint may be megabytes long and hold what a terminal obeys.
//! Every error shows such text through here, whoever filled its fields; log lines do the same.

use std::ffi::OsStr;
use std::fmt::{self, Write};

/// Characters of one name or value.
const VALUE_CHARACTERS: usize = 128;
/// Characters of a path, or of a sentence with a few values in it.
const LINE_CHARACTERS: usize = 1024;
/// Characters of a report in many parts.
const REPORT_CHARACTERS: usize = 3072;

/// Text that is cut where it is too long, with everything unprintable escaped.
///
/// Quotes and backslashes stay, so that text which was made visible before looks the same.
#[derive(Clone, Copy)]
pub(crate) struct Visible<'t> {
    text: &'t OsStr,
    limit: usize,
}

/// A name or a value.
pub(crate) fn visible<T: AsRef<OsStr> + ?Sized>(text: &T) -> Visible<'_> {
    Visible::new(text, VALUE_CHARACTERS)
}

/// A path, or a sentence.
pub(crate) fn visible_line<T: AsRef<OsStr> + ?Sized>(text: &T) -> Visible<'_> {
    Visible::new(text, LINE_CHARACTERS)
}

/// A report.
pub(crate) fn visible_report(text: &str) -> Visible<'_> {
    Visible::new(text, REPORT_CHARACTERS)
}

impl<'t> Visible<'t> {
    fn new<T: AsRef<OsStr> + ?Sized>(text: &'t T, limit: usize) -> Self {
        let text = text.as_ref();
        Self { text, limit }
    }
}

impl fmt::Display for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let chunks = self.text.as_encoded_bytes().utf8_chunks();
        let escaped = chunks.flat_map(|chunk| {
            let bytes = chunk.invalid().iter().copied();
            let bytes = bytes.flat_map(std::ascii::escape_default).map(char::from);
            chunk.valid().chars().flat_map(escape).chain(bytes)
        });
        for (written, character) in escaped.enumerate() {
            if written == self.limit {
                return f.write_char('…');
            }
            f.write_char(character)?;
        }
        Ok(())
    }
}

impl fmt::Debug for Visible<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// As [`char::escape_debug`], which also escapes what is harmless.
fn escape(character: char) -> impl Iterator<Item = char> {
    let is_plain = matches!(character, '\\' | '"' | '\'');
    let escaped = (!is_plain).then(|| character.escape_debug());
    let plain = is_plain.then_some(character);
    plain.into_iter().chain(escaped.into_iter().flatten())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_escaped_and_the_rest_stays() {
        let text = "\u{1b}]0;owned\u{7}\r\n\u{202e} \"사진\" C:\\x 'é'";
        let shown = visible(text).to_string();
        assert_eq!(
            shown,
            "\\u{1b}]0;owned\\u{7}\\r\\n\\u{202e} \"사진\" C:\\x 'é'"
        );
        assert_eq!(visible(&shown).to_string(), shown);
    }

    #[test]
    fn long_text_is_cut_between_characters() {
        let text = "진".repeat(1 << 20);
        let expected = "진".repeat(VALUE_CHARACTERS) + "…";
        assert_eq!(visible(&text).to_string(), expected);
        assert_eq!(
            visible(&text[..3 * VALUE_CHARACTERS]).to_string().len(),
            384
        );
        let escapes = visible_line(&"\u{1b}".repeat(1 << 20)).to_string();
        assert_eq!(escapes.chars().count(), LINE_CHARACTERS + 1);
    }

    #[cfg(unix)]
    #[test]
    fn bytes_that_are_no_text_are_shown_as_bytes() {
        use std::os::unix::ffi::OsStrExt;
        let name = OsStr::from_bytes(b"\xbb\xe7\xc1\xf8.png");
        assert_eq!(visible(name).to_string(), "\\xbb\\xe7\\xc1\\xf8.png");
    }
}
