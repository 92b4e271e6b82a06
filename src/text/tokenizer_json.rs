//! Reading `tokenizer.json` so that no file, however damaged, brings the process down.
//!
//! The tokenizers library trusts its input: a merge that is longer than any token writes outside a
//! buffer, a zero length divides by zero, a missing special token panics, and two tokens may share
//! an id. What it does not check is checked here first, and nothing else; the library then runs on a
//! thread of its own, whose panic is an error.

mod affixes;

use std::collections::HashMap;
use std::thread;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{Model, PostProcessorWrapper};

pub(crate) use self::affixes::Affixes;
use super::files::parse_json;
use crate::error::TokenizerError;

/// Name of the file, for errors.
pub(crate) const FILE: &str = "tokenizer.json";

/// Largest `tokenizer.json` that is read; the largest seen has 33 MiB for 262 144 tokens.
pub(crate) const MAX_BYTES: u64 = 64 << 20;

/// One more than the largest id a token may have; four times the largest vocabulary seen. Without
/// it, a single entry could ask for a table of four thousand million rows.
pub(crate) const MAX_VOCAB_SIZE: u32 = 1 << 20;

/// Longest description of what is put around a text, which may grow with its square; the longest
/// seen has 2 KiB.
const MAX_POST_PROCESSOR_BYTES: usize = 16 << 10;

/// Longest regular expression; the longest seen has 300 bytes.
const MAX_PATTERN_BYTES: usize = 16 << 10;

/// Stack for building a tokenizer: the parser descends at most 128 levels, far below this.
const STACK_BYTES: usize = 8 << 20;

/// A tokenizer as its file describes it.
#[derive(Debug)]
pub(crate) struct LoadedTokenizer {
    /// The tokenizer, with nothing that cuts, pads or completes a text.
    pub(crate) backend: tokenizers::Tokenizer,
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
    let mut root = parse_json(bytes, FILE)?;
    let fields = root
        .as_object_mut()
        .ok_or_else(|| malformed("it is no JSON object"))?;
    check_parts(fields)?;
    let model = fields.get("model").unwrap_or(&Value::Null);
    check_model(model)?;
    let unknown = unknown_token(model);
    let added = fields.get("added_tokens").unwrap_or(&Value::Null);
    let added = Option::<Vec<AddedId>>::deserialize(added);
    let added = added.map_err(|error| malformed(error.to_string()))?;
    neutralise(fields);
    let (backend, affixes) = build(root)?;
    check_added_ids(&backend, &added.unwrap_or_default())?;
    Ok(LoadedTokenizer {
        backend,
        affixes,
        unknown,
    })
}

/// Most models name the token; a Unigram model gives its place.
fn unknown_token(model: &Value) -> Option<String> {
    let place = model
        .get("unk_id")
        .and_then(Value::as_u64)
        .and_then(|id| usize::try_from(id).ok());
    let listed = place.and_then(|place| model.get("vocab")?.get(place)?.get(0));
    let token = model
        .get("unk_token")
        .filter(|token| token.is_string())
        .or(listed)?;
    token.as_str().map(str::to_string)
}

/// Removes what must not act on a prompt: cutting, padding, random merges.
fn neutralise(fields: &mut Map<String, Value>) {
    for name in ["truncation", "padding"] {
        fields.insert(name.to_string(), Value::Null);
    }
    if let Some(Value::Object(model)) = fields.get_mut("model") {
        model.insert("dropout".to_string(), Value::Null);
    }
}

fn build(root: Value) -> Result<(tokenizers::Tokenizer, Affixes), TokenizerError> {
    let build_and_probe = move || -> Result<(tokenizers::Tokenizer, Affixes), String> {
        let mut tokenizer: tokenizers::Tokenizer =
            serde_json::from_value(root).map_err(|error| error.to_string())?;
        // What is wrong with a pattern or a missing unknown token shows at the first text. That
        // the vocabulary lacks a character is no fault, so only a panic counts.
        let _ = tokenizer.encode_fast("\u{2581}Aa1 <0x0A>\n한\u{1F642}", false);
        let affixes = Affixes::of(&tokenizer)?;
        tokenizer.with_post_processor(None::<PostProcessorWrapper>);
        Ok((tokenizer, affixes))
    };
    let thread = thread::Builder::new()
        .name("tokenizer".to_string())
        .stack_size(STACK_BYTES)
        .spawn(build_and_probe)
        .map_err(|error| malformed(format!("no thread to read it on: {error}")))?;
    match thread.join() {
        Ok(built) => built.map_err(malformed),
        Err(_panic) => Err(malformed("the tokenizers library panicked on it")),
    }
}

/// Checks the parts whose settings the library takes on trust.
fn check_parts(fields: &Map<String, Value>) -> Result<(), TokenizerError> {
    for part in ["normalizer", "pre_tokenizer", "decoder"] {
        if let Some(value) = fields.get(part) {
            check_part(value)?;
        }
    }
    let processor = fields.get("post_processor").unwrap_or(&Value::Null);
    if processor.to_string().len() > MAX_POST_PROCESSOR_BYTES {
        return Err(malformed("the post-processor is too long"));
    }
    check_part(processor)
}

fn check_part(value: &Value) -> Result<(), TokenizerError> {
    let Value::Object(part) = value else {
        return Ok(());
    };
    match part.get("type").and_then(Value::as_str) {
        Some("Precompiled") => {
            return Err(TokenizerError::Unsupported {
                file: FILE.to_string(),
                part: "normalizer",
                found: "Precompiled".to_string(),
                supported: "every other normalizer of the tokenizers library",
            });
        }
        Some("FixedLength") if part.get("length").and_then(Value::as_u64) == Some(0) => {
            return Err(malformed("pre-tokenizer FixedLength has length 0"));
        }
        _ => {}
    }
    let pattern = part.get("pattern").and_then(|pattern| pattern.get("Regex"));
    if let Some(pattern) = pattern.and_then(Value::as_str)
        && pattern.len() > MAX_PATTERN_BYTES
    {
        return Err(malformed(format!(
            "a regular expression has {} bytes",
            pattern.len()
        )));
    }
    if let Some(Value::Array(template)) = part.get("single") {
        check_template(template, part.get("special_tokens").unwrap_or(&Value::Null))?;
    }
    for children in ["normalizers", "pretokenizers", "decoders", "processors"] {
        if let Some(Value::Array(children)) = part.get(children) {
            children.iter().try_for_each(check_part)?;
        }
    }
    Ok(())
}

/// The library looks up what stands around a text without asking whether it is there.
fn check_template(template: &[Value], special_tokens: &Value) -> Result<(), TokenizerError> {
    let mut num_texts = 0;
    for piece in template {
        match piece.pointer("/SpecialToken/id").and_then(Value::as_str) {
            Some(name) if special_tokens.get(name).is_none() => {
                return Err(malformed(format!(
                    "the post-processor uses `{name}`, which it does not define"
                )));
            }
            Some(_defined) => {}
            None if piece.pointer("/Sequence/id") == Some(&Value::from("A")) => num_texts += 1,
            None => return Err(malformed("the post-processor asks for more than one text")),
        }
    }
    if num_texts == 1 {
        Ok(())
    } else {
        Err(malformed(format!(
            "the post-processor shows the text {num_texts} times"
        )))
    }
}

/// Checks ids and merges of a vocabulary that gives each token its id. In that of a Unigram model
/// the id is the place, and the library says what else there may be.
fn check_model(model: &Value) -> Result<(), TokenizerError> {
    if !model.is_object() {
        // The library would say which of its own types it could not make.
        return Err(malformed("`model` is missing"));
    }
    let Some(Value::Object(vocab)) = model.get("vocab") else {
        return Ok(());
    };
    check_ids(vocab)?;
    let prefix = model.get("continuing_subword_prefix");
    let prefix = prefix.and_then(Value::as_str).unwrap_or("");
    let merges = model.get("merges").and_then(Value::as_array);
    for (rank, merge) in merges.into_iter().flatten().enumerate() {
        if !is_version(merge) && !merged(merge, prefix).is_some_and(|it| vocab.contains_key(&it)) {
            return Err(malformed(format!(
                "merge {rank} makes no token of the vocabulary"
            )));
        }
    }
    Ok(())
}

fn check_ids(vocab: &Map<String, Value>) -> Result<(), TokenizerError> {
    let mut owners: HashMap<u64, &str> = HashMap::with_capacity(vocab.len());
    for (token, id) in vocab {
        let Some(id) = id.as_u64().filter(|&id| id < u64::from(MAX_VOCAB_SIZE)) else {
            return Err(malformed(format!("the id of `{token}` is {id}")));
        };
        if let Some(first) = owners.insert(id, token) {
            return Err(TokenizerError::DuplicateId {
                file: FILE.to_string(),
                id: id as u32,
                first: first.to_string(),
                second: token.clone(),
            });
        }
    }
    Ok(())
}

/// The first line of a list of merges may be that of the file it was copied from.
fn is_version(merge: &Value) -> bool {
    merge
        .as_str()
        .is_some_and(|line| line.starts_with("#version"))
}

/// The token that a merge makes. The library copies its halves into a buffer as long as the longest
/// token, and cuts the prefix off by its length alone.
fn merged(merge: &Value, prefix: &str) -> Option<String> {
    let (left, right) = match merge {
        Value::String(line) => line.split_once(' ')?,
        _ => (merge.get(0)?.as_str()?, merge.get(1)?.as_str()?),
    };
    Some(format!("{left}{}", right.strip_prefix(prefix)?))
}

/// What an added token must agree with the library on.
#[derive(Deserialize)]
struct AddedId {
    content: String,
    id: u32,
}

/// The library numbers added tokens itself; it agrees with the file only where the file has no gap.
/// Nor must an added token take the id of another piece of the vocabulary.
fn check_added_ids(
    backend: &tokenizers::Tokenizer,
    added: &[AddedId],
) -> Result<(), TokenizerError> {
    for AddedId { content, id } in added {
        let possible = backend.token_to_id(content).unwrap_or_default();
        if possible != *id {
            return Err(TokenizerError::TokenId {
                file: FILE.to_string(),
                token: content.clone(),
                declared: *id,
                possible,
            });
        }
        if let Some(piece) = backend.get_model().id_to_token(*id)
            && piece != *content
        {
            return Err(TokenizerError::DuplicateId {
                file: FILE.to_string(),
                id: *id,
                first: piece,
                second: content.clone(),
            });
        }
    }
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
