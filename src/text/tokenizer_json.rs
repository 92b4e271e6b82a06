//! Reading `tokenizer.json` so that no file, however damaged, brings the process down.
//!
//! The tokenizers library trusts its input: a merge that is longer than any token writes outside a
//! buffer, a zero length divides by zero, two tokens may share an id, and lists may be as long as
//! the file. So the file is read here, part by part, each number and each sum of it bounded; what
//! the library then gets to build is one stage at a time.

mod affixes;
mod file;
mod model;
mod stages;

use tokenizers::AddedToken;

pub(crate) use self::affixes::Affixes;
use self::file::FileSeed;
use super::detokenizer::DecoderStage;
use super::engine::{Effort, Engine, SpanPlace};
use super::files::parse_seed;
use crate::error::TokenizerError;

/// Name of the file, for errors.
pub(crate) const FILE: &str = "tokenizer.json";

/// Largest `tokenizer.json` that is read; the largest seen has 33 MiB for 262 144 tokens.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

/// A text that most faults of a file show at.
const PROBE: &str = "\u{2581}Aa1 <0x0A>\n\u{d55c}\u{1F642}";

/// A tokenizer as its file describes it, with nothing that cuts, pads or completes a text.
#[derive(Debug)]
pub(crate) struct LoadedTokenizer {
    /// What encodes a text.
    pub(crate) engine: Engine,
    /// What decodes one.
    pub(crate) decoder: Vec<DecoderStage>,
    /// The added tokens, in the order of the file.
    pub(crate) added: Vec<(u32, AddedToken)>,
    /// What the file puts around a text.
    pub(crate) affixes: Affixes,
    /// Spelling of the token for what the vocabulary cannot spell.
    pub(crate) unknown: Option<String>,
}

/// Reads a `tokenizer.json`.
///
/// # Errors
///
/// [`TokenizerError`] when the file is damaged, contradicts itself or asks for a part that this
/// crate does not implement.
pub(crate) fn load(bytes: &[u8]) -> Result<LoadedTokenizer, TokenizerError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TokenizerError::TooLarge {
            file: FILE.to_string(),
            found_bytes: bytes.len() as u64,
            limit_bytes: MAX_BYTES,
        });
    }
    let file = parse_seed(bytes, FILE, FileSeed)?;
    let affixes = Affixes::of(&file.post_processor).map_err(malformed)?;
    let normalizers = stages::normalizer(&file.normalizer)?;
    let splitters = stages::pre_tokenizer(&file.pre_tokenizer)?;
    let decoder = stages::decoder(&file.decoder)?;
    let model = file.model.ok_or_else(|| malformed("`model` is missing"))?;
    let model = model::build(model)?;
    let engine = Engine::new(model.model, model.vocab_end, normalizers, splitters);
    probe(&engine)?;
    Ok(LoadedTokenizer {
        engine,
        decoder,
        added: file.added_tokens,
        affixes,
        unknown: model.unknown,
    })
}

/// Normalises and cuts a text. That the vocabulary lacks a character is no fault of the file.
fn probe(engine: &Engine) -> Result<(), TokenizerError> {
    let effort = Effort::for_bytes(PROBE.len());
    let normalized = engine.normalize(PROBE, false, &effort).map_err(malformed)?;
    let _ = engine.encode(
        normalized.text(),
        SpanPlace::Start,
        &effort,
        &mut Vec::new(),
    );
    Ok(())
}

fn malformed(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Malformed {
        file: FILE.to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
