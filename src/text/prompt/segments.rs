//! Telling control tokens from text, by who wrote them.

use std::ops::Range;

/// A part of a prompt that is encoded by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Segment {
    /// Text, and the ranges of it that the template wrote. Control tokens count in no other.
    Text {
        text: String,
        owned: Vec<Range<usize>>,
    },
    /// Rows of a picture.
    Rows { image: usize, rows: usize },
}

impl Segment {
    pub(super) fn is_image(&self) -> bool {
        matches!(self, Self::Rows { .. })
    }
}

/// What the token that stands for a picture does to the white space around it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct RowStrip {
    pub(super) left: bool,
    pub(super) right: bool,
}

/// Collects a prompt piece by piece, and cuts it at the pictures.
#[derive(Debug)]
pub(super) struct SegmentBuilder {
    row_strip: RowStrip,
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

impl SegmentBuilder {
    pub(super) fn new(row_strip: RowStrip) -> Self {
        Self {
            row_strip,
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
        if self.row_strip.left {
            self.text.truncate(self.text.trim_end().len());
        }
        self.flush();
        self.segments.push(Segment::Rows { image, rows });
    }

    pub(super) fn finish(mut self) -> Vec<Segment> {
        self.flush();
        self.segments
    }

    fn flush(&mut self) {
        let mut text = std::mem::take(&mut self.text);
        let mut owned = std::mem::take(&mut self.owned);
        self.last_author = Author::Message;
        let is_behind_rows = self.segments.last().is_some_and(Segment::is_image);
        let mut cut = 0;
        if self.row_strip.right && is_behind_rows {
            cut = text.len() - text.trim_start().len();
            text.drain(..cut);
        }
        for range in &mut owned {
            let inside = |at: usize| at.saturating_sub(cut).min(text.len());
            *range = inside(range.start)..inside(range.end);
        }
        if !text.is_empty() {
            self.segments.push(Segment::Text { text, owned });
        }
    }
}
