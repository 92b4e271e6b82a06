//! Telling control tokens from text, by who wrote them.

use std::ops::Range;

use crate::text::control_tokens::ControlTokens;

/// A part of a prompt that is encoded by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// A control token.
    Control(u32),
    /// Text in which no control token counts.
    Text(String),
    /// Rows of a picture.
    Rows { image: usize, rows: usize },
}

impl Segment {
    pub(super) fn is_image(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }
}

/// Collects a prompt piece by piece and cuts it at the control tokens of the template.
#[derive(Debug)]
pub(super) struct SegmentBuilder<'a> {
    control_tokens: &'a ControlTokens,
    /// Text since the last picture.
    text: String,
    /// The ranges of `text` that the template wrote.
    owned: Vec<Range<usize>>,
    segments: Vec<Segment>,
    last_author: Author,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Author {
    Template,
    Message,
}

impl<'a> SegmentBuilder<'a> {
    pub(super) fn new(control_tokens: &'a ControlTokens) -> Self {
        Self {
            control_tokens,
            text: String::new(),
            owned: Vec::new(),
            segments: Vec::new(),
            last_author: Author::Message,
        }
    }

    pub(super) fn push_template(&mut self, text: &str) {
        let start = self.text.len();
        self.text.push_str(text);
        match self.owned.last_mut() {
            Some(owned) if self.last_author == Author::Template => owned.end = self.text.len(),
            _ => self.owned.push(start..self.text.len()),
        }
        self.last_author = Author::Template;
    }

    /// An empty text counts too: what stands before and behind it cannot form a control token.
    pub(super) fn push_message(&mut self, text: &str) {
        self.text.push_str(text);
        self.last_author = Author::Message;
    }

    pub(super) fn push_rows(&mut self, image: usize, rows: usize) {
        self.flush();
        self.segments.push(Segment::Rows { image, rows });
    }

    pub(super) fn finish(mut self) -> Vec<Segment> {
        self.flush();
        self.segments
    }

    fn flush(&mut self) {
        let text = std::mem::take(&mut self.text);
        let owned = std::mem::take(&mut self.owned);
        self.last_author = Author::Message;
        let mut end = 0;
        for found in self.control_tokens.find(&text, &owned) {
            self.push_text(&text[end..found.range.start]);
            self.segments.push(Segment::Control(found.id));
            end = found.range.end;
        }
        self.push_text(&text[end..]);
    }

    fn push_text(&mut self, text: &str) {
        if !text.is_empty() {
            self.segments.push(Segment::Text(text.to_string()));
        }
    }
}
