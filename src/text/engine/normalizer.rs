//! Normalizing a text, stage by stage.

use std::ops::Range;
use std::sync::Arc;

use tokenizers::normalizer::Range as LibraryRange;
use tokenizers::{NormalizedString, Normalizer, NormalizerWrapper};

use super::charsmap::Charsmap;
use super::effort::Effort;
use super::matcher::Matcher;
use super::{growth_limit, too_long};

/// Most bytes that a stage of the library gets without being tried.
const PART_BYTES: usize = 128 << 10;

/// One stage of a normalizer.
#[derive(Debug, Clone)]
pub(crate) enum NormalizerStage {
    /// Puts `content` in the place of what is found.
    Replace { wanted: Matcher, content: String },
    /// Puts a text in front, unless there is nothing to put it in front of.
    Prepend(String),
    /// Puts other characters in the place of some, by a table.
    Charsmap(Arc<Charsmap>),
    /// A stage of the library that has no settings which a file could abuse.
    Library(NormalizerWrapper),
}

impl NormalizerStage {
    fn apply(
        &self,
        text: &mut NormalizedString,
        limit: usize,
        effort: &Effort,
    ) -> Result<(), String> {
        let done = match self {
            Self::Replace { wanted, content } => {
                let found = wanted.find(text.get(), effort)?;
                let length = found.replaced_len(content.len());
                if length > limit {
                    return Err(too_long(length, limit));
                }
                text.replace(found, content)
            }
            Self::Prepend(content) => {
                text.prepend(content);
                Ok(())
            }
            Self::Charsmap(charsmap) => {
                charsmap.apply(text, limit)?;
                Ok(())
            }
            Self::Library(normalizer) => {
                check_growth(normalizer, text.get(), limit)?;
                normalizer.normalize(text)
            }
        };
        done.map_err(|error| error.to_string())?;
        effort.check()?;
        match text.len() {
            length if length > limit => Err(too_long(length, limit)),
            _ => Ok(()),
        }
    }
}

/// Tries a stage on parts of a long text. One character may become eighteen, and each byte takes
/// some thirty while a text is normalised.
fn check_growth(normalizer: &NormalizerWrapper, text: &str, limit: usize) -> Result<(), String> {
    if text.len() <= PART_BYTES {
        return Ok(());
    }
    let (mut length, mut rest) = (0, text);
    while !rest.is_empty() {
        let (part, behind) = rest.split_at(rest.floor_char_boundary(PART_BYTES));
        let mut part = NormalizedString::from(part);
        normalizer
            .normalize(&mut part)
            .map_err(|error| error.to_string())?;
        length += part.len();
        if length > limit {
            return Err(too_long(length, limit));
        }
        rest = behind;
    }
    Ok(())
}

/// What the normalizer made of a text.
#[derive(Debug)]
pub(crate) struct Normalized {
    text: String,
    /// What each stage did, where that is asked for.
    trail: Vec<NormalizedString>,
}

impl Normalized {
    /// Each stage starts anew, with a text that is its own original: the library's stages read past
    /// the end of what some other stages leave.
    pub(super) fn of(
        text: &str,
        stages: &[NormalizerStage],
        traced: bool,
        effort: &Effort,
    ) -> Result<Self, String> {
        let limit = growth_limit(text.len());
        let mut text = text.to_string();
        let mut trail = Vec::new();
        for stage in stages {
            let mut step = NormalizedString::from(text);
            stage.apply(&mut step, limit, effort)?;
            text = step.get().to_string();
            if traced {
                trail.push(step);
            }
        }
        Ok(Self { text, trail })
    }

    pub(crate) fn text(&self) -> &str {
        &self.text
    }

    /// The bytes of the original that the bytes `range` were made of.
    pub(crate) fn original(&self, range: Range<usize>) -> Option<Range<usize>> {
        let trace = |range: Range<usize>, step: &NormalizedString| {
            step.convert_offsets(LibraryRange::Normalized(range))
        };
        self.trail.iter().rev().try_fold(range, trace)
    }
}
