//! Reading a SentencePiece `tokenizer.model`, as LLaMA and its children ship it, without C++.
//!
//! The file is a protocol buffer that lists pieces with their scores. A byte-pair-encoding model
//! merges the adjacent pair whose joined piece has the highest score; listing every way to split
//! every piece, ordered by that score, gives the merge list that the tokenizers library wants.

mod model;

use std::collections::HashMap;

use tokenizers::AddedToken;
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::strip::Strip;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};

use self::model::{Piece, PieceKind, SentencePieceModel};
use super::detokenizer::DecoderStage;
use super::engine::{Charsmap, Engine, Matcher, NormalizerStage, SplitterStage, guarded};
use super::tokenizer_class::TokenizerClass;
use super::tokenizer_config::TokenizerConfig;
use crate::error::TokenizerError;

/// Name of the file, for errors.
pub(crate) const FILE: &str = "tokenizer.model";

/// Largest `tokenizer.model` that is read; the largest seen has 5 MiB for 262 144 pieces. An empty
/// piece takes two bytes of the file and sixteen times that of memory.
pub(crate) const MAX_BYTES: u64 = 16 << 20;

/// Most ways to join two pieces into a third; seven times the largest count seen.
const MAX_MERGES: usize = 4 << 20;

/// How SentencePiece writes a space.
const SPACE: &str = "\u{2581}";

/// A tokenizer as its file describes it.
#[derive(Debug)]
pub(crate) struct LoadedSentencePiece {
    /// What encodes a text.
    pub(crate) engine: Engine,
    /// What decodes one.
    pub(crate) decoder: Vec<DecoderStage>,
    /// The tokens that are found whole.
    pub(crate) added: Vec<AddedToken>,
    /// Spelling of the tokens that the file names: `bos_token`, `eos_token`, `unk_token`.
    pub(crate) named: Vec<(&'static str, String)>,
}

/// Reads a `tokenizer.model`.
///
/// # Errors
///
/// [`TokenizerError::Unsupported`] for a model other than byte-pair encoding and for settings that
/// no LLaMA tokenizer has; [`TokenizerError`] of other kinds for a damaged file.
pub(crate) fn load(
    bytes: &[u8],
    config: &TokenizerConfig,
) -> Result<LoadedSentencePiece, TokenizerError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TokenizerError::TooLarge {
            file: FILE.to_string(),
            found_bytes: bytes.len() as u64,
            limit_bytes: MAX_BYTES,
        });
    }
    finish(SentencePieceModel::parse(bytes)?, config)
}

/// Makes a tokenizer of pieces that another file lists: spelling, score and kind of each, as
/// SentencePiece numbers kinds.
///
/// # Errors
///
/// [`TokenizerError::Malformed`] when they are no vocabulary.
pub(crate) fn load_pieces(
    pieces: impl Iterator<Item = (String, f32, i32)>,
    config: &TokenizerConfig,
) -> Result<LoadedSentencePiece, TokenizerError> {
    finish(SentencePieceModel::of_pieces(pieces)?, config)
}

fn finish(
    mut model: SentencePieceModel,
    config: &TokenizerConfig,
) -> Result<LoadedSentencePiece, TokenizerError> {
    model.check()?;
    model.rename(config)?;
    match config.class {
        Some(TokenizerClass::Llama { prefix }) => {
            model.normalizer.add_dummy_prefix = prefix != PrependScheme::Never;
            model.trainer.byte_fallback = true;
        }
        Some(_) | None => {
            model.normalizer.add_dummy_prefix &= config.add_prefix_space != Some(false);
        }
    }
    let engine = guarded(|| model.build(config)).map_err(malformed)?;
    let decoder = model.decoder().map_err(malformed)?;
    let named = [
        ("bos_token", model.trainer.bos_id),
        ("eos_token", model.trainer.eos_id),
        ("unk_token", model.trainer.unk_id),
    ];
    let spelled = |(name, id): (&'static str, i32)| {
        let piece = usize::try_from(id)
            .ok()
            .and_then(|id| model.pieces.get(id))?;
        Some((name, piece.text.clone()))
    };
    Ok(LoadedSentencePiece {
        engine,
        decoder,
        added: model.added_tokens(),
        named: named.into_iter().filter_map(spelled).collect(),
    })
}

impl SentencePieceModel {
    fn check(&self) -> Result<(), TokenizerError> {
        let unsupported = |found: &str, supported| TokenizerError::Unsupported {
            file: FILE.to_string(),
            part: "SentencePiece variant",
            found: found.to_string(),
            supported,
        };
        let (trainer, normalizer) = (&self.trainer, &self.normalizer);
        match trainer.model_type {
            1 => return Err(unsupported("unigram", "bpe")),
            2 => {}
            3 => return Err(unsupported("word", "bpe")),
            4 => return Err(unsupported("char", "bpe")),
            _ => return Err(unsupported("an unknown type", "bpe")),
        }
        if !normalizer.escape_whitespaces {
            return Err(unsupported(
                "white space that is not escaped",
                "white space escaped",
            ));
        }
        if trainer.treat_whitespace_as_suffix {
            return Err(unsupported(
                "spaces behind words",
                "spaces in front of words",
            ));
        }
        Ok(())
    }

    /// A configuration may give reserved pieces new names.
    fn rename(&mut self, config: &TokenizerConfig) -> Result<(), TokenizerError> {
        for (&id, token) in &config.added {
            if let Some(piece) = self.pieces.get_mut(id as usize)
                && piece.kind() != PieceKind::Normal
                && piece.kind() != PieceKind::Byte
            {
                piece.text.clone_from(&token.content);
                piece
                    .check()
                    .map_err(|reason| malformed(format!("piece {id} {reason}")))?;
            }
        }
        Ok(())
    }

    fn build(&self, config: &TokenizerConfig) -> Result<Engine, String> {
        let vocab = self.vocab()?;
        let merges = self.merges()?;
        let mut model = BPE::builder()
            .vocab_and_merges(vocab, merges)
            .fuse_unk(true)
            .byte_fallback(self.trainer.byte_fallback);
        let unknown = self
            .pieces
            .iter()
            .find(|piece| piece.kind() == PieceKind::Unknown && config.class.is_none());
        if let Some(unknown) = unknown {
            model = model.unk_token(unknown.text.clone());
        }
        let model = model.build().map_err(|error| error.to_string())?;
        let (normalizers, splitters) = self.spacing(config)?;
        let vocab_end = self.pieces.len() as u32;
        Ok(Engine::new(model.into(), vocab_end, normalizers, splitters))
    }

    fn vocab(&self) -> Result<Vocab, String> {
        let mut vocab = Vocab::with_capacity(self.pieces.len());
        for (id, piece) in self.pieces.iter().enumerate() {
            if let Some(first) = vocab.insert(piece.text.clone(), id as u32) {
                let text = &piece.text;
                return Err(format!("pieces {first} and {id} are both `{text}`"));
            }
        }
        Ok(vocab)
    }

    /// Every way to join two normal pieces into a third, best score first.
    ///
    /// Among equal scores the order is that of Hugging Face's conversion, which agrees with
    /// SentencePiece on all texts tried.
    fn merges(&self) -> Result<Merges, String> {
        let normal: HashMap<&str, usize> = self
            .pieces
            .iter()
            .enumerate()
            .filter(|(_, piece)| piece.kind() == PieceKind::Normal)
            .map(|(id, piece)| (piece.text.as_str(), id))
            .collect();
        let mut ranked: Vec<(f32, usize, &str, &str)> = Vec::new();
        for (&text, &id) in &normal {
            for (middle, _) in text.char_indices().skip(1) {
                let (left, right) = text.split_at(middle);
                if normal.contains_key(left) && normal.contains_key(right) {
                    ranked.push((self.pieces[id].score, id, left, right));
                }
            }
            if ranked.len() > MAX_MERGES {
                return Err(format!("its pieces join in more than {MAX_MERGES} ways"));
            }
        }
        ranked.sort_by(|a, b| {
            b.0.total_cmp(&a.0)
                .then_with(|| (a.1, a.2).cmp(&(b.1, b.2)))
        });
        let pair =
            |(_, _, left, right): (f32, usize, &str, &str)| (left.to_string(), right.to_string());
        Ok(ranked.into_iter().map(pair).collect())
    }

    /// How spaces become pieces.
    ///
    /// The models this crate runs were trained with a prefix in front of every span of text. A
    /// configuration may ask for the later behaviour, a prefix at the start of the prompt.
    fn spacing(
        &self,
        config: &TokenizerConfig,
    ) -> Result<(Vec<NormalizerStage>, Vec<SplitterStage>), String> {
        if let Some(class @ TokenizerClass::Llama { .. }) = config.class {
            return Ok((class.normalizers(), class.splitters()?));
        }
        let mut stages = self.replacements()?;
        if self.normalizer.add_dummy_prefix && config.is_legacy == Some(false) {
            let metaspace = Metaspace::new('\u{2581}', PrependScheme::First, false);
            return Ok((stages, vec![SplitterStage::Library(metaspace.into())]));
        }
        if self.normalizer.add_dummy_prefix {
            stages.push(NormalizerStage::Prepend(SPACE.to_string()));
        }
        stages.push(NormalizerStage::Replace {
            wanted: Matcher::text(" ")?,
            content: SPACE.to_string(),
        });
        Ok((stages, Vec::new()))
    }

    /// What is replaced before anything else: characters by the model's table, and spaces that say
    /// nothing by none.
    fn replacements(&self) -> Result<Vec<NormalizerStage>, String> {
        let mut stages = Vec::new();
        let table = &self.normalizer.precompiled_charsmap;
        if !table.is_empty() {
            stages.push(NormalizerStage::Charsmap(Charsmap::parse(table)?.into()));
        }
        if self.normalizer.remove_extra_whitespaces {
            for (spaces, content) in [(r"\A +| +\z", ""), (" {2,}", " ")] {
                stages.push(NormalizerStage::Replace {
                    wanted: Matcher::pattern(spaces)?,
                    content: content.to_string(),
                });
            }
        }
        Ok(stages)
    }

    /// How pieces become spaces.
    fn decoder(&self) -> Result<Vec<DecoderStage>, String> {
        let mut decoder = vec![DecoderStage::Replace {
            wanted: Matcher::text(SPACE)?,
            content: " ".to_string(),
        }];
        if self.trainer.byte_fallback {
            decoder.push(DecoderStage::Library(ByteFallback::new().into()));
        }
        decoder.push(DecoderStage::Library(Fuse::new().into()));
        if self.normalizer.add_dummy_prefix {
            decoder.push(DecoderStage::Library(Strip::new(' ', 1, 0).into()));
        }
        Ok(decoder)
    }

    fn added_tokens(&self) -> Vec<AddedToken> {
        let added = |piece: &Piece| match piece.kind() {
            PieceKind::Control | PieceKind::Unknown => Some(AddedToken::from(&piece.text, true)),
            // SentencePiece emits these whole wherever they occur in a text.
            PieceKind::UserDefined => {
                Some(AddedToken::from(piece.text.replace(SPACE, " "), false).normalized(false))
            }
            PieceKind::Normal | PieceKind::Unused | PieceKind::Byte => None,
        };
        self.pieces.iter().filter_map(added).collect()
    }
}

fn malformed(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Malformed {
        file: FILE.to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
pub(crate) mod tests;
