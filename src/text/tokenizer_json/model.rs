//! The model of a `tokenizer.json`: the pieces that text is cut into.

use std::collections::HashSet;

use tokenizers::ModelWrapper;
use tokenizers::models::bpe::{BPE, Merges, Vocab};
use tokenizers::models::unigram::Unigram;
use tokenizers::models::wordlevel::WordLevel;
use tokenizers::models::wordpiece::WordPiece;

use super::file::{ModelFile, VocabFile};
use super::{FILE, malformed};
use crate::error::TokenizerError;
use crate::text::engine::{MAX_TOKEN_BYTES, MAX_VOCAB_SIZE, guarded};

/// Longest word that WordPiece looks at, in characters: it takes the square of it. BERT has 100.
const MAX_WORD_CHARS: u64 = 1000;

/// Longest piece of a Unigram model, which looks up each beginning of it at each place of a text.
const MAX_UNIGRAM_PIECE_BYTES: usize = 128;

/// Most nodes of a Unigram model's tree, of some 350 bytes each; the most seen has a million.
const MAX_UNIGRAM_NODES: usize = 1 << 21;

/// A model, and one more than its largest id.
pub(super) struct Model {
    pub(super) model: ModelWrapper,
    pub(super) vocab_end: u32,
    /// Spelling of the token for what the vocabulary cannot spell.
    pub(super) unknown: Option<String>,
}

/// Checks the model and builds it.
pub(super) fn build(file: ModelFile) -> Result<Model, TokenizerError> {
    for affix in [
        &file.continuing_subword_prefix,
        &file.end_of_word_suffix,
        &file.unk_token,
    ] {
        let length = affix.as_ref().map_or(0, String::len);
        if length > MAX_TOKEN_BYTES {
            return Err(malformed(format!(
                "a token of the model has {length} bytes"
            )));
        }
    }
    match kind(&file)? {
        Kind::Bpe => bpe(file),
        Kind::WordPiece => word_piece(file),
        Kind::WordLevel => word_level(file),
        Kind::Unigram => unigram(file),
    }
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Bpe,
    WordPiece,
    WordLevel,
    Unigram,
}

/// Files of the first years do not say which model they hold.
fn kind(file: &ModelFile) -> Result<Kind, TokenizerError> {
    match file.kind.as_deref() {
        Some("BPE") => Ok(Kind::Bpe),
        Some("WordPiece") => Ok(Kind::WordPiece),
        Some("WordLevel") => Ok(Kind::WordLevel),
        Some("Unigram") => Ok(Kind::Unigram),
        Some(other) => Err(malformed(format!(
            "its model is of the unknown type {other}"
        ))),
        None if file.merges.is_some() => Ok(Kind::Bpe),
        None if matches!(file.vocab, Some(VocabFile::Scores(_))) => Ok(Kind::Unigram),
        None if file.max_input_chars_per_word.is_some() => Ok(Kind::WordPiece),
        None => Ok(Kind::WordLevel),
    }
}

fn ids(vocab: Option<VocabFile>) -> Result<(Vocab, u32), TokenizerError> {
    let Some(VocabFile::Ids(vocab)) = vocab else {
        return Err(malformed("its vocabulary gives no token an id"));
    };
    let vocab_end = check_ids(&vocab)?;
    Ok((vocab, vocab_end))
}

/// Checks that no two tokens share an id, and returns one more than the largest.
fn check_ids(vocab: &Vocab) -> Result<u32, TokenizerError> {
    let mut seen = vec![false; MAX_VOCAB_SIZE as usize];
    let mut end = 0;
    for (token, &id) in vocab {
        match seen.get_mut(id as usize) {
            None => return Err(malformed(format!("the id of `{token}` is {id}"))),
            Some(true) => return Err(duplicate(vocab, id)),
            Some(seen) => *seen = true,
        }
        end = end.max(id + 1);
    }
    Ok(end)
}

fn duplicate(vocab: &Vocab, id: u32) -> TokenizerError {
    let owners = vocab.iter().filter(|&(_, &other)| other == id);
    let mut owners: Vec<String> = owners.map(|(token, _)| token.clone()).collect();
    owners.sort();
    let mut owners = owners.into_iter();
    TokenizerError::DuplicateId {
        file: FILE.to_string(),
        id,
        first: owners.next().unwrap_or_default(),
        second: owners.next().unwrap_or_default(),
    }
}

fn bpe(file: ModelFile) -> Result<Model, TokenizerError> {
    let (vocab, vocab_end) = ids(file.vocab)?;
    let merges = file
        .merges
        .ok_or_else(|| malformed("its model has no merges"))?;
    let prefix = file.continuing_subword_prefix.filter(|it| !it.is_empty());
    check_merges(&vocab, &merges, prefix.as_deref().unwrap_or(""))?;
    let mut builder = BPE::builder()
        .vocab_and_merges(vocab, merges)
        .fuse_unk(file.fuse_unk.unwrap_or(false))
        .byte_fallback(file.byte_fallback.unwrap_or(false))
        .ignore_merges(file.ignore_merges.unwrap_or(false));
    if let Some(prefix) = prefix {
        builder = builder.continuing_subword_prefix(prefix);
    }
    if let Some(suffix) = file.end_of_word_suffix.filter(|it| !it.is_empty()) {
        builder = builder.end_of_word_suffix(suffix);
    }
    if let Some(unknown) = &file.unk_token {
        builder = builder.unk_token(unknown.clone());
    }
    let model = guarded(|| builder.build().map_err(|error| error.to_string()));
    Ok(Model {
        model: model.map_err(malformed)?.into(),
        vocab_end,
        unknown: file.unk_token,
    })
}

/// The library copies the halves of a merge into a buffer as long as the longest token, and cuts
/// the prefix off by its length alone.
fn check_merges(vocab: &Vocab, merges: &Merges, prefix: &str) -> Result<(), TokenizerError> {
    let mut merged = String::new();
    for (rank, (left, right)) in merges.iter().enumerate() {
        merged.clear();
        merged.push_str(left);
        let rest = right.strip_prefix(prefix);
        merged.push_str(rest.unwrap_or_default());
        if rest.is_none() || !vocab.contains_key(&merged) {
            return Err(malformed(format!(
                "merge {rank} makes no token of the vocabulary"
            )));
        }
    }
    Ok(())
}

fn word_piece(file: ModelFile) -> Result<Model, TokenizerError> {
    let (vocab, vocab_end) = ids(file.vocab)?;
    let max_chars = file.max_input_chars_per_word.unwrap_or(100);
    if max_chars > MAX_WORD_CHARS {
        return Err(malformed(format!(
            "max_input_chars_per_word is {max_chars}, the limit is {MAX_WORD_CHARS}"
        )));
    }
    let mut builder = WordPiece::builder()
        .vocab(vocab)
        .max_input_chars_per_word(max_chars as usize);
    if let Some(prefix) = file.continuing_subword_prefix {
        builder = builder.continuing_subword_prefix(prefix);
    }
    let unknown = file.unk_token.unwrap_or_else(|| "[UNK]".to_string());
    let builder = builder.unk_token(unknown.clone());
    let model = guarded(|| builder.build().map_err(|error| error.to_string()));
    Ok(Model {
        model: model.map_err(malformed)?.into(),
        vocab_end,
        unknown: Some(unknown),
    })
}

fn word_level(file: ModelFile) -> Result<Model, TokenizerError> {
    let (vocab, vocab_end) = ids(file.vocab)?;
    let unknown = file
        .unk_token
        .ok_or_else(|| malformed("its model names no unk_token"))?;
    let builder = WordLevel::builder().vocab(vocab).unk_token(unknown.clone());
    let model = guarded(|| builder.build().map_err(|error| error.to_string()));
    Ok(Model {
        model: model.map_err(malformed)?.into(),
        vocab_end,
        unknown: Some(unknown),
    })
}

/// In a Unigram model the id of a piece is its place.
fn unigram(file: ModelFile) -> Result<Model, TokenizerError> {
    let Some(VocabFile::Scores(pieces)) = file.vocab else {
        return Err(malformed("its vocabulary lists no tokens with scores"));
    };
    check_pieces(&pieces)?;
    let vocab_end = pieces.len() as u32;
    let place = file.unk_id.map(|id| id as usize);
    let unknown = place.and_then(|place| pieces.get(place));
    let unknown = unknown.map(|(piece, _)| piece.clone());
    let byte_fallback = file.byte_fallback.unwrap_or(false);
    let model = guarded(|| {
        let model = Unigram::from(pieces, place, byte_fallback);
        model.map_err(|error| error.to_string())
    });
    Ok(Model {
        model: model.map_err(malformed)?.into(),
        vocab_end,
        unknown,
    })
}

fn check_pieces(pieces: &[(String, f64)]) -> Result<(), TokenizerError> {
    let mut names = HashSet::with_capacity(pieces.len());
    for (piece, score) in pieces {
        if piece.len() > MAX_UNIGRAM_PIECE_BYTES {
            let length = piece.len();
            return Err(malformed(format!("a piece has {length} bytes")));
        }
        if !score.is_finite() || !names.insert(piece.as_str()) {
            return Err(malformed(format!("`{piece}` has no score, or two")));
        }
    }
    let mut sorted: Vec<&str> = names.into_iter().collect();
    sorted.sort_unstable();
    let shared = |pair: &[&str]| {
        let both = pair[0].bytes().zip(pair[1].bytes());
        both.take_while(|(a, b)| a == b).count()
    };
    let total: usize = sorted.iter().map(|piece| piece.len()).sum();
    let nodes = total - sorted.windows(2).map(shared).sum::<usize>();
    if nodes > MAX_UNIGRAM_NODES {
        return Err(malformed(format!(
            "its pieces differ in {nodes} places, the limit is {MAX_UNIGRAM_NODES}"
        )));
    }
    Ok(())
}
