//! The tokenizer of a checkpoint: text to ids and back, as Hugging Face does, safe with any text.

mod added;
mod configured;
mod control;
mod open;
mod span;

use std::collections::HashSet;
use std::ops::Range;
use std::sync::Arc;

use self::added::AddedTokens;
use self::span::cannot_encode;
use super::control_tokens::ControlTokens;
use super::detokenizer::Detokenizer;
use super::engine::{Effort, Engine, SpanPlace};
use super::stream::TextStream;
use super::tokenizer_config::TokenizerConfig;
use super::tokenizer_json::Affixes;
use crate::error::{Result, TokenizerError};

/// The tokenizer of a checkpoint.
///
/// It encodes and decodes as Hugging Face's `transformers` does with one difference: the text given
/// to it never becomes a control token, whatever it spells. Cloning is cheap; clones share the
/// vocabulary.
///
/// # Examples
///
/// ```
/// use burn_vlm::Tokenizer;
///
/// let tokenizer = Tokenizer::from_json_bytes(
///     br#"{
///         "version": "1.0",
///         "added_tokens": [{
///             "id": 3, "content": "<s>", "special": true, "normalized": false,
///             "lstrip": false, "rstrip": false, "single_word": false
///         }],
///         "model": {
///             "type": "BPE",
///             "vocab": {"h": 0, "i": 1, "hi": 2},
///             "merges": [["h", "i"]]
///         }
///     }"#,
/// )?;
/// assert_eq!(tokenizer.encode("hi")?, [2]);
/// assert_eq!(tokenizer.token_id("<s>"), Some(3));
/// assert_eq!(tokenizer.vocab_size(), 4);
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct Tokenizer {
    inner: Arc<Inner>,
}

#[derive(Debug, Clone)]
struct Inner {
    engine: Arc<Engine>,
    added: AddedTokens,
    detokenizer: Detokenizer,
    control_tokens: ControlTokens,
    /// Ids that no text of a user may produce.
    forbidden_ids: HashSet<u32>,
    /// Ids that decoding skips.
    hidden_ids: HashSet<u32>,
    affixes: Affixes,
    config: TokenizerConfig,
    vocab_size: usize,
}

impl Tokenizer {
    /// The id of a token, by its exact spelling in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        let added = self.inner.added.id(token);
        added.or_else(|| self.inner.engine.token_to_id(token))
    }

    /// The spelling of a token in the vocabulary, where a space may be another character.
    pub fn token_text(&self, id: u32) -> Option<String> {
        match self.inner.added.get(id) {
            Some(added) => Some(added.token.content.clone()),
            None => self.inner.engine.id_to_token(id),
        }
    }

    /// The largest id and one: the rows an embedding needs at least.
    pub fn vocab_size(&self) -> usize {
        self.inner.vocab_size
    }

    /// The ids that the checkpoint puts in front of a prompt; many put none.
    pub fn bos_ids(&self) -> &[u32] {
        &self.inner.affixes.prefix
    }

    /// The token that the checkpoint calls the beginning of a text.
    pub fn bos_id(&self) -> Option<u32> {
        self.named_id("bos_token")
    }

    /// The token that the checkpoint calls the end of a text.
    ///
    /// `generation_config.json` may name more tokens that end an answer.
    pub fn eos_id(&self) -> Option<u32> {
        self.named_id("eos_token")
    }

    fn named_id(&self, name: &str) -> Option<u32> {
        self.token_id(&self.inner.config.named.get(name)?.content)
    }

    /// Every token that the checkpoint gives a name, such as `eos_token`, with its spelling.
    pub(crate) fn named_tokens(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner
            .config
            .named
            .iter()
            .map(|(name, token)| (name.as_str(), token.content.as_str()))
    }

    /// The tokens that only a template or the caller may put into a prompt.
    pub(crate) fn control_tokens(&self) -> &ControlTokens {
        &self.inner.control_tokens
    }

    /// Encodes a whole text with what the checkpoint puts around one (bos, `[CLS]`, ...).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] when the vocabulary cannot spell the text, or the tokenizer's
    /// file makes that take beyond all measure.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.inner.affixes.prefix.clone();
        ids.extend(self.encode_bare(text)?);
        ids.extend(&self.inner.affixes.suffix);
        Ok(ids)
    }

    /// Encodes a whole text and puts nothing around it.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn encode_bare(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        let effort = Effort::for_bytes(text.len());
        self.encode_span(text, &[], SpanPlace::Start, &effort, &mut ids)?;
        Ok(ids)
    }

    /// Encodes text onto the end of `ids`. Control tokens count in the `owned` ranges, which the
    /// template wrote.
    pub(crate) fn encode_span(
        &self,
        text: &str,
        owned: &[Range<usize>],
        place: SpanPlace,
        effort: &Effort,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        span::Encoder {
            engine: &self.inner.engine,
            added: &self.inner.added,
            forbidden_ids: &self.inner.forbidden_ids,
            effort,
        }
        .encode(text, owned, place, ids)
        .map_err(cannot_encode)
    }

    /// Whether a token swallows the white space before it, and behind it.
    pub(crate) fn strips(&self, id: u32) -> (bool, bool) {
        let added = self.inner.added.get(id);
        added.map_or((false, false), |it| (it.token.lstrip, it.token.rstrip))
    }

    /// Decodes ids, skipping special tokens and ids outside of the vocabulary.
    ///
    /// Bytes that form no character become U+FFFD, as in Python.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = self.detokenizer();
        let mut text = String::new();
        for token in ids.iter().filter_map(|&id| self.visible_token(id, false)) {
            text.push_str(&detokenizer.push(token));
        }
        text.push_str(&detokenizer.finish());
        text
    }

    /// Starts a stream that decodes ids one by one and ends at the first of the `stop` strings.
    ///
    /// # Errors
    ///
    /// As [`TextStream::new`].
    pub fn stream(&self, stop: &[String]) -> Result<TextStream> {
        TextStream::new(self, stop)
    }

    /// The pipeline that turns visible tokens into text.
    pub(crate) fn detokenizer(&self) -> Detokenizer {
        self.inner.detokenizer.clone()
    }

    /// The spelling of a token that shows in decoded text, as the decoder wants it; those that are
    /// hidden there show as well if `all` do.
    pub(crate) fn visible_token(&self, id: u32, all: bool) -> Option<String> {
        if !all && self.inner.hidden_ids.contains(&id) {
            return None;
        }
        let added = self.inner.added.get(id);
        match added.and_then(|added| added.normalized.as_ref()) {
            Some(normalized) => Some(normalized.clone()),
            None => self.token_text(id),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
