//! The eyes of LLaVA as llama.cpp stores them, in a file of their own (`mmproj`): keys under
//! `clip.`, CLIP without the layer that is not read, and the two linear layers behind it.

use std::path::Path;

use serde_json::{Value, json};

use super::fields::Fields;
use super::vision_fields::{
    MAX_IMAGE_SIZE, MAX_LAYERS, MAX_WIDTH, require_even_heads, require_patches,
};
use super::{Family, ProjectorConfig, VisionConfig, llava, llava_next};
use crate::error::{ConfigError, Result};
use crate::image::{ImageSize, PreprocessConfig, read_pinpoints};
use crate::nn::{
    Activation, AnyResolutionConfig, ClipVisionConfig, FeatureSelect, MlpProjectorConfig,
    VisualEncoderConfig,
};
use crate::weights::{Checkpoint, KeyMap, KeyRule};

/// What `general.architecture` calls it.
pub(super) const ARCHITECTURE: &str = "clip";

/// The weight of the layer that makes the decoder's width.
const LAST: &str = "mm.2.weight";

const KEYS: &[KeyRule] = &[
    KeyRule::ignore_prefix("v.post_ln."),
    KeyRule::reshape_suffix("v.patch_embd.weight"),
    KeyRule::rename_prefix("v.class_embd", "visual_encoder.embeddings.class_embedding"),
    KeyRule::rename_prefix(
        "v.patch_embd.",
        "visual_encoder.embeddings.patch_embedding.",
    ),
    KeyRule::rename_prefix(
        "v.position_embd.",
        "visual_encoder.embeddings.position_embedding.",
    ),
    KeyRule::rename_prefix("v.pre_ln.", "visual_encoder.pre_layrnorm."),
    KeyRule::rename_prefix("v.blk.", "visual_encoder.encoder.layers."),
    KeyRule::rename_part(".attn_out.", ".self_attn.out_proj."),
    KeyRule::rename_part(".ln1.", ".layer_norm1."),
    KeyRule::rename_part(".ln2.", ".layer_norm2."),
    KeyRule::rename_prefix("mm.0.", "projector.linear_1."),
    KeyRule::rename_prefix("mm.2.", "projector.linear_2."),
];

/// The separator of the tiles of LLaVA-NeXT, which a picture of one tile has not.
const WITHOUT_NEWLINE: KeyRule = KeyRule::ignore_prefix("model.image_newline");

/// How the rows of a picture's tiles become one list.
const MERGE_TYPE: &str = "clip.vision.mm_patch_merge_type";

/// Widths and heights, one after the other.
const PINPOINTS: &str = "clip.vision.image_grid_pinpoints";

/// The way of a picture that the fields and the tensors of a file describe, into a decoder of the
/// width `hidden_size`.
///
/// # Errors
///
/// [`ConfigError`] when a field is missing, out of range, or means what is not implemented.
pub(super) fn vision_config(
    fields: &Fields<'_>,
    checkpoint: &Checkpoint,
    hidden_size: usize,
    image_token_id: Option<u32>,
) -> Result<VisionConfig> {
    fields.choice("clip.projector_type", (), &[("mlp", ())])?;
    let encoder = encoder_config(fields)?;
    require_width(fields, checkpoint, hidden_size)?;
    let mlp = MlpProjectorConfig {
        vision_hidden_size: encoder.feature_size(),
        hidden_size,
        projector_hidden_act: Activation::Gelu,
        multimodal_projector_bias: checkpoint.get("mm.0.bias").is_some(),
    };
    let image_grid_pinpoints = pinpoints(fields)?;
    Ok(VisionConfig {
        encoder: VisualEncoderConfig::Clip(encoder),
        projector: match image_grid_pinpoints.is_empty() {
            true => ProjectorConfig::Mlp(mlp),
            false => ProjectorConfig::AnyResolution(AnyResolutionConfig { mlp }),
        },
        image_token_id,
        image_grid_pinpoints,
    })
}

/// Which family a file with these eyes is of.
pub(super) fn family(vision: &VisionConfig) -> &'static Family {
    match vision.image_grid_pinpoints.is_empty() {
        true => &llava::FAMILY,
        false => &llava_next::FAMILY,
    }
}

/// The names of this file in front of those of the decoder's.
pub(super) fn key_map(decoder: KeyMap, vision: &VisionConfig, checkpoint: &Checkpoint) -> KeyMap {
    let (first, second) = match is_swapped(checkpoint) {
        true => (".ffn_down.", ".ffn_up."),
        false => (".ffn_up.", ".ffn_down."),
    };
    // In front of the decoder's, which use the same words for other parts; and in front of all, the
    // names of an adapter beside the files.
    let mut rules = [llava::KEYS, KEYS].concat();
    match vision.image_grid_pinpoints.is_empty() {
        true => rules.push(WITHOUT_NEWLINE),
        false => rules.extend(llava_next::KEYS),
    }
    for (name, path) in [(first, "fc1"), (second, "fc2")] {
        for layer in 0..MAX_LAYERS {
            let stem = format!("visual_encoder.encoder.layers.{layer}");
            let (from, to) = (format!("{stem}{name}"), format!("{stem}.mlp.{path}."));
            if checkpoint
                .get(&format!("v.blk.{layer}{name}weight"))
                .is_none()
            {
                break;
            }
            rules.push(KeyRule::RenamePrefix {
                from: from.into(),
                to: to.into(),
            });
        }
    }
    decoder.behind(&rules)
}

/// The first converter called the first linear layer `ffn_down` and the second `ffn_up`.
fn is_swapped(checkpoint: &Checkpoint) -> bool {
    let columns = |name| checkpoint.get(name).and_then(|info| info.shape().last());
    let width = columns("v.blk.0.ln1.bias");
    width.is_some() && columns("v.blk.0.ffn_down.weight") == width
}

/// Whether the projector of a file makes rows of this width.
pub(super) fn makes_width(checkpoint: &Checkpoint, hidden_size: usize) -> bool {
    let rows = checkpoint.get(LAST).and_then(|info| info.shape().first());
    rows == Some(&hidden_size)
}

fn require_width(fields: &Fields<'_>, checkpoint: &Checkpoint, hidden_size: usize) -> Result<()> {
    if makes_width(checkpoint, hidden_size) {
        return Ok(());
    }
    let shape = checkpoint.get(LAST).map(|info| info.shape());
    let found = format!("of the shape {:?}", shape.unwrap_or_default());
    let expected = format!("one of {hidden_size} rows, the width of the model beside it");
    Err(fields.out_of_range(LAST, found, expected))
}

/// The sizes that pictures are cut to; none where they are not cut.
fn pinpoints(fields: &Fields<'_>) -> Result<Vec<ImageSize>> {
    if !fields.choice(
        MERGE_TYPE,
        false,
        &[("flat", false), ("spatial_unpad", true)],
    )? {
        return Ok(Vec::new());
    }
    fields.choice("clip.vision.image_aspect_ratio", (), &[("anyres", ())])?;
    let missing = || ConfigError::Missing {
        field: PINPOINTS.to_string(),
    };
    let found = fields.value(PINPOINTS).ok_or_else(missing)?;
    let tile = fields.required("clip.vision.image_size", 1..=MAX_IMAGE_SIZE)?;
    let sizes = pairs(found).and_then(|sizes| read_pinpoints(&sizes, tile));
    let expected = "widths and heights in whole tiles, one after the other, at most 64 tiles each";
    sizes.ok_or_else(|| fields.out_of_range(PINPOINTS, found, expected))
}

/// A list of widths and heights as pairs of a height and a width.
fn pairs(sides: &Value) -> Option<Value> {
    let pairs = sides.as_array()?.chunks(2).map(|pair| match pair {
        [width, height] => Some(json!([height, width])),
        _ => None,
    });
    pairs.collect::<Option<Vec<_>>>().map(Value::Array)
}

/// The layers whose outputs are read, side by side; the embeddings are 0.
fn feature_layers(fields: &Fields<'_>, num_layers: usize) -> Result<Vec<usize>> {
    let name = "clip.vision.feature_layer";
    let found = fields.integers(name, 0..=num_layers as i64)?;
    let mut layers: Vec<usize> = found.iter().map(|layer| *layer as usize).collect();
    // llama.cpp puts them side by side in the order of the layers, each once.
    layers.sort_unstable();
    layers.dedup();
    match layers.is_empty() {
        true => Ok(vec![num_layers]),
        false => Ok(layers),
    }
}

fn activation(fields: &Fields<'_>) -> Result<Activation> {
    let silu = "clip.use_silu";
    if fields.flag(silu)? == Some(true) {
        return Err(fields.unsupported(silu, true, vec![false.to_string()]));
    }
    Ok(match fields.flag("clip.use_gelu")? {
        Some(true) => Activation::Gelu,
        Some(false) | None => Activation::QuickGelu,
    })
}

fn encoder_config(fields: &Fields<'_>) -> Result<ClipVisionConfig> {
    let hidden_size = fields.required("clip.vision.embedding_length", 1..=MAX_WIDTH)?;
    let heads = "clip.vision.attention.head_count";
    let num_attention_heads = fields.required(heads, 1..=MAX_WIDTH)?;
    require_even_heads(fields, heads, num_attention_heads, hidden_size)?;
    let image_size = fields.required("clip.vision.image_size", 1..=MAX_IMAGE_SIZE)?;
    let patch_size = fields.required("clip.vision.patch_size", 1..=image_size)?;
    let stored_layers = fields.required("clip.vision.block_count", 1..=MAX_LAYERS)?;
    let feature_layers = feature_layers(fields, stored_layers)?;
    let config = ClipVisionConfig {
        hidden_size,
        intermediate_size: fields.required("clip.vision.feed_forward_length", 1..=MAX_WIDTH)?,
        num_hidden_layers: feature_layers.iter().copied().max().unwrap_or(0),
        num_attention_heads,
        image_size,
        patch_size,
        hidden_act: activation(fields)?,
        layer_norm_eps: fields
            .number("clip.vision.attention.layer_norm_epsilon", 0.0..=1.0)?
            .unwrap_or(1e-5),
        select: FeatureSelect::Patches,
        feature_layers,
    };
    require_patches(
        fields,
        "clip.vision.patch_size",
        patch_size,
        config.num_patches(),
    )?;
    Ok(config)
}

/// How pictures are prepared: CLIP's way or LLaVA-NeXT's, with the mean and the deviation of the file.
pub(super) fn preprocess(fields: &Fields<'_>, path: &Path) -> Result<PreprocessConfig> {
    let size = fields.required("clip.vision.image_size", 1..=MAX_IMAGE_SIZE)?;
    let channels = |name: &str| -> Result<[f64; 3]> {
        let missing = || ConfigError::Missing {
            field: name.to_string(),
        };
        Ok(fields.channels(name)?.ok_or_else(missing)?)
    };
    let pinpoints = pinpoints(fields)?;
    let pinpoints = pinpoints.iter().map(|size| [size.height, size.width]);
    let pinpoints: Vec<_> = pinpoints.collect();
    let (kind, pinpoints) = match pinpoints.is_empty() {
        true => ("CLIPImageProcessor", Value::Null),
        false => ("LlavaNextImageProcessor", json!(pinpoints)),
    };
    let processor = json!({
        "image_processor_type": kind,
        "image_grid_pinpoints": pinpoints,
        "size": {"shortest_edge": size},
        "crop_size": {"height": size, "width": size},
        "image_mean": channels("clip.vision.image_mean")?,
        "image_std": channels("clip.vision.image_std")?,
    });
    PreprocessConfig::from_json(path, processor.to_string().as_bytes(), None)
}
