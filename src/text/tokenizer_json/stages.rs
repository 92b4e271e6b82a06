//! The stages of a `tokenizer.json`: how a text is normalised, cut into words, and put together.

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::{DecoderWrapper, NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::malformed;
use crate::error::TokenizerError;
use crate::text::detokenizer::DecoderStage;
use crate::text::engine::{
    Charsmap, MAX_STAGES, MAX_TOKEN_BYTES, Matcher, NormalizerStage, SplitterStage, guarded,
};

/// How much longer a decoder may make a token, all its stages together. Those seen make none longer.
const MAX_DECODER_GROWTH: usize = 4;

/// Most characters that a decoder may cut off an end; those seen cut off one.
const MAX_STRIP: usize = 32;

pub(super) fn normalizer(value: &Value) -> Result<Vec<NormalizerStage>, TokenizerError> {
    parse(value, "normalizers", |kind, stage| match kind {
        "Replace" => {
            let (wanted, content) = replacement(stage)?;
            Ok(NormalizerStage::Replace { wanted, content })
        }
        "Prepend" => Ok(NormalizerStage::Prepend(text(stage, "prepend")?)),
        "Precompiled" => Ok(NormalizerStage::Charsmap(charsmap(stage)?.into())),
        _ => match library(stage)? {
            NormalizerWrapper::Sequence(_)
            | NormalizerWrapper::Replace(_)
            | NormalizerWrapper::Prepend(_)
            | NormalizerWrapper::Precompiled(_) => Err(unknown(kind)),
            plain => Ok(NormalizerStage::Library(plain)),
        },
    })
}

pub(super) fn pre_tokenizer(value: &Value) -> Result<Vec<SplitterStage>, TokenizerError> {
    parse(value, "pretokenizers", |kind, stage| match kind {
        "Split" => {
            let behavior = stage.get("behavior").unwrap_or(&Value::Null);
            let behavior = SplitDelimiterBehavior::deserialize(behavior);
            Ok(SplitterStage::Split {
                wanted: matcher(stage)?,
                behavior: behavior.map_err(|error| malformed(error.to_string()))?,
                is_inverted: stage
                    .get("invert")
                    .and_then(Value::as_bool)
                    .unwrap_or(false),
            })
        }
        "FixedLength" if stage.get("length").and_then(Value::as_u64) == Some(0) => {
            Err(malformed("pre-tokenizer FixedLength has length 0"))
        }
        _ => match library(stage)? {
            PreTokenizerWrapper::Sequence(_) | PreTokenizerWrapper::Split(_) => Err(unknown(kind)),
            plain => Ok(SplitterStage::Library(plain)),
        },
    })
}

pub(super) fn decoder(value: &Value) -> Result<Vec<DecoderStage>, TokenizerError> {
    let stages = parse(value, "decoders", |kind, stage| match kind {
        "Replace" => {
            let (wanted, content) = replacement(stage)?;
            Ok(DecoderStage::Replace { wanted, content })
        }
        _ => match library(stage)? {
            DecoderWrapper::Sequence(_) | DecoderWrapper::Replace(_) => Err(unknown(kind)),
            DecoderWrapper::Strip(strip) if strip.start.max(strip.stop) > MAX_STRIP => {
                Err(malformed(format!(
                    "decoder Strip cuts off more than {MAX_STRIP} characters"
                )))
            }
            plain => Ok(DecoderStage::Library(plain)),
        },
    })?;
    let growth = stages.iter().map(growth).fold(1, usize::saturating_mul);
    if growth > MAX_DECODER_GROWTH {
        return Err(malformed(format!(
            "its decoder may make a token {growth} times as long"
        )));
    }
    Ok(stages)
}

/// How many times as long a stage may make a token.
fn growth(stage: &DecoderStage) -> usize {
    match stage {
        DecoderStage::Replace { wanted, content } => {
            content.len().div_ceil(wanted.shortest()).max(1)
        }
        DecoderStage::Library(DecoderWrapper::BPE(decoder)) if decoder.suffix.is_empty() => 2,
        DecoderStage::Library(DecoderWrapper::CTC(decoder))
            if decoder.word_delimiter_token.is_empty() =>
        {
            2
        }
        DecoderStage::Library(_) => 1,
    }
}

/// Makes a flat list of a stage or a tree of them.
fn parse<T>(
    value: &Value,
    children: &str,
    make: impl Fn(&str, &Map<String, Value>) -> Result<T, TokenizerError>,
) -> Result<Vec<T>, TokenizerError> {
    let mut stages = Vec::new();
    let mut pending = vec![value];
    while let Some(value) = pending.pop() {
        let stage = match value {
            Value::Null => continue,
            Value::Object(stage) => stage,
            _ => return Err(malformed("a stage is no JSON object")),
        };
        if stages.len() + pending.len() > MAX_STAGES {
            return Err(malformed(format!("it has more than {MAX_STAGES} stages")));
        }
        match (
            stage.get("type").and_then(Value::as_str),
            stage.get(children),
        ) {
            (Some("Sequence"), Some(Value::Array(children))) => {
                pending.extend(children.iter().rev())
            }
            (Some("Sequence"), _) => {
                return Err(malformed(format!("a sequence has no {children}")));
            }
            (Some(kind), _) => stages.push(make(kind, stage)?),
            (None, _) => return Err(malformed("a stage has no type")),
        }
    }
    Ok(stages)
}

fn replacement(stage: &Map<String, Value>) -> Result<(Matcher, String), TokenizerError> {
    Ok((matcher(stage)?, text(stage, "content")?))
}

fn charsmap(stage: &Map<String, Value>) -> Result<Charsmap, TokenizerError> {
    let table = stage.get("precompiled_charsmap").and_then(Value::as_str);
    let table = table.and_then(|table| base64::decode(table).ok());
    let table = table.ok_or_else(|| malformed("a normalizer has no character map in base64"))?;
    Charsmap::parse(&table).map_err(malformed)
}

fn matcher(stage: &Map<String, Value>) -> Result<Matcher, TokenizerError> {
    let pattern = stage.get("pattern").unwrap_or(&Value::Null);
    let of = |kind: &str| pattern.get(kind).and_then(Value::as_str);
    let matcher = match (of("String"), of("Regex")) {
        (Some(text), _) => Matcher::text(text),
        (None, Some(pattern)) => Matcher::pattern(pattern),
        (None, None) => Err("a stage has no pattern".to_string()),
    };
    matcher.map_err(malformed)
}

fn text(stage: &Map<String, Value>, field: &str) -> Result<String, TokenizerError> {
    match stage.get(field).and_then(Value::as_str) {
        None => Err(malformed(format!("a stage has no {field}"))),
        Some(text) if text.len() > MAX_TOKEN_BYTES => {
            let length = text.len();
            Err(malformed(format!(
                "the {field} of a stage has {length} bytes"
            )))
        }
        Some(text) => Ok(text.to_string()),
    }
}

fn unknown(kind: &str) -> TokenizerError {
    malformed(format!("a stage is of the unknown type {kind}"))
}

/// Leaves a stage without lists and patterns to the library.
fn library<T: for<'de> Deserialize<'de>>(stage: &Map<String, Value>) -> Result<T, TokenizerError> {
    let texts = stage.values().filter_map(Value::as_str);
    if let Some(text) = texts.into_iter().find(|text| text.len() > MAX_TOKEN_BYTES) {
        let length = text.len();
        return Err(malformed(format!("a text of a stage has {length} bytes")));
    }
    let parsed = guarded(|| {
        let parsed = serde_json::from_value(Value::Object(stage.clone()));
        parsed.map_err(|error| error.to_string())
    });
    parsed.map_err(malformed)
}
