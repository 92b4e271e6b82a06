//! Text that knows who wrote it.

use std::ops::Range;
use std::rc::Rc;

use super::meter::Meter;
use crate::error::TemplateError;

/// Longest text, and so the longest rendered prompt: four times the longest that is tokenised.
const MAX_TEXT_BYTES: usize = 4 << 20;

/// Who wrote a piece of text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Author {
    /// The template's own literals, or the caller: control tokens count.
    Template,
    /// The message with this index.
    Message(usize),
    /// Nobody: what was computed, such as a number, a date or the brackets of a printed list.
    Computed,
}

impl Author {
    /// Whether nothing that it writes counts.
    pub(super) fn is_foreign(self) -> bool {
        self != Self::Template
    }
}

/// A string as Python has it, each part of which knows its author.
#[derive(Debug, Clone)]
pub(super) struct Text(Rc<TextData>);

#[derive(Debug)]
struct TextData {
    string: String,
    runs: Vec<Run>,
    num_chars: usize,
}

/// A part by one author, from the end of the run before it. A run of a foreign author may be
/// empty: it still parts what stands on its two sides.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: usize,
    author: Author,
}

impl Text {
    pub(super) fn new(text: &str, author: Author, meter: &Meter) -> Result<Self, TemplateError> {
        let mut builder = TextBuilder::new(meter);
        builder.push(text, author)?;
        Ok(builder.finish())
    }

    pub(super) fn as_str(&self) -> &str {
        &self.0.string
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.string.is_empty()
    }

    pub(super) fn num_chars(&self) -> usize {
        self.0.num_chars
    }

    /// The parts, each with its author.
    pub(super) fn runs(&self) -> impl Iterator<Item = (&str, Author)> {
        let mut start = 0;
        self.0.runs.iter().map(move |run| {
            let part = &self.0.string[start..run.end];
            start = run.end;
            (part, run.author)
        })
    }

    /// The characters, each with its author.
    pub(super) fn chars(&self) -> impl Iterator<Item = (char, Author)> {
        self.runs()
            .flat_map(|(part, author)| part.chars().map(move |c| (c, author)))
    }

    /// An author that is not the template, if any wrote in it.
    pub(super) fn foreign_author(&self) -> Option<Author> {
        let mut authors = self.0.runs.iter().map(|run| run.author);
        authors.find(|author| author.is_foreign())
    }

    /// A foreign author in a part of the text, or at an empty place.
    pub(super) fn foreign_author_of(&self, range: Range<usize>) -> Option<Author> {
        let mut authors = self.parts(range).map(|(_, author)| author);
        authors.find(|author| author.is_foreign())
    }

    /// What each author wrote of a part of the text. Empty runs count at its borders too, and at
    /// an empty place those on its two sides.
    fn parts(&self, range: Range<usize>) -> impl Iterator<Item = (Range<usize>, Author)> {
        let runs = &self.0.runs;
        let first = runs.partition_point(|run| run.end < range.start);
        let start = first.checked_sub(1).map_or(0, |before| runs[before].end);
        let whole = runs[first..].iter().scan(start, |start, run| {
            let part = *start..run.end;
            *start = run.end;
            Some((part, run.author))
        });
        let (start, end) = (range.start, range.end);
        whole
            .take_while(move |(part, _)| part.start <= end)
            .map(move |(part, author)| (part.is_empty(), part, author))
            .map(move |(is_gap, part, author)| {
                let part = part.start.clamp(start, end)..part.end.clamp(start, end);
                (is_gap, part, author)
            })
            .filter(move |(is_gap, part, _)| *is_gap || start == end || !part.is_empty())
            .map(|(_, part, author)| (part, author))
    }

    /// A part of the text, in bytes.
    pub(super) fn slice(&self, range: Range<usize>, meter: &Meter) -> Result<Self, TemplateError> {
        let mut builder = TextBuilder::new(meter);
        builder.push_part(self, range)?;
        Ok(builder.finish())
    }

    /// Where a character begins, in bytes; the end of the text for the number of characters.
    pub(super) fn byte_of(&self, character: usize, meter: &Meter) -> Result<usize, TemplateError> {
        let string = &self.0.string;
        if self.0.num_chars == string.len() {
            return Ok(character.min(string.len()));
        }
        meter.bytes(string.len())?;
        let mut at = string.char_indices().map(|(at, _)| at);
        Ok(at.nth(character).unwrap_or(string.len()))
    }
}

/// Puts a text together, and charges for it first.
#[derive(Debug)]
pub(super) struct TextBuilder<'m> {
    meter: &'m Meter,
    string: String,
    runs: Vec<Run>,
    num_chars: usize,
}

impl<'m> TextBuilder<'m> {
    pub(super) fn new(meter: &'m Meter) -> Self {
        Self {
            meter,
            string: String::new(),
            runs: Vec::new(),
            num_chars: 0,
        }
    }

    pub(super) fn meter(&self) -> &'m Meter {
        self.meter
    }

    /// Appends text of one author.
    pub(super) fn push(&mut self, text: &str, author: Author) -> Result<(), TemplateError> {
        let end = self.string.len() + text.len();
        self.meter.written(self.string.len(), end)?;
        if end > MAX_TEXT_BYTES {
            return Err(TemplateError::OutputTooLong {
                found_bytes: end,
                limit_bytes: MAX_TEXT_BYTES,
            });
        }
        match self.runs.last_mut() {
            Some(run) if run.author == author => run.end = end,
            _ if text.is_empty() && !author.is_foreign() => {}
            last => {
                self.meter.steps(if last.is_some() { 1 } else { 3 })?;
                self.runs.push(Run { end, author });
            }
        }
        self.string.push_str(text);
        self.num_chars += text.chars().count();
        Ok(())
    }

    /// Appends one character.
    pub(super) fn push_char(&mut self, c: char, author: Author) -> Result<(), TemplateError> {
        self.push(c.encode_utf8(&mut [0; 4]), author)
    }

    /// Appends a text with its authors.
    pub(super) fn push_text(&mut self, text: &Text) -> Result<(), TemplateError> {
        for (part, author) in text.runs() {
            self.push(part, author)?;
        }
        Ok(())
    }

    /// Appends a part of a text, in bytes, with its authors.
    pub(super) fn push_part(
        &mut self,
        text: &Text,
        range: Range<usize>,
    ) -> Result<(), TemplateError> {
        for (part, author) in text.parts(range) {
            self.push(&text.as_str()[part], author)?;
        }
        Ok(())
    }

    /// Appends a text several times.
    pub(super) fn push_repeated(&mut self, text: &Text, times: usize) -> Result<(), TemplateError> {
        let parts = text.as_str().len() / 64 + text.0.runs.len();
        self.meter.values(parts.saturating_mul(times))?;
        for _ in 0..times {
            self.push_text(text)?;
        }
        Ok(())
    }

    pub(super) fn finish(self) -> Text {
        Text(Rc::new(TextData {
            string: self.string,
            runs: self.runs,
            num_chars: self.num_chars,
        }))
    }
}
