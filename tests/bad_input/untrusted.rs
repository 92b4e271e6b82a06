//! What a file says of itself comes back in messages: cut, and without what a terminal obeys.
//!
//! [`Case`] asks of every message of the matrix that it is short and printable; these files try.

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{CheckpointError, ConfigError, Error, TemplateError, TokenizerError};
use serde_json::json;

use crate::case::{
    Case, LLAVA, TEXT, ask_damaged, open, open_with_field, open_with_file, open_with_weights,
    remove, set, write,
};
use crate::support::copy_model;

/// Sets the title of a terminal, and its colour.
const ESCAPES: &str = "\u{1b}]0;owned\u{7}\u{1b}[31m";

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "an architecture that a terminal obeys",
            r"\u{1b}]0;owned\u{7}",
            |at| {
                let config = json!({ "architectures": [ESCAPES] }).to_string();
                open_with_file::<B>(TEXT, at, "config.json", config)
            },
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "a model type of a megabyte",
            "xxx…",
            |at| {
                let config = json!({ "model_type": "x".repeat(900_000) }).to_string();
                open_with_file::<B>(TEXT, at, "config.json", config)
            },
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "a setting that is a text of a megabyte",
            "hidden_act",
            |at| open_with_field::<B>(TEXT, at, "/hidden_act", json!(ESCAPES.repeat(10_000))),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a setting that is a long list",
            "rope_theta",
            |at| open_with_field::<B>(TEXT, at, "/rope_theta", json!(vec![ESCAPES; 20_000])),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a thousand tensors with long names",
            "without a parameter",
            |at| open_with_weights::<B>(at, |file| {
                for index in 0..1000 {
                    let name = format!("model.{index}.{}", "\u{202e}진".repeat(160));
                    file.push(&name, "F32", &[2], &[0; 8]);
                }
                file.rename("model.norm.weight", "model.nrm.weight");
            }),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "files whose names a terminal obeys",
            r"\u{1b}]0;owned\u{7}",
            |at| {
                copy_model(TEXT, at);
                remove(&at.join("model.safetensors"));
                for index in 0..30 {
                    let name = format!("{index}{ESCAPES}{}.safetensors", "x".repeat(200));
                    write(&at.join(name), "");
                }
                open::<B>(at)
            },
            Error::Checkpoint(CheckpointError::Ambiguous { .. })
        ),
        case!(
            "a token of a megabyte with no id",
            "tokenizer.json",
            |at| {
                copy_model(TEXT, at);
                let pointer = format!("/model/vocab/{}", ESCAPES.repeat(50_000));
                set(&at.join("tokenizer.json"), &pointer, json!(-1));
                open::<B>(at)
            },
            Error::Tokenizer(TokenizerError::Malformed { .. })
        ),
        case!(
            "a template that refuses at length",
            r"\u{1b}]0;owned\u{7}",
            |at| {
                copy_model(TEXT, at);
                let message = ESCAPES.repeat(2_000);
                let template = format!("{{{{ raise_exception('{message}') }}}}");
                write(&at.join("chat_template.jinja"), template);
                ask_damaged::<B>(at, "Why?")
            },
            Error::Template(TemplateError::Refused { .. })
        ),
        case!(
            "a way to prepare pictures that a terminal obeys",
            "preprocessor_config.json",
            |at| {
                copy_model(LLAVA, at);
                let file = at.join("preprocessor_config.json");
                set(
                    &file,
                    "/image_processor_type",
                    json!([ESCAPES.repeat(5_000)]),
                );
                open::<B>(at)
            },
            Error::Config(_)
        ),
    ]
}
