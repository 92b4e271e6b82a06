//! From the files of a folder to a tokenizer.

use std::collections::HashSet;
use std::path::Path;
use std::sync::Arc;

use super::added::AddedTokens;
use super::configured::{add_configured_tokens, warn_of_ids};
use super::{Inner, Tokenizer};
use crate::error::{Result, TokenizerError};
use crate::text::control_tokens::ControlTokens;
use crate::text::detokenizer::Detokenizer;
use crate::text::engine::Engine;
use crate::text::sentencepiece::LoadedSentencePiece;
use crate::text::tokenizer_class::TokenizerClass;
use crate::text::tokenizer_config::TokenizerConfig;
use crate::text::tokenizer_json::{Affixes, LoadedTokenizer, MERGES_FILE, VOCAB_FILE};
use crate::text::{files, sentencepiece, tokenizer_json};

/// A tokenizer as its own file describes it.
struct Parts {
    file: &'static str,
    engine: Engine,
    added: AddedTokens,
    detokenizer: Detokenizer,
    affixes: Affixes,
}

impl Tokenizer {
    /// Opens the tokenizer of a model folder: `tokenizer.json` where there is one; else, where the
    /// class below is of bytes, `vocab.json` and `merges.txt`; else `tokenizer.model`. All with
    /// `tokenizer_config.json`, `special_tokens_map.json` and
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
        let read = |name, limit_bytes| files::read_bytes(folder, name, limit_bytes);
        if let Some(bytes) = read(tokenizer_json::FILE, tokenizer_json::MAX_BYTES)? {
            return Ok(Self::from_json(&bytes, config)?);
        }
        let vocab = read(VOCAB_FILE, tokenizer_json::MAX_BYTES)?;
        if let (Some(vocab), Some(class)) = (&vocab, config.vocabulary_class) {
            let merges = read(MERGES_FILE, tokenizer_json::MAX_BYTES)?;
            let merges = merges.ok_or_else(|| TokenizerError::Malformed {
                file: MERGES_FILE.to_string(),
                reason: format!("it is missing beside {VOCAB_FILE}"),
            })?;
            return Ok(Self::from_vocabulary(vocab, &merges, class, config)?);
        }
        match (read(sentencepiece::FILE, sentencepiece::MAX_BYTES)?, vocab) {
            (Some(bytes), _) => Ok(Self::from_sentencepiece(&bytes, config)?),
            (None, Some(_)) => Err(TokenizerError::VocabularyAlone.into()),
            (None, None) => Err(TokenizerError::Missing.into()),
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

    pub(in crate::text) fn from_json(
        bytes: &[u8],
        config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let loaded = tokenizer_json::load(bytes, config.class)?;
        let adds_bos = !loaded.affixes.prefix.is_empty();
        if config.add_bos_token.is_some_and(|asked| asked != adds_bos) {
            log::warn!(
                "tokenizer_config.json says `add_bos_token: {}`, the post-processor of \
                 tokenizer.json says {adds_bos}, which counts",
                !adds_bos
            );
        }
        Self::of_json(tokenizer_json::FILE, loaded, config)
    }

    fn from_vocabulary(
        vocab: &[u8],
        merges: &[u8],
        class: TokenizerClass,
        config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        let loaded = tokenizer_json::load_vocabulary(vocab, merges, class)?;
        let mut tokenizer = Self::of_json(VOCAB_FILE, loaded, config)?;
        tokenizer.set_affixes(false);
        Ok(tokenizer)
    }

    fn of_json(
        file: &'static str,
        loaded: LoadedTokenizer,
        mut config: TokenizerConfig,
    ) -> Result<Self, TokenizerError> {
        if let Some(unknown) = loaded.unknown {
            config.name("unk_token", unknown);
        }
        let mut added = AddedTokens::new();
        let tokens = loaded.added.iter().map(|(_, token)| token.clone());
        added.add(tokens.collect(), &loaded.engine, file)?;
        let declared = loaded.added.iter().map(|(id, token)| (*id, token));
        warn_of_ids(&added, declared, file, "the order of its tokens");
        let knows =
            |token: &str| added.id(token).is_some() || loaded.engine.token_to_id(token).is_some();
        let named = loaded.class.map_or(&[][..], TokenizerClass::named_tokens);
        for (name, token) in named.iter().filter(|(_, token)| knows(token)) {
            config.name_by_default(name, token);
        }
        check_affixes(&added, &loaded.engine, &loaded.affixes)?;
        Self::new(
            Parts {
                file,
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

    pub(in crate::text) fn of_sentencepiece(
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
        // Unlike transformers 5, which puts none where no file says so: LLaMA and Vicuna were made
        // with it, and older folders rely on that.
        tokenizer.set_affixes(true);
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

    /// Puts bos and eos around a text as the configuration says. Where it does not say, no eos, and
    /// the bos if the files' kind `has_bos`.
    fn set_affixes(&mut self, has_bos: bool) {
        let config = &self.inner.config;
        let adds_bos = config.add_bos_token.unwrap_or(has_bos);
        let adds_eos = config.add_eos_token.unwrap_or(false);
        let affixes = Affixes {
            prefix: self.bos_id().filter(|_| adds_bos).into_iter().collect(),
            suffix: self.eos_id().filter(|_| adds_eos).into_iter().collect(),
        };
        Arc::make_mut(&mut self.inner).affixes = affixes;
    }
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
