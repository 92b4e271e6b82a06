//! The tokenizer of a checkpoint: text to ids and back, as Hugging Face does, safe with any text.

mod added;
mod configured;
mod span;

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use tokenizers::AddedToken;

use self::added::AddedTokens;
use self::configured::{add_configured_tokens, warn_of_ids};
use self::span::cannot_encode;
use super::control_tokens::{ControlToken, ControlTokens};
use super::detokenizer::Detokenizer;
use super::engine::{Effort, Engine, SpanPlace};
use super::sentencepiece::LoadedSentencePiece;
use super::stream::TextStream;
use super::tokenizer_class::TokenizerClass;
use super::tokenizer_config::TokenizerConfig;
use super::tokenizer_json::Affixes;
use super::{files, sentencepiece, tokenizer_json};
use crate::error::{Result, TokenizerError};

/// Most places that are looked at where tokens stand in a prompt format.
const MAX_SPELLED: usize = 10_000_000;

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

/// A tokenizer as its own file describes it.
struct Parts {
    file: &'static str,
    engine: Engine,
    added: AddedTokens,
    detokenizer: Detokenizer,
    affixes: Affixes,
}

impl Tokenizer {
    /// Opens the tokenizer of a model folder: `tokenizer.json` where there is one, else
    /// `tokenizer.model`; with `tokenizer_config.json`, `special_tokens_map.json` and
    /// `added_tokens.json` where they are present. Where `tokenizer_config.json`, or else
    /// `config.json`, names a class of transformers that takes but a part of `tokenizer.json`, the
    /// rest is the class's.
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

    pub(super) fn from_json(
        bytes: &[u8],
        mut config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let loaded = tokenizer_json::load(bytes, config.class)?;
        if let Some(unknown) = loaded.unknown {
            config.name("unk_token", unknown);
        }
        let mut added = AddedTokens::new();
        let tokens = loaded.added.iter().map(|(_, token)| token.clone());
        added.add(tokens.collect(), &loaded.engine, tokenizer_json::FILE)?;
        let declared = loaded.added.iter().map(|(id, token)| (*id, token));
        let own = tokenizer_json::FILE;
        warn_of_ids(&added, declared, own, "the order of its tokens");
        let knows =
            |token: &str| added.id(token).is_some() || loaded.engine.token_to_id(token).is_some();
        let named = loaded.class.map_or(&[][..], TokenizerClass::named_tokens);
        for (name, token) in named.iter().filter(|(_, token)| knows(token)) {
            config.name_by_default(name, token);
        }
        check_affixes(&added, &loaded.engine, &loaded.affixes)?;
        let adds_bos = !loaded.affixes.prefix.is_empty();
        if config.add_bos_token.is_some_and(|asked| asked != adds_bos) {
            log::warn!(
                "tokenizer_config.json says `add_bos_token: {}`, the post-processor of \
                 tokenizer.json says {adds_bos}, which counts",
                !adds_bos
            );
        }
        Self::new(
            Parts {
                file: tokenizer_json::FILE,
                engine: loaded.engine,
                added,
                detokenizer: Detokenizer::new(&loaded.decoder),
                affixes: loaded.affixes,
            },
            config,
        )
    }

    fn from_sentencepiece(
        bytes: &[u8],
        mut config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        if config.class.is_none() && config.add_prefix_space.take() == Some(false) {
            log::warn!(
                "tokenizer_config.json sets `add_prefix_space`, which counts for LlamaTokenizer \
                 alone; {} says itself whether a text gets a space in front",
                sentencepiece::FILE
            );
        }
        Self::of_sentencepiece(sentencepiece::load(bytes, &config)?, config)
    }

    pub(super) fn of_sentencepiece(
        loaded: LoadedSentencePiece,
        mut config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        for (name, token) in loaded.named {
            config.name(name, token);
        }
        // What normalises here is a part of the model there, behind the search for tokens.
        config.look_for_tokens_as_written();
        let mut added = AddedTokens::new();
        added.add(loaded.added, &loaded.engine, sentencepiece::FILE)?;
        let mut tokenizer = Self::new(
            Parts {
                file: sentencepiece::FILE,
                engine: loaded.engine,
                added,
                detokenizer: Detokenizer::new(&loaded.decoder),
                affixes: Affixes::default(),
            },
            config,
        )?;
        tokenizer.set_affixes();
        Ok(tokenizer)
    }

    fn new(parts: Parts, config: TokenizerConfig) -> Result<Self, TokenizerError> {
        let Parts {
            file,
            engine,
            mut added,
            detokenizer,
            affixes,
        } = parts;
        // What either file calls special only a template may write.
        let mut control = added.special_ids();
        if config.splits_special_tokens {
            log::warn!(
                "tokenizer_config.json sets `split_special_tokens`: a special token that a prompt \
                 spells is read as text, as transformers does; pictures keep their places"
            );
            added.read_special_tokens_as_text();
        }
        add_configured_tokens(&mut added, &engine, &config, file)?;
        let last_added = added.iter().last().map_or(0, |(id, _)| id as usize + 1);
        let special = added.special_ids();
        control.extend(&special);
        let mut inner = Inner {
            vocab_size: last_added.max(engine.vocab_end() as usize),
            engine: Arc::new(engine),
            added,
            detokenizer,
            control_tokens: ControlTokens::new(Vec::new()),
            forbidden_ids: HashSet::new(),
            hidden_ids: special.into_iter().collect(),
            affixes,
            config,
        };
        inner.forbid(&control);
        Ok(Self {
            inner: Arc::new(inner),
        })
    }

    /// Puts bos and eos around a text as the configuration says.
    fn set_affixes(&mut self) {
        let config = &self.inner.config;
        // Unlike transformers 5, which puts none where no file says so: LLaMA and Vicuna were made
        // with it, and older folders rely on that.
        let adds_bos = config.add_bos_token.unwrap_or(true);
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
        if inner.added.get(id).is_none() {
            let added = AddedToken::from(token, true);
            inner.added.add(vec![added], &inner.engine, "the model")?;
        }
        inner.forbid(&[id]);
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
    pub(crate) fn with_control_tokens_of(mut self, formats: &[&str]) -> Result<Self> {
        let is_mark = |character: char| !character.is_alphanumeric() && !character.is_whitespace();
        let marks = |token: &AddedToken| {
            let text = token.content.as_str();
            !token.special
                && text.starts_with(is_mark)
                && text.ends_with(is_mark)
                && text.chars().nth(1).is_some()
        };
        let candidates = self.inner.added.iter();
        let candidates = candidates.filter(|(_, added)| marks(&added.token));
        let candidates: Vec<_> = candidates
            .map(|(id, added)| (id, added.token.content.as_str()))
            .collect();
        let found = spelled_in(&candidates, formats);
        Arc::make_mut(&mut self.inner).forbid(&found);
        Ok(self)
    }

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

impl Inner {
    /// Makes control tokens of added tokens.
    fn forbid(&mut self, ids: &[u32]) {
        self.added.forbid(ids);
        // A control token of one character cannot be told from that character, and text that the
        // vocabulary cannot spell rightly becomes the unknown token.
        let unknown = self
            .config
            .named
            .get("unk_token")
            .map(|token| &token.content);
        let tokens = ids
            .iter()
            .filter_map(|&id| Some((id, &self.added.get(id)?.token.content)));
        let mut control_tokens = Vec::new();
        for (id, content) in tokens {
            if content.chars().nth(1).is_some() && unknown != Some(content) {
                self.forbidden_ids.insert(id);
            }
            control_tokens.push(ControlToken::new(id, content));
        }
        self.control_tokens.extend(control_tokens);
    }
}

/// The ids of the tokens that any of the texts spells.
fn spelled_in(tokens: &[(u32, &str)], texts: &[&str]) -> Vec<u32> {
    let all = || tokens.iter().map(|&(id, _)| id).collect();
    let Ok(search) = AhoCorasick::new(tokens.iter().map(|(_, content)| content)) else {
        return all();
    };
    let mut found = BTreeSet::new();
    let mut left = MAX_SPELLED;
    for text in texts {
        for token in search.find_overlapping_iter(text) {
            found.insert(tokens[token.pattern()].0);
            left -= 1;
            // A text made so that tokens lie in tokens: all of them may as well be in it.
            if left == 0 {
                return all();
            }
        }
    }
    found.into_iter().collect()
}

fn check_affixes(
    added: &AddedTokens,
    engine: &Engine,
    affixes: &Affixes,
) -> Result<(), TokenizerError> {
    let is_known = |id: u32| added.get(id).is_some() || engine.id_to_token(id).is_some();
    let mut ids = affixes.prefix.iter().chain(&affixes.suffix);
    match ids.find(|&&id| !is_known(id)) {
        None => Ok(()),
        Some(id) => Err(TokenizerError::Malformed {
            file: tokenizer_json::FILE.to_string(),
            reason: format!("the post-processor adds the unknown id {id}"),
        }),
    }
}

#[cfg(test)]
pub(crate) mod tests;
