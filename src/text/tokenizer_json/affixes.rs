//! What a `tokenizer.json` puts around a text.

use serde_json::Value;

use super::{FILE, malformed, valid_id};
use crate::error::TokenizerError;

/// The ids that are put around a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Affixes {
    /// In front of it.
    pub(crate) prefix: Vec<u32>,
    /// Behind it.
    pub(crate) suffix: Vec<u32>,
}

impl Affixes {
    /// Reads which ids a post-processor puts around a text.
    pub(super) fn read(processor: &Value) -> Result<Self, TokenizerError> {
        match processor.get("type").and_then(Value::as_str) {
            None | Some("ByteLevel") => Ok(Self::default()),
            Some("TemplateProcessing") => Self::of_template(processor),
            Some("BertProcessing" | "RobertaProcessing") => Ok(Self {
                prefix: vec![paired_id(processor, "cls")?],
                suffix: vec![paired_id(processor, "sep")?],
            }),
            Some("Sequence") => {
                let children = processor.get("processors").and_then(Value::as_array);
                let mut affixes = Self::default();
                for child in children.into_iter().flatten() {
                    let outer = Self::read(child)?;
                    affixes.prefix.splice(0..0, outer.prefix);
                    affixes.suffix.extend(outer.suffix);
                }
                Ok(affixes)
            }
            Some(other) => Err(TokenizerError::Unsupported {
                file: FILE.to_string(),
                part: "post-processor",
                found: other.to_string(),
                supported: "TemplateProcessing, BertProcessing, RobertaProcessing, ByteLevel \
                            and Sequence",
            }),
        }
    }

    fn of_template(processor: &Value) -> Result<Self, TokenizerError> {
        let items = processor
            .get("single")
            .and_then(Value::as_array)
            .ok_or_else(|| malformed("the post-processor has no template for one text"))?;
        let mut affixes = Self::default();
        let mut is_behind_text = false;
        for item in items {
            if item.get("Sequence").is_some() {
                is_behind_text = true;
                continue;
            }
            let side = if is_behind_text {
                &mut affixes.suffix
            } else {
                &mut affixes.prefix
            };
            side.extend(special_ids(processor, item)?);
        }
        Ok(affixes)
    }
}

/// The ids of a special token in a template.
fn special_ids(processor: &Value, item: &Value) -> Result<Vec<u32>, TokenizerError> {
    let name = item.get("SpecialToken").and_then(|token| token.get("id"));
    let name = name.and_then(Value::as_str).unwrap_or_default();
    let entry = processor
        .get("special_tokens")
        .and_then(|tokens| tokens.get(name));
    let ids = entry
        .and_then(|entry| entry.get("ids"))
        .and_then(Value::as_array);
    let ids = ids.ok_or_else(|| {
        malformed(format!(
            "the post-processor uses `{name}`, which it does not define"
        ))
    })?;
    ids.iter().map(|id| valid_id(name, id)).collect()
}

/// The id in a pair of a token and its id.
fn paired_id(processor: &Value, name: &str) -> Result<u32, TokenizerError> {
    let id = processor
        .get(name)
        .and_then(|pair| pair.get(1))
        .unwrap_or(&Value::Null);
    valid_id(name, id)
}
