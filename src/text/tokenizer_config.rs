//! The files beside a tokenizer that name its special tokens.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::path::Path;

use serde::Deserialize;
use serde_json::{Map, Value};
use tokenizers::AddedToken;

use super::files;
use super::tokenizer_class::{TokenizerClass, is_true};
use super::warnings::warn_of_each;
use crate::error::{Result, TokenizerError, visible};

const CONFIG: &str = "tokenizer_config.json";
const MODEL_CONFIG: &str = "config.json";
const SPECIAL_TOKENS_MAP: &str = "special_tokens_map.json";
const ADDED_TOKENS: &str = "added_tokens.json";

/// The names of special tokens that every tokenizer may have, in the order in which they are added.
const NAMES: [&str; 7] = [
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
];

/// What `tokenizer_config.json`, `special_tokens_map.json` and `added_tokens.json` say together.
#[derive(Debug, Clone, Default)]
pub(crate) struct TokenizerConfig {
    /// Each named special token, by its key: `bos_token`, `eos_token`, `unk_token`, ...
    pub(crate) named: BTreeMap<String, AddedToken>,
    /// The names that belong to no token, because a file says so.
    pub(crate) unnamed: BTreeSet<String>,
    /// Special tokens without a name.
    pub(crate) extra: Vec<AddedToken>,
    /// Tokens added to the vocabulary, by id.
    pub(crate) added: BTreeMap<u32, AddedToken>,
    /// Whether `bos_token` is put in front of a prompt.
    pub(crate) add_bos_token: Option<bool>,
    /// Whether `eos_token` is put behind a prompt.
    pub(crate) add_eos_token: Option<bool>,
    /// Whether a special token is text like any other.
    pub(crate) splits_special_tokens: bool,
    /// Whether SentencePiece prefixes every span of text and not only the first.
    pub(crate) is_legacy: Option<bool>,
    /// Whether SentencePiece prefixes a text at all.
    pub(crate) add_prefix_space: Option<bool>,
    /// The class that builds the tokenizer, where the file does not.
    pub(crate) class: Option<TokenizerClass>,
    /// The class that builds it of `vocab.json` and `merges.txt`.
    pub(crate) vocabulary_class: Option<TokenizerClass>,
}

impl TokenizerConfig {
    /// Reads whichever of the files the folder holds.
    pub(crate) fn read(folder: &Path) -> Result<Self> {
        let mut config = Self::default();
        let tokenizer = read_object(folder, CONFIG)?;
        config.read_config(&tokenizer)?;
        let model = read_object(folder, MODEL_CONFIG)?;
        config.class = TokenizerClass::of(&tokenizer, &model);
        config.vocabulary_class = TokenizerClass::of_vocabulary(&tokenizer, &model);
        // `added_tokens_decoder` came with the format that made the other two files redundant;
        // where it is present, even empty, they may be left over from an older save.
        let is_newer = |it: &Value| !it.is_null();
        if !tokenizer.get("added_tokens_decoder").is_some_and(is_newer) {
            if let Some(value) = files::read_json(folder, SPECIAL_TOKENS_MAP)? {
                config.read_special_tokens(&object(value, SPECIAL_TOKENS_MAP)?);
            }
            if let Some(value) = files::read_json(folder, ADDED_TOKENS)? {
                config.read_added_tokens(&object(value, ADDED_TOKENS)?)?;
            }
        }
        Ok(config)
    }

    /// Every special token, in the order in which transformers adds those that are new.
    pub(crate) fn special_tokens(&self) -> impl Iterator<Item = &AddedToken> {
        let first = NAMES.iter().filter_map(|name| self.named.get(*name));
        let is_other = |(name, _): &(&String, _)| !NAMES.contains(&name.as_str());
        let others = self.named.iter().filter(is_other).map(|(_, token)| token);
        first.chain(others).chain(&self.extra)
    }

    /// Gives a special token its name, unless a file gave it to another.
    pub(crate) fn name(&mut self, name: &str, content: String) {
        self.named
            .entry(name.to_string())
            .or_insert_with(|| AddedToken::from(content, true));
    }

    /// Gives a special token its name, unless a file gave it to another or to none.
    pub(crate) fn name_by_default(&mut self, name: &str, content: &str) {
        if !self.unnamed.contains(name) {
            self.name(name, content.to_string());
        }
    }

    /// Has every token looked for in the text as it is.
    pub(crate) fn look_for_tokens_as_written(&mut self) {
        let added = self.added.values_mut();
        let special = self.named.values_mut().chain(&mut self.extra);
        added
            .chain(special)
            .for_each(|token| token.normalized = false);
    }

    fn read_config(&mut self, config: &Map<String, Value>) -> Result<(), TokenizerError> {
        self.read_special_tokens(config);
        self.add_bos_token = config.get("add_bos_token").and_then(Value::as_bool);
        self.add_eos_token = config.get("add_eos_token").and_then(Value::as_bool);
        self.splits_special_tokens = config.get("split_special_tokens").is_some_and(is_true);
        self.is_legacy = config.get("legacy").map(is_true);
        self.add_prefix_space = config.get("add_prefix_space").and_then(Value::as_bool);
        let Some(Value::Object(decoder)) = config.get("added_tokens_decoder") else {
            return Ok(());
        };
        for (id, token) in decoder {
            let malformed = |reason: String| TokenizerError::Malformed {
                file: CONFIG.to_string(),
                reason: format!("added_tokens_decoder entry `{id}`: {reason}"),
            };
            let token = AddedTokenEntry::deserialize(token)
                .map_err(|error| malformed(error.to_string()))?;
            let id: u32 = id.parse().map_err(|error| malformed(format!("{error}")))?;
            self.added.insert(id, token.into());
        }
        Ok(())
    }

    fn read_special_tokens(&mut self, entries: &Map<String, Value>) {
        let mut warnings = Vec::new();
        for (key, value) in entries {
            match key.as_str() {
                // The older name of the next, unless that is empty.
                "additional_special_tokens"
                    if entries.get("extra_special_tokens").is_some_and(is_true) => {}
                "additional_special_tokens" | "extra_special_tokens" => {
                    self.extra.extend(special_tokens(value));
                }
                _ if key.ends_with("_token") => {
                    if value.is_null() {
                        self.unnamed.insert(key.clone());
                    }
                    if let Some(token) = special_token(value) {
                        warnings.extend(self.other_name(key, &token));
                        self.named.insert(key.clone(), token);
                    }
                }
                _ => {}
            }
        }
        warn_of_each(warnings.into_iter());
    }

    /// What to say where a file gives a name to another token than the file before it.
    fn other_name(&self, name: &str, token: &AddedToken) -> Option<String> {
        let first = self.named.get(name)?;
        (first.content != token.content).then(|| {
            let (first, second) = (visible(&first.content), visible(&token.content));
            let name = visible(name);
            format!(
                "{CONFIG} calls `{first}` the {name}, {SPECIAL_TOKENS_MAP} calls `{second}` so, \
                 which counts"
            )
        })
    }

    fn read_added_tokens(&mut self, entries: &Map<String, Value>) -> Result<(), TokenizerError> {
        let special = self.special_tokens().map(|token| token.content.clone());
        let special: HashSet<String> = special.collect();
        for (token, id) in entries {
            let id = id
                .as_u64()
                .and_then(|id| u32::try_from(id).ok())
                .ok_or_else(|| TokenizerError::Malformed {
                    file: ADDED_TOKENS.to_string(),
                    reason: format!("the id of `{token}` is {id}"),
                })?;
            let is_special = special.contains(token.as_str());
            self.added
                .insert(id, AddedToken::from(token.clone(), is_special));
        }
        Ok(())
    }
}

/// `AddedToken` as files have it, where every flag may be left out.
#[derive(Deserialize)]
struct AddedTokenEntry {
    content: String,
    #[serde(default)]
    lstrip: bool,
    #[serde(default)]
    rstrip: bool,
    #[serde(default)]
    single_word: bool,
    #[serde(default)]
    normalized: bool,
    #[serde(default)]
    special: bool,
}

impl From<AddedTokenEntry> for AddedToken {
    fn from(entry: AddedTokenEntry) -> Self {
        AddedToken::from(entry.content, entry.special)
            .lstrip(entry.lstrip)
            .rstrip(entry.rstrip)
            .single_word(entry.single_word)
            .normalized(entry.normalized)
    }
}

/// A JSON object, which is empty where there is no such file.
fn read_object(folder: &Path, file: &str) -> Result<Map<String, Value>> {
    let value = files::read_json(folder, file)?;
    let value = value.map(|value| object(value, file)).transpose()?;
    Ok(value.unwrap_or_default())
}

fn object(value: Value, file: &str) -> Result<Map<String, Value>, TokenizerError> {
    match value {
        Value::Object(map) => Ok(map),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) | Value::Array(_) => {
            Err(TokenizerError::Malformed {
                file: file.to_string(),
                reason: "it is no JSON object".to_string(),
            })
        }
    }
}

/// A token is written as its text, or as an object that holds it.
fn special_token(value: &Value) -> Option<AddedToken> {
    if let Some(content) = value.as_str() {
        return (!content.is_empty()).then(|| AddedToken::from(content, true));
    }
    let entry = AddedTokenEntry::deserialize(value).ok()?;
    let token: AddedToken = entry.into();
    (!token.content.is_empty()).then(|| token.special(true))
}

fn special_tokens(value: &Value) -> Vec<AddedToken> {
    match value {
        Value::Array(values) => values.iter().filter_map(special_token).collect(),
        Value::Object(values) => values.values().filter_map(special_token).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::TokenizerConfig;
    use crate::error::Error;

    fn read(files: &[(&str, &str)]) -> Result<TokenizerConfig, Error> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a writable folder");
        }
        TokenizerConfig::read(folder.path())
    }

    #[test]
    fn a_folder_without_any_of_the_files_says_nothing() {
        let config = read(&[]).expect("all three files are optional");
        assert_eq!(config.special_tokens().count(), 0);
        assert_eq!(config.add_bos_token, None);
    }

    #[test]
    fn a_token_may_be_text_or_an_object() {
        let config = read(&[(
            "tokenizer_config.json",
            r#"{"bos_token": "<s>", "eos_token": {"content": "</s>", "lstrip": false},
                "unk_token": null, "add_bos_token": true, "extra_special_tokens": ["<image>"]}"#,
        )])
        .expect("a valid file");
        assert_eq!(config.named["bos_token"].content, "<s>");
        assert_eq!(config.named["eos_token"].content, "</s>");
        assert!(!config.named.contains_key("unk_token"));
        assert_eq!(config.extra[0].content, "<image>");
        assert_eq!(config.add_bos_token, Some(true));
    }

    #[test]
    fn an_older_folder_names_its_tokens_in_two_more_files() {
        let config = read(&[
            ("special_tokens_map.json", r#"{"pad_token": "[PAD]"}"#),
            ("added_tokens.json", r#"{"[PAD]": 32000, "word": 32001}"#),
        ])
        .expect("valid files");
        assert!(config.added[&32000].special);
        assert!(!config.added[&32001].special);
    }

    #[test]
    fn the_newer_format_makes_the_older_files_redundant() {
        let config = read(&[
            (
                "tokenizer_config.json",
                r#"{"added_tokens_decoder": {"7": {"content": "<a>", "special": true}}}"#,
            ),
            ("added_tokens.json", r#"{"<b>": 8}"#),
        ])
        .expect("valid files");
        assert_eq!(config.added.keys().copied().collect::<Vec<_>>(), [7]);
    }

    #[test]
    fn a_name_of_no_token_gets_none_by_default() {
        let mut config =
            read(&[("tokenizer_config.json", r#"{"bos_token": null}"#)]).expect("a valid file");
        config.name_by_default("bos_token", "<s>");
        config.name_by_default("eos_token", "</s>");
        assert!(!config.named.contains_key("bos_token"));
        assert_eq!(config.named["eos_token"].content, "</s>");
    }

    #[test]
    fn damaged_files_are_named_in_the_error() {
        for (name, text) in [
            ("tokenizer_config.json", "{"),
            ("tokenizer_config.json", "[]"),
            (
                "tokenizer_config.json",
                r#"{"added_tokens_decoder": {"x": {"content": "a"}}}"#,
            ),
            (
                "tokenizer_config.json",
                r#"{"added_tokens_decoder": {"1": "a"}}"#,
            ),
            ("added_tokens.json", r#"{"a": -1}"#),
        ] {
            let error = read(&[(name, text)]).expect_err(text).to_string();
            assert!(error.contains(name), "{error}");
        }
    }
}
