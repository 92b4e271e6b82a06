//! The replacements of a SentencePiece model, which a `tokenizer.json` calls `Precompiled`.
//!
//! A table of bytes, with its length in front: a trie over the bytes of what is replaced, as a double
//! array of `darts-clone` (<https://github.com/s-yata/darts-clone>), whose values are places in the
//! texts behind it, each of which ends at a zero. The tokenizers library believes what it reads there,
//! so it is read here.

use tokenizers::NormalizedString;
use unicode_segmentation::UnicodeSegmentation;

use super::too_long;

/// Longest table; NFKC with what SentencePiece adds to it has 240 KB.
const MAX_BYTES: usize = 1 << 20;

/// Longest text that a character may become. Unicode's longest has 33 bytes.
const MAX_TEXT_BYTES: usize = 64;

/// From as many bytes on, what a reader takes for one character is replaced part by part.
const LONG_GRAPHEME_BYTES: usize = 6;

/// A table of replacements.
#[derive(Debug)]
pub(crate) struct Charsmap {
    units: Vec<u32>,
    texts: String,
}

impl Charsmap {
    /// Reads a table.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, String> {
        if bytes.len() > MAX_BYTES {
            let length = bytes.len();
            return Err(format!("a character map has {length} bytes"));
        }
        let cut = || "a character map ends early".to_string();
        let (length, rest) = bytes.split_first_chunk::<4>().ok_or_else(cut)?;
        let length = u32::from_le_bytes(*length) as usize;
        let (units, texts) = rest.split_at_checked(length).ok_or_else(cut)?;
        let (units, []) = units.as_chunks::<4>() else {
            return Err("a character map has a part of a unit".to_string());
        };
        let texts = String::from_utf8(texts.to_vec())
            .map_err(|error| format!("a character map is not UTF-8: {error}"))?;
        if texts.split('\0').any(|text| text.len() > MAX_TEXT_BYTES) {
            return Err(format!(
                "a character map has a text of more than {MAX_TEXT_BYTES} bytes"
            ));
        }
        let units = units.iter().copied().map(u32::from_le_bytes).collect();
        Ok(Self { units, texts })
    }

    /// Replaces what the table has of a text.
    ///
    /// # Errors
    ///
    /// That it would have more than `limit` bytes.
    pub(super) fn apply(&self, text: &mut NormalizedString, limit: usize) -> Result<(), String> {
        let mut changes = Changes::default();
        for grapheme in text.get().graphemes(true) {
            match self.replacement(grapheme) {
                Some(new) if grapheme.len() < LONG_GRAPHEME_BYTES => changes.push(grapheme, new),
                _ => {
                    for part in grapheme.split_inclusive(|_: char| true) {
                        changes.push(part, self.replacement(part).unwrap_or(part));
                    }
                }
            }
            if changes.bytes > limit {
                return Err(too_long(changes.bytes, limit));
            }
        }
        text.transform(changes.characters, changes.removed_in_front);
        Ok(())
    }

    /// What the shortest key becomes that `text` begins with; as the library has it, it stands for
    /// the whole `text`.
    fn replacement(&self, text: &str) -> Option<&str> {
        let unit = |at: usize| self.units.get(at).copied();
        let mut at = offset(unit(0)?);
        for byte in text.bytes().take_while(|byte| *byte != 0) {
            at ^= usize::from(byte);
            let found = unit(at)?;
            if label(found) != u32::from(byte) {
                return None;
            }
            at ^= offset(found);
            if has_leaf(found) {
                let texts = self.texts.get(value(unit(at)?)..)?;
                return texts.split('\0').next();
            }
        }
        None
    }
}

// A unit of a double array: eight bits of label, a flag, and how far away the children are.

fn label(unit: u32) -> u32 {
    unit & (1 << 31 | 0xff)
}

fn has_leaf(unit: u32) -> bool {
    unit >> 8 & 1 == 1
}

fn offset(unit: u32) -> usize {
    let is_far = unit >> 9 & 1 == 1;
    (unit as usize >> 10) << if is_far { 8 } else { 0 }
}

fn value(unit: u32) -> usize {
    (unit & !(1 << 31)) as usize
}

/// A new text, character by character, as the library keeps track of one.
#[derive(Default)]
struct Changes {
    /// Each with 1 where it is new, 0 where it stands for one of before, and less where it stands for
    /// those behind that too.
    characters: Vec<(char, isize)>,
    removed_in_front: usize,
    bytes: usize,
}

impl Changes {
    fn push(&mut self, old: &str, new: &str) {
        let num_old = old.chars().count();
        let characters = new.chars().enumerate();
        self.characters
            .extend(characters.map(|(at, new)| (new, isize::from(at >= num_old))));
        let removed = num_old.saturating_sub(new.chars().count());
        match self.characters.last_mut() {
            Some((_, change)) => *change -= removed as isize,
            None => self.removed_in_front += removed,
        }
        self.bytes += new.len();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::text::engine::{Effort, Normalized, NormalizerStage};

    /// A table of keys of one byte, each below 128.
    fn table(entries: &[(u8, &str)]) -> Vec<u8> {
        let (mut units, mut texts) = (vec![0_u32; 1024], String::new());
        // Children of the root lie where their byte says, their values 256 further.
        units[0] = 0;
        for (key, text) in entries {
            let at = usize::from(*key);
            units[at] = u32::from(*key) | 1 << 8 | 256 << 10;
            units[at ^ 256] = texts.len() as u32 | 1 << 31;
            texts.push_str(text);
            texts.push('\0');
        }
        let mut bytes = (4 * units.len() as u32).to_le_bytes().to_vec();
        bytes.extend(units.iter().flat_map(|unit| unit.to_le_bytes()));
        bytes.extend(texts.bytes());
        bytes
    }

    fn normalized(bytes: &[u8], text: &str) -> Normalized {
        let charsmap = Charsmap::parse(bytes).expect("a sound table");
        let stages = [NormalizerStage::Charsmap(charsmap.into())];
        let effort = Effort::for_bytes(text.len());
        Normalized::of(text, &stages, true, &effort).expect("a short text")
    }

    #[test]
    fn characters_become_longer_shorter_and_nothing() {
        let table = table(&[(b'a', "xyz"), (b'b', ""), (b'c', "C")]);
        assert_eq!(normalized(&table, "abcd").text(), "xyzCd");
        assert_eq!(normalized(&table, "bbab").text(), "xyz");
        assert_eq!(normalized(&table, "bb").text(), "");
        assert_eq!(normalized(&table, "").text(), "");
        // A character with its accents is looked at as a whole, unless it is long.
        assert_eq!(normalized(&table, "c\u{301}d").text(), "Cd");
        let long = "c\u{301}\u{302}\u{303}";
        assert_eq!(normalized(&table, long).text(), "C\u{301}\u{302}\u{303}");
    }

    #[test]
    fn each_character_is_traced_to_what_it_was() {
        let table = table(&[(b'a', "xyz"), (b'b', ""), (b'c', "C")]);
        for (text, part, of) in [
            ("bbbdc", 0..1, 3..4),
            ("bbbdc", 1..2, 4..5),
            ("ad", 3..4, 1..2),
            ("abbbd", 3..4, 4..5),
            ("dbbc", 1..2, 3..4),
        ] {
            let found = normalized(&table, text).original(part.clone());
            assert_eq!(found, Some(of), "{part:?} of {text}");
        }
    }

    #[test]
    fn a_damaged_table_is_refused_or_finds_nothing() {
        let sound = table(&[(b'a', "xyz")]);
        for cut in [0, 3, 4, 100, 1000] {
            Charsmap::parse(&sound[..cut]).expect_err("it ends early");
        }
        Charsmap::parse(&[3, 0, 0, 0, 1, 2, 3]).expect_err("a part of a unit");
        Charsmap::parse(&[&sound[..], b"\xff"].concat()).expect_err("no text");
        Charsmap::parse(&[&sound[..], &[b'x'; 65]].concat()).expect_err("a long text");
        Charsmap::parse(&vec![0; MAX_BYTES + 1]).expect_err("a long table");
        for pattern in [0, 0x61, 0xff, 0x161, 0x7fff_ff61, 0xffff_ffff_u32] {
            for units in [0, 1, 2, 300] {
                let mut bytes = (4 * units as u32).to_le_bytes().to_vec();
                bytes.extend((0..units).flat_map(|_| pattern.to_le_bytes()));
                bytes.extend("한글".bytes());
                normalized(&bytes, "abc 한글 \0 e\u{301}");
            }
        }
    }
}
