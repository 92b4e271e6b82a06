//! The working parts of a tokenizer, with bounds that hold for any file and any text.
//!
//! The tokenizers library trusts its parts: a normalizer may double a text forty times over, a
//! regular expression may backtrack for hours, an index may run past its end. So the parts run one
//! by one here. What a part makes is bounded before or right after it is made, the patterns are
//! this crate's own to run, with a deadline, and every call into the library is guarded.

mod charsmap;
mod effort;
mod matcher;
mod normalizer;
mod splitter;

use std::ops::Range;

use tokenizers::{Model, ModelWrapper, OffsetReferential, OffsetType, PreTokenizedString};

pub(crate) use self::charsmap::Charsmap;
pub(crate) use self::effort::{Effort, guarded};
pub(crate) use self::matcher::Matcher;
pub(crate) use self::normalizer::{Normalized, NormalizerStage};
pub(crate) use self::splitter::SplitterStage;

/// Longest token of any kind: a piece of the vocabulary, an added token, what a stage puts in the
/// place of something. The longest seen are 128 spaces, in 256 bytes.
pub(crate) const MAX_TOKEN_BYTES: usize = 512;

/// One more than the largest id a token may have; four times the largest vocabulary seen. Without
/// it, a single entry could ask for a table of four thousand million rows.
pub(crate) const MAX_VOCAB_SIZE: u32 = 1 << 20;

/// Most stages of a normalizer, a pre-tokenizer or a decoder; four times the most seen.
pub(crate) const MAX_STAGES: usize = 32;

/// Longest word of a Unigram model, which tries every piece at every place of it.
const MAX_UNIGRAM_WORD_BYTES: usize = 32 << 10;

/// Where a span stands. Some tokenizers put a space in front of the first span only.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SpanPlace {
    /// At the very start of a prompt.
    Start,
    /// Behind a control token or a picture.
    Continuation,
}

/// Normalizer, pre-tokenizer and model of a tokenizer.
#[derive(Debug, Clone)]
pub(crate) struct Engine {
    model: ModelWrapper,
    /// One more than the largest id of the model.
    vocab_end: u32,
    normalizers: Vec<NormalizerStage>,
    splitters: Vec<SplitterStage>,
    /// The pre-tokenizer for text that does not stand at the start of a prompt, where it differs.
    continuation: Option<Vec<SplitterStage>>,
}

impl Engine {
    /// Joins the parts; `vocab_end` is one more than the largest id of the model.
    pub(crate) fn new(
        model: ModelWrapper,
        vocab_end: u32,
        normalizers: Vec<NormalizerStage>,
        splitters: Vec<SplitterStage>,
    ) -> Self {
        let later: Vec<_> = splitters.iter().map(SplitterStage::continuation).collect();
        let differs = later.iter().any(Option::is_some);
        let continuation = differs.then(|| {
            let stages = later.into_iter().zip(&splitters);
            stages
                .map(|(later, first)| later.unwrap_or_else(|| first.clone()))
                .collect()
        });
        Self {
            model,
            vocab_end,
            normalizers,
            splitters,
            continuation,
        }
    }

    /// Entries of the model's vocabulary.
    pub(crate) fn vocab_size(&self) -> usize {
        self.model.get_vocab_size()
    }

    /// One more than the largest id of the model.
    pub(crate) fn vocab_end(&self) -> u32 {
        self.vocab_end
    }

    pub(crate) fn token_to_id(&self, token: &str) -> Option<u32> {
        self.model.token_to_id(token)
    }

    pub(crate) fn id_to_token(&self, id: u32) -> Option<String> {
        self.model.id_to_token(id)
    }

    /// Runs the normalizer; with `traced`, what it made can be traced back to `text`.
    ///
    /// # Errors
    ///
    /// What went wrong: the text grew beyond all measure, or took too long.
    pub(crate) fn normalize(
        &self,
        text: &str,
        traced: bool,
        effort: &Effort,
    ) -> Result<Normalized, String> {
        guarded(|| Normalized::of(text, &self.normalizers, traced, effort))
    }

    /// Encodes a normalised text onto the end of `ids`.
    ///
    /// # Errors
    ///
    /// What went wrong: the vocabulary cannot spell the text, or it took too long.
    pub(crate) fn encode(
        &self,
        text: &str,
        place: SpanPlace,
        effort: &Effort,
        ids: &mut Vec<u32>,
    ) -> Result<(), String> {
        guarded(|| {
            let words = self.split(text, place, effort)?;
            for (word, _, _) in words.get_splits(OffsetReferential::Normalized, OffsetType::None) {
                let tokens = self.tokenize(word, effort)?;
                ids.extend(tokens.iter().map(|token| token.id));
            }
            Ok(())
        })
    }

    /// Encodes a normalised text, and says which bytes of it each id stands for.
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub(crate) fn encode_with_ranges(
        &self,
        text: &str,
        place: SpanPlace,
        effort: &Effort,
    ) -> Result<Vec<(u32, Range<usize>)>, String> {
        guarded(|| {
            let mut words = self.split(text, place, effort)?;
            let tokenized = words.tokenize(|word| Ok(self.tokenize(word.get(), effort)?));
            tokenized.map_err(|error| error.to_string())?;
            let encoding = words.into_encoding(None, 0, OffsetType::Byte);
            let encoding = encoding.map_err(|error| error.to_string())?;
            let ranges = encoding.get_offsets().iter().map(|&(from, to)| from..to);
            Ok(encoding.get_ids().iter().copied().zip(ranges).collect())
        })
    }

    fn split(
        &self,
        text: &str,
        place: SpanPlace,
        effort: &Effort,
    ) -> Result<PreTokenizedString, String> {
        let stages = match (place, &self.continuation) {
            (SpanPlace::Continuation, Some(continuation)) => continuation,
            (SpanPlace::Start | SpanPlace::Continuation, _) => &self.splitters,
        };
        let mut words = PreTokenizedString::from(text);
        for stage in stages {
            stage.apply(&mut words, growth_limit(text.len()), effort)?;
        }
        Ok(words)
    }

    fn tokenize(&self, word: &str, effort: &Effort) -> Result<Vec<tokenizers::Token>, String> {
        effort.check()?;
        if matches!(self.model, ModelWrapper::Unigram(_)) && word.len() > MAX_UNIGRAM_WORD_BYTES {
            return Err(format!("a word has {} bytes", word.len()));
        }
        self.model.tokenize(word).map_err(|error| error.to_string())
    }
}

/// Most bytes that `bytes` of text may become. Byte-level alphabets double a text and decomposed
/// Hangul trebles it, so that eight times is enough for both, and a little for very short texts.
fn growth_limit(bytes: usize) -> usize {
    let honest = bytes.saturating_mul(8).saturating_add(1 << 10);
    honest.min(bytes.saturating_mul(4).max(4 << 20))
}

fn too_long(bytes: usize, limit: usize) -> String {
    format!("a stage makes {bytes} bytes of the text, the limit is {limit}")
}

#[cfg(test)]
mod tests;
