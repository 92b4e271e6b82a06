//! Patterns of a tokenizer file, run so that no pattern and no text take forever.
//!
//! Three things can make a regular expression slow, and each has its bound. One that backtracks may
//! take exponential time for a single match: it is refused, unless its only look-ahead is the one
//! that every child of GPT-2 has, `\s+(?!\S)`, which gives back one character. One that does not
//! backtrack takes time linear in the rest of the text for each match, and there may be a match for
//! each character: a deadline is looked at between matches. And one of a few bytes may repeat
//! itself a million times: what it stands for is bounded too.

use std::sync::Arc;

use fancy_regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};
use tokenizers::pattern::Pattern;
use tokenizers::{Offsets, Result as LibraryResult};

use super::MAX_TOKEN_BYTES;
use super::effort::Effort;

/// Longest regular expression; the longest seen has 500 bytes.
const MAX_PATTERN_BYTES: usize = 4 << 10;

/// Most characters that a regular expression looks at, with each counted repetition written out.
/// Those seen have a hundred.
const MAX_STEPS: usize = 2000;

/// Largest compiled regular expression; the largest seen take a twentieth of it.
const MAX_COMPILED_BYTES: usize = 8 << 20;

/// White space up to the last character of it, as GPT-2 and its children want it.
const TRAILING_SPACE: &str = r"\s+(?!\S)";

/// Patterns of known tokenizers whose possessive quantifiers keep them from backtracking.
const POSSESSIVE: &[&str] = &[
    // cl100k_base, the tokenizer of GPT-4, as OpenAI writes it.
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
    r"'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+",
];

/// What is looked for in a text.
#[derive(Debug, Clone)]
pub(crate) struct Matcher {
    kind: Arc<Kind>,
}

#[derive(Debug)]
enum Kind {
    Text(String),
    Pattern(Regex),
}

impl Matcher {
    /// Looks for a text as it is.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn text(text: &str) -> Result<Self, String> {
        match text.len() {
            0 => Err("the empty text is looked for".to_string()),
            1..=MAX_TOKEN_BYTES => Ok(Kind::Text(text.to_string()).into()),
            length => Err(format!("a text of {length} bytes is looked for")),
        }
    }

    /// Looks for a regular expression.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn pattern(pattern: &str) -> Result<Self, String> {
        if pattern.len() > MAX_PATTERN_BYTES {
            let length = pattern.len();
            return Err(format!("a regular expression has {length} bytes"));
        }
        if !POSSESSIVE.contains(&pattern) {
            check_linear(pattern)?;
        }
        let regex = RegexBuilder::new(pattern)
            .delegate_size_limit(MAX_COMPILED_BYTES)
            .build()
            .map_err(|error| format!("a regular expression cannot be used: {error}"))?;
        Ok(Kind::Pattern(regex).into())
    }

    /// Whether this regular expression is looked for.
    pub(crate) fn is_pattern(&self, pattern: &str) -> bool {
        matches!(&*self.kind, Kind::Pattern(regex) if regex.as_str() == pattern)
    }

    /// Fewest bytes that are found at once.
    pub(crate) fn shortest(&self) -> usize {
        match &*self.kind {
            Kind::Text(text) => text.len(),
            Kind::Pattern(_) => 1,
        }
    }

    /// Cuts `text` into what is found and what stands between.
    ///
    /// # Errors
    ///
    /// That the time is up.
    pub(crate) fn find(&self, text: &str, effort: &Effort) -> Result<Found, String> {
        let mut found = Found::default();
        match &*self.kind {
            Kind::Text(wanted) => {
                for (start, part) in text.match_indices(wanted.as_str()) {
                    found.push(start, start + part.len());
                }
            }
            Kind::Pattern(regex) => {
                for part in regex.find_iter(text) {
                    effort.check()?;
                    let part = part.map_err(|error| error.to_string())?;
                    found.push(part.start(), part.end());
                }
            }
        }
        found.finish(text.len());
        Ok(found)
    }
}

impl From<Kind> for Matcher {
    fn from(kind: Kind) -> Self {
        Self {
            kind: Arc::new(kind),
        }
    }
}

/// The parts of a text, with whether each was looked for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Found {
    pub(super) parts: Vec<(Offsets, bool)>,
    end: usize,
}

impl Found {
    fn push(&mut self, start: usize, end: usize) {
        if self.end != start {
            self.parts.push(((self.end, start), false));
        }
        self.parts.push(((start, end), true));
        self.end = end;
    }

    fn finish(&mut self, length: usize) {
        // The library wants an empty text to be one part.
        if self.end != length || self.parts.is_empty() {
            self.parts.push(((self.end, length), false));
        }
    }

    /// Bytes of the text once each match is replaced by `content` bytes.
    pub(crate) fn replaced_len(&self, content: usize) -> usize {
        let lengths = self.parts.iter().map(
            |&((start, end), is_match)| {
                if is_match { content } else { end - start }
            },
        );
        lengths.fold(0, usize::saturating_add)
    }

    /// The text with each match replaced by `content`.
    pub(crate) fn replace(&self, text: &str, content: &str) -> String {
        let parts = self.parts.iter().map(
            |&((start, end), is_match)| {
                if is_match { content } else { &text[start..end] }
            },
        );
        parts.collect()
    }

    pub(super) fn inverted(mut self) -> Self {
        for (_, is_match) in &mut self.parts {
            *is_match = !*is_match;
        }
        self
    }
}

impl Pattern for Found {
    fn find_matches(&self, _inside: &str) -> LibraryResult<Vec<(Offsets, bool)>> {
        Ok(self.parts.clone())
    }
}

/// Refuses what cannot be matched without backtracking.
fn check_linear(pattern: &str) -> Result<(), String> {
    let unsupported = |what: &str| {
        Err(format!(
            "a regular expression {what}, which only those of known tokenizers may: {}",
            pattern.chars().take(80).collect::<String>()
        ))
    };
    let alternatives = alternatives(pattern);
    if alternatives.has_possessive {
        return unsupported("has a possessive quantifier");
    }
    // Comments could hide from the cutting what the engine sees.
    if sets_verbose_mode(pattern) {
        return unsupported("has comments");
    }
    let linear: Vec<&str> = alternatives
        .texts
        .into_iter()
        .map(|text| if text == TRAILING_SPACE { r"\s+" } else { text })
        .collect();
    match regex_syntax::parse(&linear.join("|")) {
        Ok(hir) if steps(&hir) > MAX_STEPS => {
            Err("a regular expression repeats itself beyond all measure".to_string())
        }
        Ok(_) => Ok(()),
        Err(regex_syntax::Error::Parse(error)) => match error.kind() {
            regex_syntax::ast::ErrorKind::UnsupportedLookAround
            | regex_syntax::ast::ErrorKind::UnsupportedBackreference => {
                unsupported("looks around itself or back")
            }
            kind => Err(format!("a regular expression cannot be used: {kind}")),
        },
        Err(_) => unsupported("is not plain"),
    }
}

/// How many characters a regular expression may look at, one behind the other or side by side.
fn steps(hir: &Hir) -> usize {
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) | HirKind::Class(_) => 1,
        HirKind::Literal(literal) => literal.0.len(),
        HirKind::Repetition(repetition) => {
            let count = repetition.max.unwrap_or(repetition.min.saturating_add(1));
            steps(&repetition.sub).saturating_mul(count as usize)
        }
        HirKind::Capture(capture) => steps(&capture.sub),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => {
            parts.iter().map(steps).fold(0, usize::saturating_add)
        }
    }
}

/// A regular expression, cut where it says "or" outside of all brackets.
struct Alternatives<'p> {
    texts: Vec<&'p str>,
    has_possessive: bool,
}

fn alternatives(pattern: &str) -> Alternatives<'_> {
    let (mut texts, mut start, mut has_possessive) = (Vec::new(), 0, false);
    let (mut groups, mut classes) = (0_usize, 0_usize);
    let (mut is_escaped, mut was_quantifier) = (false, false);
    // Where a class begins, a closing bracket is a character of it.
    let mut class_begins = None;
    // A brace behind an escape opens a name, such as that of a property.
    let (mut name_may_begin, mut is_in_name) = (false, false);
    for (at, character) in pattern.char_indices() {
        let escaped = std::mem::take(&mut is_escaped);
        let behind_escape = std::mem::replace(&mut name_may_begin, escaped);
        let after_quantifier = std::mem::take(&mut was_quantifier);
        match character {
            _ if escaped => {}
            '}' if is_in_name => is_in_name = false,
            _ if is_in_name => {}
            '{' if behind_escape => is_in_name = true,
            '\\' => is_escaped = true,
            '[' => {
                classes += 1;
                class_begins = Some(at + 1);
            }
            '^' if class_begins == Some(at) => class_begins = Some(at + 1),
            ']' if class_begins == Some(at) => {}
            ']' => classes = classes.saturating_sub(1),
            _ if classes > 0 => {}
            '(' => groups += 1,
            ')' => groups = groups.saturating_sub(1),
            '|' if groups == 0 => {
                texts.push(&pattern[start..at]);
                start = at + 1;
            }
            '+' if after_quantifier => has_possessive = true,
            '?' | '*' | '+' | '}' => was_quantifier = true,
            _ => {}
        }
    }
    texts.push(&pattern[start..]);
    Alternatives {
        texts,
        has_possessive,
    }
}

/// Whether a group of flags may hold the one that allows comments.
fn sets_verbose_mode(pattern: &str) -> bool {
    let is_flag = |character: char| character.is_ascii_alphabetic() || character == '-';
    pattern.split("(?").skip(1).any(|group| {
        let flags = group.split(|character| !is_flag(character)).next();
        flags.is_some_and(|flags| flags.contains('x'))
    })
}

#[cfg(test)]
mod tests;
