//! The words of a GGUF file: its vocabulary, the tokens that end an answer, its chat template.

use super::fields::Fields;
use crate::error::{ConfigError, Result};
use crate::text::GgufVocabulary;
use crate::weights::{GgufMetadata, GgufValue};

/// Control tokens that end an answer wherever they are in a vocabulary; files name one or two, and
/// older ones not the one that their chat template writes.
const ENDINGS: [&str; 7] = [
    "<|eot_id|>",
    "<|im_end|>",
    "<|end|>",
    "<|endoftext|>",
    "<|eom_id|>",
    "<end_of_turn>",
    "<end_of_utterance>",
];

/// Number of the control tokens in `tokenizer.ggml.token_type`.
const CONTROL: i64 = 3;

/// The vocabulary of a file.
///
/// # Errors
///
/// [`ConfigError::Missing`] when it has none.
pub(super) fn vocabulary(fields: &Fields<'_>, metadata: &GgufMetadata) -> Result<GgufVocabulary> {
    let key = |name: &str| format!("tokenizer.ggml.{name}");
    let texts = |name: &str| match metadata.get(&key(name)) {
        Some(GgufValue::Texts(texts)) => texts.clone(),
        _ => Vec::new(),
    };
    let text = |name: &str| fields.text(&key(name)).map(|text| text.map(str::to_string));
    let missing = || ConfigError::Missing {
        field: key("model"),
    };
    let id = |name: &str| fields.count(&key(name), 0..=u32::MAX as usize);
    let id = |name: &str| id(name).map(|id| id.and_then(|id| u32::try_from(id).ok()));
    Ok(GgufVocabulary {
        model: text("model")?.ok_or_else(missing)?,
        pre: text("pre")?,
        tokens: texts("tokens"),
        scores: match metadata.get(&key("scores")) {
            Some(GgufValue::Floats(scores)) => scores.clone(),
            _ => Vec::new(),
        },
        kinds: match metadata.get(&key("token_type")) {
            Some(GgufValue::Integers(kinds)) => kinds.clone(),
            _ => Vec::new(),
        },
        merges: texts("merges"),
        bos_id: id("bos_token_id")?,
        eos_id: id("eos_token_id")?,
        unknown_id: id("unknown_token_id")?,
        padding_id: id("padding_token_id")?,
        adds_bos: fields.flag(&key("add_bos_token"))?,
        adds_eos: fields.flag(&key("add_eos_token"))?,
        adds_space: fields.flag(&key("add_space_prefix"))?,
        has_rewritten_spaces: fields
            .flag(&key("remove_extra_whitespaces"))?
            .unwrap_or(false),
    })
}

/// The ids that end an answer.
pub(super) fn ending_ids(fields: &Fields<'_>, vocabulary: &GgufVocabulary) -> Result<Vec<u32>> {
    let mut ids = vocabulary.eos_id.into_iter().collect::<Vec<_>>();
    for name in ["eot_token_id", "eom_token_id"] {
        ids.extend(fields.token_ids(&format!("tokenizer.ggml.{name}"))?);
    }
    let tokens = vocabulary.tokens.iter().zip(&vocabulary.kinds);
    let ends = |(token, kind): (&String, &i64)| *kind == CONTROL && ENDINGS.contains(&&**token);
    let named = tokens.enumerate().filter(|(_, token)| ends(*token));
    ids.extend(named.filter_map(|(id, _)| u32::try_from(id).ok()));
    ids.sort_unstable();
    ids.dedup();
    Ok(ids)
}

/// The chat template of a file.
pub(super) fn chat_template(metadata: &GgufMetadata) -> Option<&str> {
    match metadata.get("tokenizer.chat_template")? {
        GgufValue::Text(source) => Some(source),
        _ => None,
    }
}
