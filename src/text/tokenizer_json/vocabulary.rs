//! `vocab.json` and `merges.txt`: what a `tokenizer.json` holds of its model, and nothing else.
//!
//! How a text is cut into words before it is merged does not stand in them: the class that the
//! checkpoint names knows it.

use std::marker::PhantomData;

use super::affixes::Affixes;
use super::file::{ModelFile, VocabFile, merges_of_lines};
use super::{LoadedTokenizer, Stages, class, join};
use crate::error::TokenizerError;
use crate::text::files::parse_seed;
use crate::text::tokenizer_class::TokenizerClass;

/// The tokens and their ids.
pub(crate) const VOCAB_FILE: &str = "vocab.json";

/// The merges, best first, one a line.
pub(crate) const MERGES_FILE: &str = "merges.txt";

/// Reads the vocabulary and the merges of a byte-level class.
///
/// # Errors
///
/// [`TokenizerError`] when a file is damaged or they do not belong together.
pub(crate) fn load_vocabulary(
    vocab: &[u8],
    merges: &[u8],
    class: TokenizerClass,
) -> Result<LoadedTokenizer, TokenizerError> {
    let malformed_merges = |reason: String| TokenizerError::Malformed {
        file: MERGES_FILE.to_string(),
        reason,
    };
    let merges =
        std::str::from_utf8(merges).map_err(|error| malformed_merges(error.to_string()))?;
    let merges = merges_of_lines(merges).map_err(|error| malformed_merges(error.to_string()))?;
    let model = ModelFile {
        kind: Some("BPE".to_string()),
        vocab: Some(parse_seed(vocab, VOCAB_FILE, PhantomData::<VocabFile>)?),
        merges: Some(merges),
        ..ModelFile::default()
    };
    let stages = Stages::of_class(class, &Affixes::default())?;
    let loaded = join(class::model_of(class, model), stages);
    let loaded = loaded.map_err(|error| error.about(VOCAB_FILE))?;
    Ok(LoadedTokenizer {
        class: Some(class),
        ..loaded
    })
}
