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
        take_every_stage(folder);
        set(&folder.join(FILE), pointer, value)
    })
}

/// Lets the file speak: the class that the fixture names has stages of its own.
fn take_every_stage(folder: &Path) {
    let config = folder.join("tokenizer_config.json");
    set(&config, "/tokenizer_class", json!("TokenizersBackend"));
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
    [
        json_files::<B>(),
        hostile_files::<B>(),
        hostile_models::<B>(),
        other_files::<B>(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn stages(kind: &str, children: &str, stage: &Value, count: usize) -> Value {
    json!({"type": kind, children: vec![stage; count]})
}

fn replace(pattern: Value, content: &str) -> Value {
    json!({"type": "Replace", "pattern": pattern, "content": content})
}

/// Stages that a file may list, each of which took a program down, or forever.
fn hostile_files<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a normalizer that doubles a text forty times",
            "stage",
            |at| {
                let doubling = replace(json!({"String": "a"}), "aa");
                open_with::<B>(
                    at,
                    "/normalizer",
                    stages("Sequence", "normalizers", &doubling, 30),
                )
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a normalizer that doubles only what a question holds",
            "stage",
            |at| {
                copy_model(TEXT, at);
                let doubling = replace(json!({"String": "q"}), "qq");
                let doubling = stages("Sequence", "normalizers", &doubling, 30);
                take_every_stage(at);
                set(&at.join(FILE), "/normalizer", doubling);
                ask_damaged::<B>(at, "q")
            },
            Error::Tokenizer(TokenizerError::Encode { .. })
        ),
        case!(
            "a normalizer of more stages than any has",
            "stages",
            |at| {
                let stage = json!({"type": "NFC"});
                open_with::<B>(
                    at,
                    "/normalizer",
                    stages("Sequence", "normalizers", &stage, 8000),
                )
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a normalizer that puts kilobytes in front",
            "4000 bytes",
            |at| {
                let stage = json!({"type": "Prepend", "prepend": "x".repeat(4000)});
                open_with::<B>(at, "/normalizer", stage)
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a decoder of ten thousand stages",
            "stages",
            |at| {
                let stage = json!({"type": "ByteFallback"});
                open_with::<B>(
                    at,
                    "/decoder",
                    stages("Sequence", "decoders", &stage, 10_000),
                )
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a decoder that makes each token many times as long",
            "times as long",
            |at| {
                let growing = replace(json!({"String": "a"}), "aaaa");
                open_with::<B>(at, "/decoder", stages("Sequence", "decoders", &growing, 4))
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a decoder that strips more than there is",
            "Strip",
            |at| {
                let strip =
                    json!({"type": "Strip", "content": "a", "start": 0, "stop": 1_u64 << 62});
                open_with::<B>(at, "/decoder", strip)
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a pattern that has to backtrack",
            "looks around",
            |at| open_with::<B>(
                at,
                "/pre_tokenizer",
                json!({"type": "Split", "pattern": {"Regex": "(a|aa)+(?!a)b"},
                    "behavior": "Isolated", "invert": false})
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a pattern that looks at the rest of a text for each match",
            "too long",
            |at| {
                copy_model(TEXT, at);
                let split = json!({"type": "Split", "pattern": {"Regex": ".*[^A-Z]|[A-Z]"},
                    "behavior": "Isolated", "invert": false});
                set(&at.join(FILE), "/pre_tokenizer", split);
                take_every_stage(at);
                ask_damaged::<B>(at, &"A".repeat(1 << 18))
            },
            Error::Tokenizer(TokenizerError::Encode { .. })
        ),
        case!(
            "a post-processor that puts thousands of ids around a text",
            "64 ids",
            |at| open_with::<B>(
                at,
                "/post_processor",
                json!({"type": "TemplateProcessing", "pair": [],
                    "single": [{"SpecialToken": {"id": "x", "type_id": 0}},
                        {"Sequence": {"id": "A", "type_id": 0}}],
                    "special_tokens": {"x": {"id": "x", "ids": vec![1; 4000], "tokens": []}}})
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a file of more values than any tokenizer has",
            "too many values",
            |at| open_with::<B>(at, "/normalizer", json!({"x": vec![0; 100_000]})),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a configuration of more values than any has",
            "too many values",
            |at| {
                let zeros = json!({"x": vec![0; 300_000]}).to_string();
                open_with_file::<B>(TEXT, at, "tokenizer_config.json", zeros)
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
    ]
}

/// Models and tokens whose sizes a file may choose.
fn hostile_models<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "an added token of a megabyte",
            "1000000 bytes",
            |at| open_damaged::<B>(TEXT, at, |at| {
                add_token(&at.join(FILE), 340, &"<".repeat(1_000_000));
            }),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a token of a megabyte that the configuration adds",
            "1000000 bytes",
            |at| {
                let token = json!({"content": "<".repeat(1_000_000), "special": true});
                let config = json!({"added_tokens_decoder": {"340": token}}).to_string();
                open_with_file::<B>(TEXT, at, "tokenizer_config.json", config)
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a reserved piece that the configuration renames to kilobytes",
            "4000 bytes",
            |at| {
                let token = json!({"content": "<".repeat(4000), "special": true});
                let config = json!({"added_tokens_decoder": {"0": token}}).to_string();
                open_with_file::<B>("vicuna_bin", at, "tokenizer_config.json", config)
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a token of the vocabulary of kilobytes",
            "1000 bytes",
            |at| open_damaged::<B>(TEXT, at, |at| {
                edit_json(&at.join(FILE), |root| {
                    root["model"]["vocab"]["a".repeat(1000)] = json!(400);
                });
            }),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a word model that looks at words of any length",
            "max_input_chars_per_word",
            |at| open_with::<B>(
                at,
                "/model",
                json!({"type": "WordPiece", "vocab": {"[UNK]": 0}, "unk_token": "[UNK]",
                    "continuing_subword_prefix": "##", "max_input_chars_per_word": 1_u64 << 60})
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a Unigram model of endless pieces",
            "piece has 500 bytes",
            |at| open_with::<B>(
                at,
                "/model",
                json!({"type": "Unigram", "unk_id": 0,
                    "vocab": [["<unk>", 0.0], ["a".repeat(500), -1.0]]})
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
    ]
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
            "a character map of four thousand million units",
            "character map ends early",
            |at| open_with::<B>(
                at,
                "/normalizer",
                json!({"type": "Precompiled", "precompiled_charsmap": "/P///w=="})
            ),
            Error::Tokenizer(TokenizerError::Malformed { .. })
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
