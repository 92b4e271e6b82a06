//! Reading `tokenizer.json` so that no file, however damaged, brings the process down.
//!
//! The tokenizers library trusts its input: a merge that is longer than any token writes outside a
//! buffer, a zero length divides by zero, two tokens may share an id, and lists may be as long as
//! the file. So the file is read here, part by part, each number and each sum of it bounded; what
//! the library then gets to build is one stage at a time.

mod affixes;
mod class;
mod file;
mod model;
mod stages;
mod vocabulary;

use tokenizers::AddedToken;

pub(crate) use self::affixes::Affixes;
use self::file::{File, FileSeed, ModelFile};
pub(crate) use self::vocabulary::{MERGES_FILE, VOCAB_FILE, load_vocabulary};
use super::detokenizer::DecoderStage;
use super::engine::{Effort, Engine, NormalizerStage, SpanPlace, SplitterStage};
use super::files::parse_seed;
use super::tokenizer_class::TokenizerClass;
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
    /// The class that built it, where that is not the file alone.
    pub(crate) class: Option<TokenizerClass>,
}

/// Reads a `tokenizer.json`, of which `class` may take no more than it wants.
///
/// # Errors
///
/// [`TokenizerError`] when the file is damaged, contradicts itself or asks for a part that this
/// crate does not implement.
pub(crate) fn load(
    bytes: &[u8],
    class: Option<TokenizerClass>,
) -> Result<LoadedTokenizer, TokenizerError> {
    if bytes.len() as u64 > MAX_BYTES {
        return Err(TokenizerError::TooLarge {
            file: FILE.to_string(),
            found_bytes: bytes.len() as u64,
            limit_bytes: MAX_BYTES,
        });
    }
    let file = parse_seed(bytes, FILE, FileSeed)?;
    let class = class.and_then(|class| class::of_file(class, bytes, &file));
    let mut stages = Stages::of_file(&file)?;
    let mut model = file.model.ok_or_else(|| malformed("`model` is missing"))?;
    if let Some(class) = class {
        let own = Stages::of_class(class, &stages.affixes)?;
        if !class.agrees(&stages.normalizers, &stages.splitters) || own.affixes != stages.affixes {
            log::warn!(
                "{FILE} encodes a text otherwise than {}, the class that the checkpoint names, \
                 which counts",
                class.name()
            );
        }
        stages = own;
        model = class::model_of(class, model);
    }
    let loaded = join(model, stages)?;
    Ok(LoadedTokenizer {
        added: file.added_tokens,
        class,
        ..loaded
    })
}

/// What encodes and decodes a text, besides the model.
struct Stages {
    normalizers: Vec<NormalizerStage>,
    splitters: Vec<SplitterStage>,
    decoder: Vec<DecoderStage>,
    affixes: Affixes,
}

impl Stages {
    fn of_file(file: &File) -> Result<Self, TokenizerError> {
        Ok(Self {
            affixes: Affixes::of(&file.post_processor).map_err(malformed)?,
            normalizers: stages::normalizer(&file.normalizer)?,
            splitters: stages::pre_tokenizer(&file.pre_tokenizer)?,
            decoder: stages::decoder(&file.decoder)?,
        })
    }

    fn of_class(class: TokenizerClass, affixes: &Affixes) -> Result<Self, TokenizerError> {
        Ok(Self {
            affixes: class::affixes_of(class, affixes),
            normalizers: class.normalizers(),
            splitters: class.splitters().map_err(malformed)?,
            decoder: class.decoders().map_err(malformed)?,
        })
    }
}

/// A tokenizer that adds no token to those of its model.
fn join(model: ModelFile, stages: Stages) -> Result<LoadedTokenizer, TokenizerError> {
    let model = model::build(model)?;
    let engine = Engine::new(
        model.model,
        model.vocab_end,
        stages.normalizers,
        stages.splitters,
    );
    probe(&engine)?;
    Ok(LoadedTokenizer {
        engine,
        decoder: stages.decoder,
        added: Vec::new(),
        affixes: stages.affixes,
        unknown: model.unknown,
        class: None,
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
