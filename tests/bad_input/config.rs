//! Configurations that are damaged, or describe what cannot be run.

use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{CheckpointError, ConfigError, Error, LoadOptions, MultimodalPipeline, Result};
use serde_json::json;

use crate::case::{
    Case, LLAVA, TEXT, TILED, open_damaged, open_with_field, open_with_file, set, unset,
};
use crate::support::model_folder;

fn open_with_context<B: VlmBackend>(tokens: usize) -> Result<()> {
    let options = LoadOptions::new().with_context_length(tokens);
    MultimodalPipeline::<B>::open(model_folder(LLAVA), &options).map(drop)
}

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    [
        files::<B>(),
        decoders::<B>(),
        positions::<B>(),
        eyes::<B>(),
        products::<B>(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn files<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a configuration that is no JSON",
            "config.json",
            |at| open_with_file::<B>(TEXT, at, "config.json", "{\"hidden_size\": "),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a configuration that is a list",
            "no JSON object",
            |at| open_with_file::<B>(TEXT, at, "config.json", "[1, 2]"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a configuration of two megabytes",
            "the limit is 1048576",
            |at| open_with_file::<B>(TEXT, at, "config.json", vec![b' '; 2 << 20]),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a configuration nested a hundred thousand deep",
            "config.json",
            |at| open_with_file::<B>(TEXT, at, "config.json", "[".repeat(100_000)),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "a configuration in UTF-16",
            "config.json",
            |at| open_with_file::<B>(TEXT, at, "config.json", b"\xFF\xFE{\0}\0"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "an architecture that is not supported",
            "MambaForCausalLM",
            |at| {
                let config = r#"{"architectures": ["MambaForCausalLM"], "model_type": "mamba"}"#;
                open_with_file::<B>(TEXT, at, "config.json", config)
            },
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "a configuration of no model",
            "the model type none",
            |at| open_with_file::<B>(TEXT, at, "config.json", "{}"),
            Error::Config(ConfigError::UnknownModel { .. })
        ),
        case!(
            "architectures that are no list",
            "architectures",
            |at| open_with_field::<B>(TEXT, at, "/architectures", json!(7)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a generation configuration that is no JSON",
            "generation_config.json",
            |at| open_with_file::<B>(TEXT, at, "generation_config.json", "eos: 2"),
            Error::Config(ConfigError::Malformed { .. })
        ),
        case!(
            "an end token that is no id",
            "eos_token_id",
            |at| open_with_file::<B>(
                TEXT,
                at,
                "generation_config.json",
                r#"{"eos_token_id": [2, "</s>"]}"#
            ),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a context of no tokens",
            "1 to 1024",
            |_| open_with_context::<B>(0),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a context longer than the model's",
            "1 to 1024",
            |_| open_with_context::<B>(1025),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}

/// Opens a model some fields of whose `config.json` have other values.
fn open_with_fields<B: VlmBackend>(folder: &Path, fields: &[(&str, usize)]) -> Result<()> {
    open_damaged::<B>(LLAVA, folder, |folder| {
        for (pointer, value) in fields {
            set(&folder.join("config.json"), pointer, json!(value));
        }
    })
}

/// Sizes that are bounded each, and multiply to gigabytes or hours.
fn products<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a picture whose widest activation has gigabytes",
            "bytes for one tile",
            |at| open_with_fields::<B>(
                at,
                &[
                    ("/vision_config/intermediate_size", 65_536),
                    ("/vision_config/image_size", 2048),
                    ("/vision_config/patch_size", 14),
                ]
            ),
            Error::Config(ConfigError::TooCostly { .. })
        ),
        case!(
            "a picture in so many patches that attention takes minutes",
            "multiplications for one tile",
            |at| open_with_fields::<B>(
                at,
                &[
                    ("/vision_config/image_size", 2048),
                    ("/vision_config/patch_size", 10),
                ]
            ),
            Error::Config(ConfigError::TooCostly { .. })
        ),
        case!(
            "a cache of gigabytes behind thin matrices",
            "keys and values",
            |at| open_with_fields::<B>(
                at,
                &[
                    ("/text_config/num_attention_heads", 1024),
                    ("/text_config/num_key_value_heads", 1024),
                    ("/text_config/head_dim", 1024),
                ]
            ),
            Error::Config(ConfigError::TooCostly { .. })
        ),
        case!(
            "a scaling of positions that reads everything again at every token",
            "factor",
            |at| open_with_field::<B>(TEXT, at, "/rope_parameters/factor", json!(1e6)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}

fn decoders<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a model without a width, which is then that of LLaMA-7B",
            "4096",
            |at| open_damaged::<B>(TEXT, at, |at| unset(&at.join("config.json"), "hidden_size")),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "a vocabulary that is null",
            "32000",
            |at| open_with_field::<B>(TEXT, at, "/vocab_size", json!(null)),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "a width that is not a number, as Python writes it",
            "NaN",
            |at| open_damaged::<B>(TEXT, at, |at| {
                let path = at.join("config.json");
                let text = std::fs::read_to_string(&path).expect("the fixture has this file");
                let text = text.replacen("\"hidden_size\": 48", "\"hidden_size\": NaN", 1);
                std::fs::write(path, text).expect("a temporary folder");
            }),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a width of zero",
            "hidden_size",
            |at| open_with_field::<B>(TEXT, at, "/hidden_size", json!(0)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a negative width",
            "-48",
            |at| open_with_field::<B>(TEXT, at, "/hidden_size", json!(-48)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a width of a thousand million",
            "1000000000",
            |at| open_with_field::<B>(TEXT, at, "/hidden_size", json!(1_000_000_000)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a width that is a text",
            "hidden_size",
            |at| open_with_field::<B>(TEXT, at, "/hidden_size", json!("48")),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a width that is a fraction",
            "48.5",
            |at| open_with_field::<B>(TEXT, at, "/hidden_size", json!(48.5)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a hundred thousand layers",
            "num_hidden_layers",
            |at| open_with_field::<B>(TEXT, at, "/num_hidden_layers", json!(100_000)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "no heads",
            "num_attention_heads",
            |at| open_with_field::<B>(TEXT, at, "/num_attention_heads", json!(0)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "key heads that do not divide the heads",
            "num_key_value_heads",
            |at| open_with_field::<B>(TEXT, at, "/num_key_value_heads", json!(4)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "an odd width of heads",
            "head_dim",
            |at| open_with_field::<B>(TEXT, at, "/head_dim", json!(7)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a negative epsilon",
            "rms_norm_eps",
            |at| open_with_field::<B>(TEXT, at, "/rms_norm_eps", json!(-1e-5)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "an activation that is not supported",
            "relu",
            |at| open_with_field::<B>(TEXT, at, "/hidden_act", json!("relu")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "blocks that do not fill a tile",
            "scale_factor",
            |at| open_with_field::<B>("idefics3", at, "/scale_factor", json!(4)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a rotation of three elements of a head",
            "rotary_pct",
            |at| open_with_field::<B>(
                "gpt_neox",
                at,
                "/rope_parameters/partial_rotary_factor",
                json!(0.25)
            ),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "heads that do not divide the width of a GPT-NeoX",
            "num_attention_heads",
            |at| open_with_field::<B>("gpt_neox", at, "/num_attention_heads", json!(5)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "an OPT that norms behind its blocks",
            "do_layer_norm_before",
            |at| open_with_field::<B>(
                "blip2",
                at,
                "/text_config/do_layer_norm_before",
                json!(false)
            ),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "an OPT without its last norm",
            "_remove_final_layer_norm",
            |at| open_with_field::<B>(
                "blip2",
                at,
                "/text_config/_remove_final_layer_norm",
                json!(true)
            ),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "an OPT whose tokens are narrower than its layers",
            "word_embed_proj_dim",
            |at| open_with_field::<B>("blip2", at, "/text_config/word_embed_proj_dim", json!(24)),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a BLIP-2 over T5",
            "a decoder that reads an encoder",
            |at| open_with_field::<B>("blip2", at, "/text_config/model_type", json!("t5")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a flag that is a number",
            "tie_word_embeddings",
            |at| open_with_field::<B>(TEXT, at, "/tie_word_embeddings", json!(1)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}

fn positions<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "no positions",
            "max_position_embeddings",
            |at| open_with_field::<B>(TEXT, at, "/max_position_embeddings", json!(0)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a scaling of positions that is not supported",
            "yarn",
            |at| open_with_field::<B>(TEXT, at, "/rope_parameters/rope_type", json!("yarn")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a scaling of positions by zero",
            "rope_parameters.factor",
            |at| open_with_field::<B>(TEXT, at, "/rope_parameters/factor", json!(0)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a scaling of positions without a factor",
            "rope_parameters.factor",
            |at| open_with_field::<B>(TEXT, at, "/rope_parameters/factor", json!(null)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a scaling of positions that is a text",
            "rope_parameters",
            |at| open_with_field::<B>(TEXT, at, "/rope_parameters", json!("linear")),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a base of positions of zero",
            "rope_theta",
            |at| open_with_field::<B>(TEXT, at, "/rope_parameters/rope_theta", json!(0)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "high frequencies that begin where low ones end",
            "high_freq_factor",
            |at| open_with_field::<B>(
                "llama3_rope",
                at,
                "/rope_parameters/high_freq_factor",
                json!(1.0)
            ),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}

fn eyes<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a model whose eyes are those of CLIP-L, since nothing says otherwise",
            "336 x 336",
            |at| open_with_field::<B>(LLAVA, at, "/vision_config", json!(null)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a model whose decoder is LLaMA-7B, since nothing says otherwise",
            "4096",
            |at| open_with_field::<B>(LLAVA, at, "/text_config", json!(null)),
            Error::Checkpoint(CheckpointError::Incomplete { .. })
        ),
        case!(
            "a decoder that is not supported",
            "text_config.model_type",
            |at| open_with_field::<B>(LLAVA, at, "/text_config/model_type", json!("mamba")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "an encoder that is not supported",
            "vision_config.model_type",
            |at| open_with_field::<B>(LLAVA, at, "/vision_config/model_type", json!("siglip")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a layer that the encoder does not have",
            "-9",
            |at| open_with_field::<B>(LLAVA, at, "/vision_feature_layer", json!(-9)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "features of no layer",
            "vision_feature_layer",
            |at| open_with_field::<B>(LLAVA, at, "/vision_feature_layer", json!([])),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "features of very many layers",
            "vision_feature_layer",
            |at| open_with_field::<B>(LLAVA, at, "/vision_feature_layer", json!(vec![1; 9999])),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a window that shows nothing",
            "sliding_window",
            |at| open_with_field::<B>("mistral", at, "/sliding_window", json!(0)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "tiles with a class token in their grid",
            "vision_feature_select_strategy",
            |at| open_with_field::<B>(TILED, at, "/vision_feature_select_strategy", json!("full")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a grid of half a tile",
            "image_grid_pinpoints",
            |at| open_with_field::<B>(TILED, at, "/image_grid_pinpoints", json!([[36, 24]])),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a grid of thousands of tiles",
            "at most 64 tiles",
            |at| open_with_field::<B>(TILED, at, "/image_grid_pinpoints", json!([[2400, 2400]])),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a choice of features that is not supported",
            "vision_feature_select_strategy",
            |at| open_with_field::<B>(LLAVA, at, "/vision_feature_select_strategy", json!("cls")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "patches larger than the picture",
            "patch_size",
            |at| open_with_field::<B>(LLAVA, at, "/vision_config/patch_size", json!(29)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a picture of millions of patches",
            "patches",
            |at| open_damaged::<B>(LLAVA, at, |at| {
                let config = at.join("config.json");
                crate::case::set(&config, "/vision_config/image_size", json!(2048));
                crate::case::set(&config, "/vision_config/patch_size", json!(1));
            }),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "pictures of one channel",
            "num_channels",
            |at| open_with_field::<B>(LLAVA, at, "/vision_config/num_channels", json!(1)),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "heads that do not divide the encoder's width",
            "vision_config.num_attention_heads",
            |at| open_with_field::<B>(LLAVA, at, "/vision_config/num_attention_heads", json!(5)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
        case!(
            "a projector that is not supported",
            "projector_hidden_act",
            |at| open_with_field::<B>(LLAVA, at, "/projector_hidden_act", json!("tanh")),
            Error::Config(ConfigError::Unsupported { .. })
        ),
        case!(
            "a negative image token",
            "image_token_index",
            |at| open_with_field::<B>(LLAVA, at, "/image_token_index", json!(-200)),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}
