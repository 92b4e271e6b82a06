//! The contents of a `tokenizer.json`, read straight into what is needed, entry by entry.
//!
//! A vocabulary has a quarter of a million entries and twice as many merges. As JSON values they
//! would take ten times the bytes that they need, and a file of nothing but zeros forty times its
//! own. So lists are read entry by entry and bounded while they are read, what nobody reads is
//! skipped, and only the small parts become JSON values, in bounded number.

use std::cell::Cell;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, de};
use serde_json::Value;
use tokenizers::AddedToken;
use tokenizers::models::bpe::{Merges, Vocab};

use crate::text::engine::{MAX_TOKEN_BYTES, MAX_VOCAB_SIZE};
use crate::text::files::CountedValue;

/// Most added tokens; ten times the most seen.
const MAX_ADDED_TOKENS: usize = 1 << 16;

/// Most merges; three times the most seen.
const MAX_MERGES: usize = 2 << 20;

/// Most JSON values of everything but added tokens, vocabulary and merges.
const MAX_VALUES: usize = 1 << 16;

/// What a `tokenizer.json` says.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) added_tokens: Vec<(u32, AddedToken)>,
    pub(super) normalizer: Value,
    pub(super) pre_tokenizer: Value,
    pub(super) post_processor: Value,
    pub(super) decoder: Value,
    pub(super) model: Option<ModelFile>,
}

/// The model of a tokenizer, with what any kind of it may say.
#[derive(Debug, Default)]
pub(super) struct ModelFile {
    pub(super) kind: Option<String>,
    pub(super) vocab: Option<VocabFile>,
    pub(super) merges: Option<Merges>,
    pub(super) unk_token: Option<String>,
    pub(super) unk_id: Option<u32>,
    pub(super) continuing_subword_prefix: Option<String>,
    pub(super) end_of_word_suffix: Option<String>,
    pub(super) fuse_unk: Option<bool>,
    pub(super) byte_fallback: Option<bool>,
    pub(super) ignore_merges: Option<bool>,
    pub(super) max_input_chars_per_word: Option<u64>,
}

/// A vocabulary gives each token an id, or lists tokens with their scores.
#[derive(Debug)]
pub(super) enum VocabFile {
    Ids(Vocab),
    Scores(Vec<(String, f64)>),
}

/// Reads a [`File`].
#[derive(Debug)]
pub(super) struct FileSeed;

impl<'de> DeserializeSeed<'de> for FileSeed {
    type Value = File;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<File, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for FileSeed {
    type Value = File;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<File, A::Error> {
        let left = Cell::new(MAX_VALUES);
        let value = CountedValue::new(&left);
        let mut file = File::default();
        while let Some(key) = entries.next_key::<String>()? {
            match key.as_str() {
                "added_tokens" => file.added_tokens = entries.next_value::<AddedTokens>()?.0,
                "normalizer" => file.normalizer = entries.next_value_seed(value)?,
                "pre_tokenizer" => file.pre_tokenizer = entries.next_value_seed(value)?,
                "post_processor" => file.post_processor = entries.next_value_seed(value)?,
                "decoder" => file.decoder = entries.next_value_seed(value)?,
                "model" => file.model = entries.next_value()?,
                _ => {
                    entries.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(file)
    }
}

/// An entry of the added tokens, where every flag must be given.
#[derive(Deserialize)]
struct AddedEntry {
    id: u32,
    content: String,
    single_word: bool,
    lstrip: bool,
    rstrip: bool,
    normalized: bool,
    special: bool,
}

impl From<AddedEntry> for AddedToken {
    fn from(entry: AddedEntry) -> Self {
        AddedToken::from(entry.content, entry.special)
            .single_word(entry.single_word)
            .lstrip(entry.lstrip)
            .rstrip(entry.rstrip)
            .normalized(entry.normalized)
    }
}

struct AddedTokens(Vec<(u32, AddedToken)>);

impl<'de> Deserialize<'de> for AddedTokens {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = AddedTokens;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of added tokens")
            }

            fn visit_unit<E>(self) -> Result<AddedTokens, E> {
                Ok(AddedTokens(Vec::new()))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<AddedTokens, A::Error> {
                let mut tokens = Vec::new();
                while let Some(entry) = items.next_element::<AddedEntry>()? {
                    check_token(&entry.content)?;
                    check_count(tokens.len(), MAX_ADDED_TOKENS, "added tokens")?;
                    tokens.push((entry.id, entry.into()));
                }
                Ok(AddedTokens(tokens))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

impl<'de> Deserialize<'de> for ModelFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Fields;

        impl<'de> Visitor<'de> for Fields {
            type Value = ModelFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a model")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<ModelFile, A::Error> {
                let mut model = ModelFile::default();
                while let Some(key) = fields.next_key::<String>()? {
                    model.read_field(&key, &mut fields)?;
                }
                Ok(model)
            }
        }

        deserializer.deserialize_map(Fields)
    }
}

impl ModelFile {
    fn read_field<'de, A: MapAccess<'de>>(
        &mut self,
        key: &str,
        fields: &mut A,
    ) -> Result<(), A::Error> {
        match key {
            "type" => self.kind = fields.next_value()?,
            "vocab" => self.vocab = fields.next_value()?,
            "merges" => self.merges = fields.next_value::<Option<MergeList>>()?.map(|it| it.0),
            "unk_token" => self.unk_token = fields.next_value()?,
            "unk_id" => self.unk_id = fields.next_value()?,
            "continuing_subword_prefix" => self.continuing_subword_prefix = fields.next_value()?,
            "end_of_word_suffix" => self.end_of_word_suffix = fields.next_value()?,
            "fuse_unk" => self.fuse_unk = fields.next_value()?,
            "byte_fallback" => self.byte_fallback = fields.next_value()?,
            "ignore_merges" => self.ignore_merges = fields.next_value()?,
            "max_input_chars_per_word" => self.max_input_chars_per_word = fields.next_value()?,
            _ => {
                fields.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> Deserialize<'de> for VocabFile {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = VocabFile;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of tokens to ids, or a list of tokens with scores")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<VocabFile, A::Error> {
                let mut vocab = Vocab::default();
                while let Some((token, id)) = entries.next_entry::<String, u32>()? {
                    check_token(&token)?;
                    check_count(vocab.len(), MAX_VOCAB_SIZE as usize, "tokens")?;
                    vocab.insert(token, id);
                }
                Ok(VocabFile::Ids(vocab))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<VocabFile, A::Error> {
                let mut pieces = Vec::new();
                while let Some((token, score)) = items.next_element::<(String, f64)>()? {
                    check_token(&token)?;
                    check_count(pieces.len(), MAX_VOCAB_SIZE as usize, "tokens")?;
                    pieces.push((token, score));
                }
                Ok(VocabFile::Scores(pieces))
            }
        }

        deserializer.deserialize_any(Entries)
    }
}

/// Reads the lines of a `merges.txt`.
pub(super) fn merges_of_lines(text: &str) -> Result<Merges, de::value::Error> {
    let mut merges = Vec::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        check_count::<de::value::Error>(merges.len(), MAX_MERGES, "merges")?;
        merges.extend(merge_of_line::<de::value::Error>(line)?);
    }
    Ok(merges)
}

/// A pair of tokens, or none where the line is the first of its file, which names a version.
fn merge_of_line<E: de::Error>(line: &str) -> Result<Option<(String, String)>, E> {
    if line.starts_with("#version") {
        return Ok(None);
    }
    match line.split_once(' ') {
        Some((left, right)) if !right.contains(' ') => {
            check_token(line)?;
            Ok(Some((left.to_string(), right.to_string())))
        }
        _ => Err(E::custom("a merge is not of two tokens")),
    }
}

struct MergeList(Merges);

impl<'de> Deserialize<'de> for MergeList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Entries;

        impl<'de> Visitor<'de> for Entries {
            type Value = MergeList;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of merges")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<MergeList, A::Error> {
                let mut merges = Vec::new();
                while let Some(merge) = items.next_element::<Merge>()? {
                    check_count(merges.len(), MAX_MERGES, "merges")?;
                    merges.extend(merge.0);
                }
                Ok(MergeList(merges))
            }
        }

        deserializer.deserialize_seq(Entries)
    }
}

/// See [`merge_of_line`].
struct Merge(Option<(String, String)>);

impl<'de> Deserialize<'de> for Merge {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pair;

        impl<'de> Visitor<'de> for Pair {
            type Value = Merge;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a merge of two tokens")
            }

            fn visit_str<E: de::Error>(self, line: &str) -> Result<Merge, E> {
                merge_of_line(line).map(Merge)
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut pair: A) -> Result<Merge, A::Error> {
                let left = pair.next_element::<String>()?;
                let right = pair.next_element::<String>()?;
                match (left, right, pair.next_element::<IgnoredAny>()?) {
                    (Some(left), Some(right), None) => {
                        check_token(&left)?;
                        check_token(&right)?;
                        Ok(Merge(Some((left, right))))
                    }
                    _ => Err(A::Error::custom("a merge is not of two tokens")),
                }
            }
        }

        deserializer.deserialize_any(Pair)
    }
}

fn check_token<E: de::Error>(token: &str) -> Result<(), E> {
    if token.len() > MAX_TOKEN_BYTES {
        let length = token.len();
        return Err(E::custom(format!("a token has {length} bytes")));
    }
    Ok(())
}

fn check_count<E: de::Error>(count: usize, limit: usize, what: &str) -> Result<(), E> {
    if count >= limit {
        return Err(E::custom(format!("it has more than {limit} {what}")));
    }
    Ok(())
}
