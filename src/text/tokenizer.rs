//! The tokenizer of a checkpoint: text to ids and back, as Hugging Face does, safe with any text.

mod added;
mod span;

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use tokenizers::{AddedToken, PreTokenizerWrapper};

use self::added::{add_configured_tokens, add_tokens};
pub(crate) use self::span::SpanPlace;
use self::span::continuation_pre_tokenizer;
use super::control_tokens::{ControlToken, ControlTokens};
use super::detokenizer::Detokenizer;
use super::stream::TextStream;
use super::tokenizer_config::TokenizerConfig;
use super::tokenizer_json::Affixes;
use super::{files, sentencepiece, tokenizer_json};
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
    backend: tokenizers::Tokenizer,
    /// The pre-tokenizer for text that does not stand at the start of a prompt, where it differs.
    continuation: Option<PreTokenizerWrapper>,
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
    /// Opens the tokenizer of a model folder: `tokenizer.json` where there is one, else
    /// `tokenizer.model`; with `tokenizer_config.json`, `special_tokens_map.json` and
    /// `added_tokens.json` where they are present.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when there is no tokenizer, or it is damaged or of an unsupported kind;
    /// [`Error::Io`](crate::Error::Io) when a file cannot be read.
    pub fn open(folder: &Path) -> Result<Self> {
        let config = TokenizerConfig::read(folder)?;
        let json = files::read_bytes(folder, tokenizer_json::FILE, tokenizer_json::MAX_BYTES)?;
        if let Some(bytes) = json {
            return Ok(Self::from_json(&bytes, config)?);
        }
        let model = files::read_bytes(folder, sentencepiece::FILE, sentencepiece::MAX_BYTES)?;
        match model {
            Some(bytes) => Ok(Self::from_sentencepiece(&bytes, config)?),
            None => Err(TokenizerError::Missing.into()),
        }
    }

    /// Reads a tokenizer from the bytes of a `tokenizer.json`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the file is damaged or of an unsupported kind.
    pub fn from_json_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_json(bytes, TokenizerConfig::default())?)
    }

    /// Reads a tokenizer from the bytes of a SentencePiece `tokenizer.model`.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the file is damaged or of an unsupported kind.
    pub fn from_sentencepiece_bytes(bytes: &[u8]) -> Result<Self> {
        Ok(Self::from_sentencepiece(bytes, TokenizerConfig::default())?)
    }

    fn from_json(bytes: &[u8], mut config: TokenizerConfig) -> Result<Self, TokenizerError> {
        let loaded = tokenizer_json::load(bytes)?;
        if let Some(unknown) = loaded.unknown {
            config
                .named
                .entry("unk_token".to_string())
                .or_insert(unknown);
        }
        let mut tokenizer =
            Self::new(loaded.backend, loaded.affixes, config, tokenizer_json::FILE)?;
        // A post-processor that adds nothing is silent, not a refusal.
        if tokenizer.inner.affixes == Affixes::default() {
            tokenizer.set_affixes(false);
        }
        Ok(tokenizer)
    }

    fn from_sentencepiece(
        bytes: &[u8],
        mut config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let loaded = sentencepiece::load(bytes, &config)?;
        for (name, token) in loaded.named {
            config.named.entry(name.to_string()).or_insert(token);
        }
        let mut tokenizer = Self::new(
            loaded.backend,
            Affixes::default(),
            config,
            sentencepiece::FILE,
        )?;
        tokenizer.set_affixes(true);
        Ok(tokenizer)
    }

    fn new(
        mut backend: tokenizers::Tokenizer,
        affixes: Affixes,
        config: TokenizerConfig,
        file: &str,
    ) -> Result<Self, TokenizerError> {
        add_configured_tokens(&mut backend, &config, file)?;
        backend.set_encode_special_tokens(true);
        let ids = backend.get_vocab(true).into_values();
        let vocab_size = ids.max().map_or(0, |largest| largest as usize + 1);
        let mut inner = Inner {
            continuation: continuation_pre_tokenizer(backend.get_pre_tokenizer())?,
            detokenizer: Detokenizer::new(backend.get_decoder()),
            control_tokens: ControlTokens::new(Vec::new()),
            forbidden_ids: HashSet::new(),
            hidden_ids: HashSet::new(),
            backend,
            affixes,
            config,
            vocab_size,
        };
        let mut special: Vec<_> = inner
            .backend
            .get_added_tokens_decoder()
            .into_iter()
            .filter(|(_, token)| token.special)
            .collect();
        special.sort_by_key(|(id, _)| *id);
        inner.hidden_ids = special.iter().map(|(id, _)| *id).collect();
        inner.add_control_tokens(&special);
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Puts bos and eos around a text as the configuration says.
    fn set_affixes(&mut self, adds_bos: bool) {
        let config = &self.inner.config;
        let adds_bos = config.add_bos_token.unwrap_or(adds_bos);
        let adds_eos = config.add_eos_token.unwrap_or(false);
        let affixes = Affixes {
            prefix: self.bos_id().filter(|_| adds_bos).into_iter().collect(),
            suffix: self.eos_id().filter(|_| adds_eos).into_iter().collect(),
        };
        Arc::make_mut(&mut self.inner).affixes = affixes;
    }

    /// Makes `token` a control token, although its file calls it an ordinary one.
    ///
    /// Some checkpoints list `<image>` so; unless it is registered, a user who types it gets it.
    /// Decoding shows the token as before.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownToken`] when the vocabulary does not hold it.
    pub(crate) fn with_control_token(mut self, token: &str) -> Result<Self> {
        let id = self
            .token_id(token)
            .ok_or_else(|| TokenizerError::UnknownToken {
                token: token.to_string(),
            })?;
        let inner = Arc::make_mut(&mut self.inner);
        let known = inner.backend.get_added_tokens_decoder().remove(&id);
        let added = known
            .unwrap_or_else(|| AddedToken::from(token, true))
            .special(true);
        add_tokens(&mut inner.backend, vec![added.clone().normalized(false)])?;
        inner.add_control_tokens(&[(id, added)]);
        Ok(self)
    }

    /// Makes control tokens of the added tokens that prompt formats spell, whatever their file
    /// calls them: a user who types `<|im_start|>` must not open a turn.
    ///
    /// Added words are left alone: only what begins and ends with neither a letter, a digit nor
    /// white space marks something.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the tokenizer refuses to register one.
    pub(crate) fn with_control_tokens_of(self, formats: &[&str]) -> Result<Self> {
        let is_mark = |character: char| !character.is_alphanumeric() && !character.is_whitespace();
        let marks = |token: &AddedToken| {
            let text = token.content.as_str();
            !token.special
                && text.starts_with(is_mark)
                && text.ends_with(is_mark)
                && text.chars().nth(1).is_some()
                && formats.iter().any(|format| format.contains(text))
        };
        let added = self.inner.backend.get_added_tokens_decoder();
        let mut found: Vec<_> = added
            .into_iter()
            .filter(|(_, token)| marks(token))
            .collect();
        found.sort_by_key(|(id, _)| *id);
        found.into_iter().try_fold(self, |tokenizer, (_, token)| {
            tokenizer.with_control_token(&token.content)
        })
    }

    /// The id of a token, by its exact spelling in the vocabulary.
    pub fn token_id(&self, token: &str) -> Option<u32> {
        self.inner.backend.token_to_id(token)
    }

    /// The spelling of a token in the vocabulary, where a space may be another character.
    pub fn token_text(&self, id: u32) -> Option<String> {
        self.inner.backend.id_to_token(id)
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
        self.token_id(self.inner.config.named.get(name)?)
    }

    /// Every token that the checkpoint gives a name, such as `eos_token`, with its spelling.
    pub(crate) fn named_tokens(&self) -> impl Iterator<Item = (&str, &str)> {
        self.inner
            .config
            .named
            .iter()
            .map(|(name, token)| (name.as_str(), token.as_str()))
    }

    /// The tokens that only a template or the caller may put into a prompt.
    pub(crate) fn control_tokens(&self) -> &ControlTokens {
        &self.inner.control_tokens
    }

    /// Encodes a whole text with what the checkpoint puts around one (bos, `[CLS]`, ...).
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] when the vocabulary cannot spell the text.
    pub fn encode(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = self.inner.affixes.prefix.clone();
        self.encode_span(text, SpanPlace::Start, &mut ids)?;
        ids.extend(&self.inner.affixes.suffix);
        Ok(ids)
    }

    /// Encodes a whole text and puts nothing around it.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Encode`] when the vocabulary cannot spell the text.
    pub fn encode_bare(&self, text: &str) -> Result<Vec<u32>> {
        let mut ids = Vec::new();
        self.encode_span(text, SpanPlace::Start, &mut ids)?;
        Ok(ids)
    }

    /// Encodes text without control tokens onto the end of `ids`.
    pub(crate) fn encode_span(
        &self,
        text: &str,
        place: SpanPlace,
        ids: &mut Vec<u32>,
    ) -> Result<(), TokenizerError> {
        span::Encoder {
            backend: &self.inner.backend,
            continuation: self.inner.continuation.as_ref(),
            forbidden_ids: &self.inner.forbidden_ids,
        }
        .encode(text, place, ids)
    }

    /// Decodes ids, skipping special tokens and ids outside of the vocabulary.
    ///
    /// Bytes that form no character become U+FFFD, as in Python.
    pub fn decode(&self, ids: &[u32]) -> String {
        let mut detokenizer = self.detokenizer();
        let mut text = String::new();
        for token in ids.iter().filter_map(|&id| self.visible_token(id)) {
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

    /// The spelling of a token that shows in decoded text.
    pub(crate) fn visible_token(&self, id: u32) -> Option<String> {
        if self.inner.hidden_ids.contains(&id) {
            None
        } else {
            self.token_text(id)
        }
    }
}

impl Inner {
    fn add_control_tokens(&mut self, added: &[(u32, AddedToken)]) {
        // A control token of one character cannot be told from that character, and text that the
        // vocabulary cannot spell rightly becomes the unknown token.
        let unknown = self.config.named.get("unk_token");
        let is_forbidden = |token: &AddedToken| {
            token.content.chars().nth(1).is_some() && unknown != Some(&token.content)
        };
        let forbidden = added.iter().filter(|(_, token)| is_forbidden(token));
        self.forbidden_ids.extend(forbidden.map(|(id, _)| *id));
        self.control_tokens
            .extend(added.iter().map(|(id, token)| ControlToken {
                id: *id,
                content: token.content.clone(),
                strips_left: token.lstrip,
                strips_right: token.rstrip,
                is_single_word: token.single_word,
            }));
    }
}

#[cfg(test)]
pub(crate) mod tests;
