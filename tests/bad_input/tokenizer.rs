//! Tokenizers that are damaged, contradict themselves, or are of another model.

use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{Error, RequestError, Result, TokenizerError};
use serde_json::{Value, json};

use crate::case::{Case, TEXT, ask_damaged, open_damaged, open_with_file, remove, set};
use crate::support::{copy_model, edit_json};

const FILE: &str = "tokenizer.json";
const MODEL: &str = "tokenizer.model";

fn open_with<B: VlmBackend>(folder: &Path, pointer: &str, value: Value) -> Result<()> {
    open_damaged::<B>(TEXT, folder, |folder| {
        set(&folder.join(FILE), pointer, value)
    })
}

/// Adds a token to a `tokenizer.json`.
fn add_token(path: &Path, id: u32, content: &str) {
    edit_json(path, |root| {
        let tokens = root["added_tokens"]
            .as_array_mut()
            .expect("the fixture is sound");
        tokens.push(json!({
            "id": id, "content": content, "special": false, "normalized": false,
            "lstrip": false, "rstrip": false, "single_word": false,
        }));
    });
}

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    [json_files::<B>(), other_files::<B>()]
        .into_iter()
        .flatten()
        .collect()
}

fn json_files<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a tokenizer that is no JSON",
            FILE,
            |at| open_with_file::<B>(TEXT, at, FILE, "{\"model\": "),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a tokenizer that is a list",
            FILE,
            |at| open_with_file::<B>(TEXT, at, FILE, "[]"),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a tokenizer without a model",
            "`model` is missing",
            |at| open_with::<B>(at, "/model", json!(null)),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a tokenizer without a vocabulary",
            "expected a map",
            |at| open_with::<B>(at, "/model/vocab", json!(7)),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a tokenizer of an unknown kind",
            FILE,
            |at| open_with::<B>(at, "/model/type", json!("Tarot")),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "two tokens of one id",
            "gives id 5 to both",
            |at| open_with::<B>(at, "/model/vocab/twin", json!(5)),
            Error::Tokenizer(TokenizerError::DuplicateId { id: 5, .. })
        ),
        case!(
            "an id of four thousand million",
            "4000000000",
            |at| open_with::<B>(at, "/model/vocab/far", json!(4_000_000_000_u32)),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a merge of tokens that do not exist",
            "merge 0",
            |at| open_with::<B>(at, "/model/merges", json!([["no", "where"]])),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a normalizer that is not supported",
            "Precompiled",
            |at| open_with::<B>(
                at,
                "/normalizer",
                json!({"type": "Precompiled", "precompiled_charsmap": ""})
            ),
            Error::Tokenizer(TokenizerError::Unsupported { .. })
        ),
        case!(
            "a pattern that is no regular expression",
            FILE,
            |at| open_with::<B>(
                at,
                "/pre_tokenizer",
                json!({
                    "type": "Split", "pattern": {"Regex": "(["}, "behavior": "Isolated", "invert": false
                })
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "an added token behind a gap",
            "id 900",
            |at| open_damaged::<B>(TEXT, at, |at| add_token(&at.join(FILE), 900, "zebra")),
            Error::Tokenizer(TokenizerError::TokenId { declared: 900, .. })
        ),
        case!(
            "a token that the model has no row for",
            "token id 340",
            |at| {
                copy_model(TEXT, at);
                add_token(&at.join(FILE), 340, "zebra");
                ask_damaged::<B>(at, "Is it a zebra?")
            },
            Error::Request(RequestError::UnknownTokenId {
                id: 340,
                vocab_size: 340
            })
        ),
    ]
}

fn other_files<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a tokenizer.model that is something else",
            MODEL,
            |at| open_with_file::<B>(
                "vicuna_bin",
                at,
                MODEL,
                "version https://git-lfs.github.com"
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a tokenizer.model of no bytes",
            MODEL,
            |at| open_with_file::<B>("vicuna_bin", at, MODEL, ""),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a tokenizer.model that a download cut short",
            MODEL,
            |at| open_damaged::<B>("vicuna_bin", at, |at| {
                let bytes = std::fs::read(at.join(MODEL)).expect("the fixture has this file");
                crate::case::write(&at.join(MODEL), &bytes[..bytes.len() / 2]);
            }),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a configuration of a tokenizer that is a list",
            "tokenizer_config.json",
            |at| open_with_file::<B>(TEXT, at, "tokenizer_config.json", "[]"),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "an added token of a negative id",
            "added_tokens.json",
            |at| open_with_file::<B>(TEXT, at, "added_tokens.json", r#"{"zebra": -1}"#),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a folder in place of the tokenizer",
            FILE,
            |at| open_damaged::<B>(TEXT, at, |at| {
                remove(&at.join(FILE));
                std::fs::create_dir(at.join(FILE)).expect("nothing is there");
            }),
            Error::Io { .. }
        ),
    ]
}
