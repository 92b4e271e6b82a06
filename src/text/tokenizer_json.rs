//! Reading `tokenizer.json` so that no file, however damaged, brings the process down.
//!
//! The tokenizers library trusts its input: a merge that is longer than any token writes outside a
//! buffer, a zero length divides by zero, a missing special token panics. Everything known to do so
//! is checked here first; the library then runs on a thread of its own, whose panic is an error.

mod affixes;

use std::collections::{HashMap, HashSet};
use std::thread;

use serde_json::{Map, Value};
use tokenizers::Model;

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
    let vocab = check_model(fields)?;
    let added = check_added_tokens(fields)?;
    let affixes = affixes(fields, &vocab, &added)?;
    let unknown = unknown_token(&fields["model"]);
    neutralise(fields);
    let backend = build(root)?;
    check_added_ids(&backend, &added)?;
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

/// Removes what must not act on a prompt: cutting, padding, random merges; and the post-processor,
/// whose ids are put around a text by [`Affixes`].
fn neutralise(fields: &mut Map<String, Value>) {
    for name in ["truncation", "padding", "post_processor"] {
        fields.insert(name.to_string(), Value::Null);
    }
    if let Some(Value::Object(model)) = fields.get_mut("model") {
        model.insert("dropout".to_string(), Value::Null);
    }
}

fn build(root: Value) -> Result<tokenizers::Tokenizer, TokenizerError> {
    let build_and_probe = move || -> Result<tokenizers::Tokenizer, String> {
        let tokenizer: tokenizers::Tokenizer =
            serde_json::from_value(root).map_err(|error| error.to_string())?;
        // What is wrong with a pattern or a missing unknown token shows at the first text. That
        // the vocabulary lacks a character is no fault, so only a panic counts.
        let _ = tokenizer.encode_fast("\u{2581}Aa1 <0x0A>\n한\u{1F642}", false);
        Ok(tokenizer)
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
    Ok(())
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
    for children in ["normalizers", "pretokenizers", "decoders"] {
        if let Some(Value::Array(children)) = part.get(children) {
            children.iter().try_for_each(check_part)?;
        }
    }
    Ok(())
}

type Vocab = HashMap<String, u32>;

fn check_model(fields: &Map<String, Value>) -> Result<Vocab, TokenizerError> {
    let Some(Value::Object(model)) = fields.get("model") else {
        return Err(malformed("field `model` is missing"));
    };
    let vocab = match model.get("vocab") {
        Some(Value::Object(entries)) => vocab_from_map(entries)?,
        Some(Value::Array(entries)) => vocab_from_list(entries)?,
        _ => return Err(malformed("field `model.vocab` is missing")),
    };
    let prefix = model
        .get("continuing_subword_prefix")
        .and_then(Value::as_str)
        .unwrap_or("");
    if let Some(Value::Array(merges)) = model.get("merges") {
        for (rank, merge) in merges.iter().enumerate() {
            check_merge(rank, merge, prefix, &vocab)?;
        }
    }
    Ok(vocab)
}

fn vocab_from_map(entries: &Map<String, Value>) -> Result<Vocab, TokenizerError> {
    let mut vocab = Vocab::with_capacity(entries.len());
    let mut owners: HashMap<u32, &str> = HashMap::with_capacity(entries.len());
    for (token, id) in entries {
        let id = valid_id(token, id)?;
        if let Some(first) = owners.insert(id, token) {
            return Err(TokenizerError::DuplicateId {
                file: FILE.to_string(),
                id,
                first: first.to_string(),
                second: token.clone(),
            });
        }
        vocab.insert(token.clone(), id);
    }
    Ok(vocab)
}

/// A Unigram model lists its pieces with their scores; the id is the place in the list.
fn vocab_from_list(entries: &[Value]) -> Result<Vocab, TokenizerError> {
    if entries.len() > MAX_VOCAB_SIZE as usize {
        return Err(malformed(format!(
            "the vocabulary has {} entries",
            entries.len()
        )));
    }
    let piece = |(id, entry): (usize, &Value)| {
        let piece = entry.get(0).and_then(Value::as_str);
        piece
            .map(|piece| (piece.to_string(), id as u32))
            .ok_or_else(|| malformed(format!("vocabulary entry {id} has no text")))
    };
    entries.iter().enumerate().map(piece).collect()
}

fn check_merge(
    rank: usize,
    merge: &Value,
    prefix: &str,
    vocab: &Vocab,
) -> Result<(), TokenizerError> {
    let wrong = |reason: &str| malformed(format!("merge {rank} {reason}"));
    let halves = match merge {
        Value::String(line) if line.starts_with("#version") => return Ok(()),
        Value::String(line) => line.split_once(' '),
        _ => merge
            .get(0)
            .and_then(Value::as_str)
            .zip(merge.get(1).and_then(Value::as_str)),
    };
    let (left, right) = halves.ok_or_else(|| wrong("is no pair"))?;
    if !vocab.contains_key(left) || !vocab.contains_key(right) {
        return Err(wrong("joins tokens outside of the vocabulary"));
    }
    let tail = right
        .strip_prefix(prefix)
        .ok_or_else(|| wrong("joins a token without the continuing prefix"))?;
    if !vocab.contains_key(&format!("{left}{tail}")) {
        return Err(wrong("makes a token outside of the vocabulary"));
    }
    Ok(())
}

fn check_added_tokens(fields: &Map<String, Value>) -> Result<Vec<(String, u32)>, TokenizerError> {
    let Some(Value::Array(tokens)) = fields.get("added_tokens") else {
        return Ok(Vec::new());
    };
    let mut added = Vec::with_capacity(tokens.len());
    for token in tokens {
        let content = token
            .get("content")
            .and_then(Value::as_str)
            .unwrap_or_default();
        if content.is_empty() {
            return Err(malformed("an added token has no text"));
        }
        let id = valid_id(content, token.get("id").unwrap_or(&Value::Null))?;
        added.push((content.to_string(), id));
    }
    Ok(added)
}

fn valid_id(token: &str, id: &Value) -> Result<u32, TokenizerError> {
    id.as_u64()
        .and_then(|id| u32::try_from(id).ok())
        .filter(|&id| id < MAX_VOCAB_SIZE)
        .ok_or_else(|| malformed(format!("the id of `{token}` is {id}")))
}

/// The library numbers added tokens itself; it agrees with the file only where the file has no gap.
fn check_added_ids(
    backend: &tokenizers::Tokenizer,
    added: &[(String, u32)],
) -> Result<(), TokenizerError> {
    for (token, declared) in added {
        let possible = backend.token_to_id(token).unwrap_or_default();
        if possible != *declared {
            return Err(TokenizerError::TokenId {
                file: FILE.to_string(),
                token: token.clone(),
                declared: *declared,
                possible,
            });
        }
    }
    // An added token must not take the id of another piece of the vocabulary either.
    for (token, id) in added {
        if let Some(piece) = backend.get_model().id_to_token(*id)
            && piece != *token
        {
            return Err(TokenizerError::DuplicateId {
                file: FILE.to_string(),
                id: *id,
                first: piece,
                second: token.clone(),
            });
        }
    }
    Ok(())
}

fn affixes(
    fields: &Map<String, Value>,
    vocab: &Vocab,
    added: &[(String, u32)],
) -> Result<Affixes, TokenizerError> {
    let affixes = Affixes::read(fields.get("post_processor").unwrap_or(&Value::Null))?;
    let known: HashSet<u32> = vocab
        .values()
        .copied()
        .chain(added.iter().map(|(_, id)| *id))
        .collect();
    match affixes
        .prefix
        .iter()
        .chain(&affixes.suffix)
        .find(|id| !known.contains(id))
    {
        Some(id) => Err(malformed(format!(
            "the post-processor adds the unknown id {id}"
        ))),
        None => Ok(affixes),
    }
}

fn malformed(reason: impl Into<String>) -> TokenizerError {
    TokenizerError::Malformed {
        file: FILE.to_string(),
        reason: reason.into(),
    }
}

#[cfg(test)]
mod tests;
