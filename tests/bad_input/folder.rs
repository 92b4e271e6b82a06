//! Folders that hold no model, or half of one.

use std::fs;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    CheckpointError, ConfigError, Error, FolderLinks, LoadOptions, MultimodalPipeline,
    TokenizerError,
};
use serde_json::json;

use crate::case::{Case, LLAVA, TEXT, open, open_damaged, open_with_field, remove, write};
use crate::support::copy_model;

const AUTHORS: &str = "llava_authors";

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a folder that is not there",
            "nowhere",
            |at| open::<B>(&at.join("nowhere")),
            Error::Io { .. }
        ),
        case!(
            "a file in place of the folder",
            "model.zip",
            |at| {
                write(&at.join("model.zip"), "PK");
                open::<B>(&at.join("model.zip"))
            },
            Error::Io { .. }
        ),
        case!("an empty folder", "nothing of a model",
            |at| open::<B>(at),
            Error::Config(ConfigError::UnknownModel { found, .. }) if found.is_empty()),
        case!(
            "weights without a configuration",
            "model.safetensors",
            |at| {
                write(&at.join("model.safetensors"), "{}");
                open::<B>(at)
            },
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "a folder in place of config.json",
            "config.json",
            |at| {
                fs::create_dir(at.join("config.json")).expect("the folder is empty");
                open::<B>(at)
            },
            Error::Io { .. }
        ),
        case!(
            "a model without weights",
            "pytorch_model.bin",
            |at| open_damaged::<B>(TEXT, at, |at| remove(&at.join("model.safetensors"))),
            Error::Checkpoint(CheckpointError::Missing { .. })
        ),
        case!(
            "LLaVA as its authors keep it, without its eyes",
            "LlavaForConditionalGeneration",
            |at| open_damaged::<B>(AUTHORS, at, |at| {
                let eyes = at.join("clip-vit-tiny");
                fs::remove_dir_all(eyes).expect("the fixture has this folder");
            }),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "LLaVA as its authors keep it, with a projector of another kind",
            "mm_projector_type",
            |at| open_with_field::<B>(AUTHORS, at, "/mm_projector_type", json!("linear")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "LLaVA as its authors keep it, whose pictures become squares in an unknown way",
            "image_aspect_ratio",
            |at| open_with_field::<B>(AUTHORS, at, "/image_aspect_ratio", json!("anyres")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "LLaVA as its authors keep it, with eyes outside of its folder",
            "mm_vision_tower",
            |at| open_with_field::<B>(AUTHORS, at, "/mm_vision_tower", json!("openai/..")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a model without a tokenizer",
            "tokenizer.model",
            |at| open_damaged::<B>(LLAVA, at, |at| remove(&at.join("tokenizer.json"))),
            Error::Tokenizer(TokenizerError::Missing)
        ),
        case!(
            "a folder in place of the weights",
            "model.safetensors",
            |at| open_damaged::<B>(TEXT, at, |at| {
                remove(&at.join("model.safetensors"));
                fs::create_dir(at.join("model.safetensors")).expect("nothing is there");
            }),
            Error::Checkpoint(CheckpointError::NotAFile { .. })
        ),
        case!(
            "two files of weights and no index",
            "2 weight files",
            |at| open_damaged::<B>(TEXT, at, |at| {
                for name in ["a.safetensors", "b.safetensors"] {
                    fs::copy(at.join("model.safetensors"), at.join(name)).expect("a sound file");
                }
                remove(&at.join("model.safetensors"));
            }),
            Error::Checkpoint(CheckpointError::Ambiguous { .. })
        ),
        #[cfg(unix)]
        case!(
            "a link out of the folder of a stranger",
            "outside of the model folder",
            |at| {
                let (inside, outside) = (at.join("inside"), at.join("outside"));
                for folder in [&inside, &outside] {
                    fs::create_dir(folder).expect("the folder is empty");
                    copy_model(TEXT, folder);
                }
                remove(&inside.join("model.safetensors"));
                let target = outside.join("model.safetensors");
                std::os::unix::fs::symlink(target, inside.join("model.safetensors"))
                    .expect("the file system has links");
                let options = LoadOptions::new().with_links(FolderLinks::StayInside);
                MultimodalPipeline::<B>::open(&inside, &options).map(drop)
            },
            Error::Checkpoint(CheckpointError::Outside { .. })
        ),
    ]
}
