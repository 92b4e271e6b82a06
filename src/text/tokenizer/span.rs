//! Encoding one span of text: what stands between two pictures.

use std::collections::HashSet;
use std::ops::Range;

use super::added::{AddedTokens, Span};
use crate::error::TokenizerError;
use crate::text::engine::{Effort, Engine, Normalized, SpanPlace};

/// What encoding a span needs of a tokenizer.
pub(super) struct Encoder<'a> {
    pub(super) engine: &'a Engine,
    pub(super) added: &'a AddedTokens,
    pub(super) forbidden_ids: &'a HashSet<u32>,
    pub(super) effort: &'a Effort,
}

impl Encoder<'_> {
    /// Encodes `text` onto the end of `ids`. The template wrote the `owned` ranges of it; no
    /// control token comes from anything else.
    pub(super) fn encode(
        &self,
        text: &str,
        owned: &[Range<usize>],
        place: SpanPlace,
        ids: &mut Vec<u32>,
    ) -> Result<(), String> {
        for span in self.added.cut(text, owned) {
            match span {
                Span::Token(id) => ids.push(id),
                Span::Text(range) => {
                    let is_owned = |part: Range<usize>| {
                        let part = range.start + part.start..range.start + part.end;
                        lies_within(&part, owned)
                    };
                    let place = place_at(range.start, place);
                    self.encode_unnormalized(&text[range.clone()], is_owned, place, ids)?;
                }
            }
        }
        Ok(())
    }

    fn encode_unnormalized(
        &self,
        text: &str,
        is_owned: impl Fn(Range<usize>) -> bool,
        place: SpanPlace,
        ids: &mut Vec<u32>,
    ) -> Result<(), String> {
        let traced = self.added.has_normalized();
        let normalized = self.engine.normalize(text, traced, self.effort)?;
        if !traced {
            return self.encode_normalized(normalized.text(), place, ids);
        }
        let may_count = |range| original(&normalized, range).is_some_and(&is_owned);
        for span in self.added.cut_normalized(normalized.text(), may_count) {
            match span {
                Span::Token(id) => ids.push(id),
                Span::Text(range) => {
                    let place = place_at(range.start, place);
                    self.encode_normalized(&normalized.text()[range], place, ids)?;
                }
            }
        }
        Ok(())
    }

    /// Encodes text in which no added token counts; no forbidden id is among its ids.
    ///
    /// A vocabulary may hold a control token as an ordinary piece too, and merge its way to it.
    /// Such a piece is cut in half, and the halves are encoded apart. Every round shortens what can
    /// be found, so there are as many rounds as the longest control token can be halved.
    fn encode_normalized(
        &self,
        text: &str,
        place: SpanPlace,
        ids: &mut Vec<u32>,
    ) -> Result<(), String> {
        let mut pending = vec![(text, place)];
        while let Some((text, place)) = pending.pop() {
            let start = ids.len();
            self.engine.encode(text, place, self.effort, ids)?;
            if ids[start..]
                .iter()
                .any(|id| self.forbidden_ids.contains(id))
            {
                ids.truncate(start);
                let mut parts = self.halve(text, place)?;
                parts.reverse();
                pending.extend(parts);
            }
        }
        Ok(())
    }

    fn halve<'t>(
        &self,
        text: &'t str,
        place: SpanPlace,
    ) -> Result<Vec<(&'t str, SpanPlace)>, String> {
        let mut parts = Vec::new();
        let mut start = 0;
        for (id, range) in self.engine.encode_with_ranges(text, place, self.effort)? {
            if !self.forbidden_ids.contains(&id) {
                continue;
            }
            let middle = middle(text, range).filter(|&middle| middle > start);
            let middle =
                middle.ok_or_else(|| format!("control token {id} cannot be kept out of it"))?;
            parts.push((&text[start..middle], place_at(start, place)));
            start = middle;
        }
        parts.push((&text[start..], place_at(start, place)));
        Ok(parts)
    }
}

/// A text that the tokenizer gave up on.
pub(super) fn cannot_encode(reason: String) -> TokenizerError {
    TokenizerError::Encode { reason }
}

/// The bytes that a token in normalised text was made of. What was made of nothing was written by
/// nobody.
fn original(normalized: &Normalized, range: Range<usize>) -> Option<Range<usize>> {
    normalized.original(range).filter(|range| !range.is_empty())
}

/// Whether a range lies within one of several that are in order.
fn lies_within(range: &Range<usize>, owned: &[Range<usize>]) -> bool {
    let at = owned.partition_point(|owned| owned.end < range.end);
    owned
        .get(at)
        .is_some_and(|owned| owned.start <= range.start && range.end <= owned.end)
}

fn place_at(start: usize, place: SpanPlace) -> SpanPlace {
    if start == 0 {
        place
    } else {
        SpanPlace::Continuation
    }
}

/// The character border nearest to the middle of a range, strictly inside it.
fn middle(text: &str, range: Range<usize>) -> Option<usize> {
    let (from, to) = (range.start, range.end);
    let half = from + to.checked_sub(from)? / 2;
    (half..to)
        .chain((from..half).rev())
        .find(|&at| at > from && text.is_char_boundary(at))
}
