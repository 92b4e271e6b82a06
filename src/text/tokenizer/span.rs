//! Encoding one span of text: what stands between two control tokens or pictures.

use std::collections::HashSet;

use serde_json::Value;
use tokenizers::{Encoding, Model, OffsetType, PreTokenizer, PreTokenizerWrapper};

use crate::error::TokenizerError;

/// Where a span stands. Some tokenizers put a space in front of the first span only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanPlace {
    /// At the very start of a prompt.
    Start,
    /// Behind a control token or a picture.
    Continuation,
}

/// Makes the pre-tokenizer for spans that do not stand at the start.
///
/// Hugging Face encodes a prompt in one call, and its `Metaspace` with scheme `first` looks at the
/// offset in the prompt. Spans are encoded one by one here, so that the offset is always zero, and
/// the scheme has to be switched off instead.
pub(super) fn continuation_pre_tokenizer(
    pre_tokenizer: Option<&PreTokenizerWrapper>,
) -> Result<Option<PreTokenizerWrapper>, TokenizerError> {
    let failed = |error: serde_json::Error| TokenizerError::Encode {
        reason: error.to_string(),
    };
    let Some(pre_tokenizer) = pre_tokenizer else {
        return Ok(None);
    };
    let mut value = serde_json::to_value(pre_tokenizer).map_err(failed)?;
    if !never_prepend(&mut value) {
        return Ok(None);
    }
    Ok(Some(serde_json::from_value(value).map_err(failed)?))
}

/// Replaces the scheme `first` by `never`, and says whether there was one.
fn never_prepend(pre_tokenizer: &mut Value) -> bool {
    let mut is_changed = false;
    if let Some(scheme) = pre_tokenizer.get_mut("prepend_scheme")
        && scheme == "first"
    {
        *scheme = Value::from("never");
        is_changed = true;
    }
    if let Some(Value::Array(children)) = pre_tokenizer.get_mut("pretokenizers") {
        for child in children {
            is_changed |= never_prepend(child);
        }
    }
    is_changed
}

/// What encoding a span needs of a tokenizer.
pub(super) struct Encoder<'a> {
    pub(super) backend: &'a tokenizers::Tokenizer,
    pub(super) continuation: Option<&'a PreTokenizerWrapper>,
    pub(super) forbidden_ids: &'a HashSet<u32>,
}

impl Encoder<'_> {
    /// Encodes `text` onto the end of `ids`; no forbidden id is among them.
    ///
    /// The library is told not to look for special tokens, but a vocabulary may hold one as an
    /// ordinary piece too, and merge its way to it. Such a piece is cut in half, and the halves are
    /// encoded apart. Every round shortens what can be found, so there are as many rounds as the
    /// longest control token can be halved.
    pub(super) fn encode(
        &self,
        text: &str,
        place: SpanPlace,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        let mut pending = vec![(text, place)];
        while let Some((text, place)) = pending.pop() {
            let encoding = self.encode_once(text, place, OffsetType::None)?;
            if !encoding
                .get_ids()
                .iter()
                .any(|id| self.forbidden_ids.contains(id))
            {
                ids.extend(encoding.get_ids());
                continue;
            }
            let mut parts = self.cut(text, place)?;
            parts.reverse();
            pending.extend(parts);
        }
        Ok(())
    }

    fn cut<'t>(
        &self,
        text: &'t str,
        place: SpanPlace,
    ) -> Result<Vec<(&'t str, SpanPlace)>, TokenizerError> {
        let encoding = self.encode_once(text, place, OffsetType::Byte)?;
        let mut parts = Vec::new();
        let mut start = 0;
        for (id, &(from, to)) in encoding.get_ids().iter().zip(encoding.get_offsets()) {
            if !self.forbidden_ids.contains(id) {
                continue;
            }
            let middle = middle(text, from, to).filter(|&middle| middle > start);
            let middle = middle.ok_or_else(|| TokenizerError::Encode {
                reason: format!("control token {id} cannot be kept out of it"),
            })?;
            parts.push((&text[start..middle], place_at(start, place)));
            start = middle;
        }
        parts.push((&text[start..], place_at(start, place)));
        Ok(parts)
    }

    fn encode_once(
        &self,
        text: &str,
        place: SpanPlace,
        offsets: OffsetType,
    ) -> Result<Encoding, TokenizerError> {
        let pre_tokenizer = match (place, self.continuation) {
            (SpanPlace::Continuation, Some(continuation)) => Some(continuation),
            _ => self.backend.get_pre_tokenizer(),
        };
        let added = self.backend.get_added_vocabulary();
        let mut span = added.extract_and_normalize(self.backend.get_normalizer(), text);
        let encoding = pre_tokenizer
            .map_or(Ok(()), |pre_tokenizer| {
                pre_tokenizer.pre_tokenize(&mut span)
            })
            .and_then(|()| {
                self.backend
                    .get_model()
                    .tokenize_in_pretokenized(&mut span, None)
            })
            .and_then(|()| span.into_encoding(None, 0, offsets));
        encoding.map_err(|error| TokenizerError::Encode {
            reason: error.to_string(),
        })
    }
}

fn place_at(start: usize, place: SpanPlace) -> SpanPlace {
    if start == 0 {
        place
    } else {
        SpanPlace::Continuation
    }
}

/// The character border nearest to the middle of a range, strictly inside it.
fn middle(text: &str, from: usize, to: usize) -> Option<usize> {
    let half = from + to.checked_sub(from)? / 2;
    (half..to)
        .chain((from..half).rev())
        .find(|&at| at > from && text.is_char_boundary(at))
}
