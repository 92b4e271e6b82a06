//! The YAML of a project: damaged, or about files that are not there.

use std::fs;
use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{CheckpointError, ConfigError, Error, Result};

use crate::case::{Case, open, open_damaged, remove, write};

const MINIGPT4: &str = "minigpt4";
const YAML: &str = "eval.yaml";

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a YAML that refers to itself",
            "an alias is not supported",
            |at| open_with_line::<B>(at, "  prompt: &x [*x, *x]"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a YAML that stops in the middle",
            "eval.yaml is not valid",
            |at| open_with_line::<B>(at, "  prompt: [1, 2"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a YAML with a tag",
            "tag",
            |at| open_with_line::<B>(at, "  prompt: !!python/name:os.system x"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a YAML of another project",
            "the architecture blip2",
            |at| open_edited::<B>(at, "arch: minigpt4", "arch: blip2"),
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "a YAML without a checkpoint",
            "model.ckpt",
            |at| open_edited::<B>(at, "  ckpt:", "  other:"),
            Error::Config(ConfigError::Missing { .. })
        ),
        case!(
            "a YAML without a language model",
            "model.llama_model",
            |at| open_edited::<B>(at, "  llama_model: llama", "  llama_model: \"\""),
            Error::Config(ConfigError::Missing { .. })
        ),
        case!(
            "a YAML whose language model is not there",
            "nowhere",
            |at| open_edited::<B>(at, "  llama_model: llama", "  llama_model: nowhere"),
            Error::Io { .. }
        ),
        case!(
            "a YAML whose encoder is not there",
            "eva_vit_g.pth",
            |at| open_damaged::<B>(MINIGPT4, at, |at| remove(&at.join("eva_vit_g.pth"))),
            Error::Io { .. }
        ),
        case!(
            "a YAML with heads that do not divide the width",
            "num_attention_heads",
            |at| open_edited::<B>(
                at,
                "\"num_attention_heads\": 4",
                "\"num_attention_heads\": 5"
            ),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a YAML with more queries than the file",
            "query_tokens",
            |at| open_edited::<B>(at, "num_query_token: 5", "num_query_token: 6"),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "two YAMLs in one folder",
            "by its name",
            |at| open_damaged::<B>(MINIGPT4, at, |at| {
                fs::copy(at.join(YAML), at.join("other.yaml")).expect("the fixture has this file");
            }),
            Error::Config(ConfigError::UnknownModel { .. })
        ),
    ]
}

fn open_with_line<B: VlmBackend>(at: &Path, line: &str) -> Result<()> {
    open_edited::<B>(at, "model:\n", &format!("model:\n{line}\n"))
}

/// Opens a project in whose YAML one text stands in place of another.
fn open_edited<B: VlmBackend>(at: &Path, from: &str, to: &str) -> Result<()> {
    open_damaged::<B>(MINIGPT4, at, |at| {
        let path = at.join(YAML);
        let text = fs::read_to_string(&path).expect("the fixture has this file");
        assert!(text.contains(from), "the YAML says {from:?}");
        write(&path, text.replace(from, to));
    })?;
    open::<B>(at)
}
