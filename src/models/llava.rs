//! LLaVA-1.5 (Liu et al. 2023) as Hugging Face stores it: CLIP, two linear layers, Llama or Mistral.

use std::borrow::Cow;

use super::fields::{ACTIVATIONS, Fields};
use super::llama::{self, GATE_UP, QKV, eos_token_ids_with};
use super::vision_fields::{
    MAX_IMAGE_SIZE, MAX_LAYERS, MAX_WIDTH, require_even_heads, require_patches,
    require_three_channels,
};
use super::{Family, ModelConfig, ProjectorConfig, VisionConfig, image_layout, mistral};
use crate::error::Result;
use crate::image::PreprocessConfig;
use crate::nn::{
    Activation, ClipVisionConfig, FeatureSelect, LlamaConfig, MlpProjectorConfig,
    VisualEncoderConfig,
};
use crate::text::Bos;
use crate::weights::{KeyMap, KeyPattern, KeyRule};

pub(super) const FAMILY: Family = Family {
    name: "llava",
    architectures: &["LlavaForConditionalGeneration"],
    model_type: "llava",
    default_template: "vicuna_v1.1",
    // A processor puts the bos in front unless the template wrote it.
    chat_bos: Bos::UnlessWritten,
    image_processor: Some("LlavaImageProcessor"),
    usual_preparation: Some(|vision| PreprocessConfig::clip(vision.encoder.image_size())),
    layout: image_layout::one_tile,
    parse,
};

// Two generations of transformers name the same parts differently.
pub(super) const KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::ignore_suffix("embeddings.position_ids"),
    // Pools the class token; LLaVA reads an inner layer.
    KeyRule::ignore_part("post_layernorm."),
    KeyRule::reshape_suffix("patch_embedding.weight"),
    KeyRule::rename_prefix("model.language_model.", "decoder."),
    KeyRule::rename_prefix("language_model.model.", "decoder."),
    KeyRule::rename_prefix("language_model.lm_head.", "decoder.lm_head."),
    KeyRule::rename_prefix("lm_head.", "decoder.lm_head."),
    KeyRule::rename_prefix("model.vision_tower.", "vision_tower."),
    KeyRule::rename_prefix("vision_tower.vision_model.", "vision_tower."),
    KeyRule::rename_prefix("vision_tower.", "visual_encoder."),
    KeyRule::rename_prefix("model.multi_modal_projector.", "multi_modal_projector."),
    KeyRule::rename_prefix("multi_modal_projector.", "projector."),
    QKV,
    GATE_UP,
];

/// How the language part of a kind is read.
type ReadDecoder = fn(&Fields<'_>) -> Result<LlamaConfig>;

const DECODERS: &[(&str, ReadDecoder)] = &[
    ("llama", llama::decoder_config),
    ("mistral", mistral::decoder_config),
];

pub(super) fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    parse_named(fields, KEYS)
}

/// As [`parse`], of a model whose tensors are called as `keys` say.
pub(super) fn parse_named(fields: &Fields<'_>, keys: &[KeyRule]) -> Result<ModelConfig> {
    let text = fields.object_or_empty("text_config")?;
    let read_decoder = text.choice("model_type", llama::decoder_config as ReadDecoder, DECODERS)?;
    let mut decoder = read_decoder(&text)?;
    // The head belongs to the whole model, and so does whether it is tied.
    if let Some(is_tied) = fields.flag("tie_word_embeddings")? {
        decoder.tie_word_embeddings |= is_tied;
    }
    // Without a vision part it is CLIP-L; what a part does not say is as in CLIPVisionConfig.
    let defaults = match fields.object("vision_config")? {
        Some(_) => VisionDefaults::CLASS,
        None => VisionDefaults::ABSENT,
    };
    let vision = fields.object_or_empty("vision_config")?;
    vision.choice("model_type", (), &[("clip_vision_model", ())])?;
    let stored_layers = vision
        .count("num_hidden_layers", 1..=MAX_LAYERS)?
        .unwrap_or(defaults.num_hidden_layers);
    let feature_layers = feature_layers(fields, stored_layers)?;
    let encoder = encoder_config(fields, &vision, &defaults, feature_layers)?;
    let run_layers = encoder.num_hidden_layers;
    let projector = projector_config(fields, &encoder, &decoder)?;
    let image_token_id = image_token_id(fields, &decoder)?;
    let eos_token_ids = eos_token_ids_with(fields, &text)?;
    Ok(ModelConfig {
        key_map: without_layers(KeyMap::new(keys), run_layers..stored_layers),
        vision: Some(VisionConfig {
            encoder: VisualEncoderConfig::Clip(encoder),
            projector,
            image_token_id: Some(image_token_id),
            image_grid_pinpoints: Vec::new(),
        }),
        decoder,
        eos_token_ids,
    })
}

/// What a vision part has where the file does not say.
struct VisionDefaults {
    hidden_size: usize,
    intermediate_size: usize,
    num_hidden_layers: usize,
    num_attention_heads: usize,
    image_size: usize,
    patch_size: usize,
}

impl VisionDefaults {
    /// Hugging Face's `CLIPVisionConfig`.
    const CLASS: Self = Self {
        hidden_size: 768,
        intermediate_size: 3072,
        num_hidden_layers: 12,
        num_attention_heads: 12,
        image_size: 224,
        patch_size: 32,
    };
    /// What its `LlavaConfig` makes of no vision part at all.
    const ABSENT: Self = Self {
        hidden_size: 1024,
        intermediate_size: 4096,
        num_hidden_layers: 24,
        num_attention_heads: 16,
        image_size: 336,
        patch_size: 14,
    };
}

/// The layers whose outputs are read, side by side: `vision_feature_layer` counts the embeddings as
/// 0, and from the back where it is negative.
fn feature_layers(fields: &Fields<'_>, stored_layers: usize) -> Result<Vec<usize>> {
    let (name, last) = ("vision_feature_layer", stored_layers as i64);
    let layers = fields.integers(name, -last - 1..=last)?;
    let layers = match fields.value(name) {
        None => vec![-2],
        Some(found) if layers.is_empty() => {
            return Err(fields.out_of_range(name, found, "a layer, or a list of some"));
        }
        Some(_) => layers,
    };
    let from_front = |layer: i64| if layer < 0 { last + 1 + layer } else { layer };
    let layers = layers
        .into_iter()
        .map(|layer| usize::try_from(from_front(layer)).expect("the range was checked above"));
    Ok(layers.collect())
}

fn encoder_config(
    fields: &Fields<'_>,
    vision: &Fields<'_>,
    defaults: &VisionDefaults,
    feature_layers: Vec<usize>,
) -> Result<ClipVisionConfig> {
    let hidden_size = vision
        .count("hidden_size", 1..=MAX_WIDTH)?
        .unwrap_or(defaults.hidden_size);
    let num_attention_heads = vision
        .count("num_attention_heads", 1..=MAX_WIDTH)?
        .unwrap_or(defaults.num_attention_heads);
    require_even_heads(
        vision,
        "num_attention_heads",
        num_attention_heads,
        hidden_size,
    )?;
    require_three_channels(vision)?;
    let image_size = vision
        .count("image_size", 1..=MAX_IMAGE_SIZE)?
        .unwrap_or(defaults.image_size);
    let patch_size = vision
        .count("patch_size", 1..=image_size)?
        .unwrap_or(defaults.patch_size);
    let strategies = [
        ("default", FeatureSelect::Patches),
        ("full", FeatureSelect::ClassAndPatches),
    ];
    let config = ClipVisionConfig {
        hidden_size,
        intermediate_size: vision
            .count("intermediate_size", 1..=MAX_WIDTH)?
            .unwrap_or(defaults.intermediate_size),
        num_hidden_layers: feature_layers.iter().copied().max().unwrap_or(0),
        num_attention_heads,
        image_size,
        patch_size,
        hidden_act: vision.choice("hidden_act", Activation::QuickGelu, ACTIVATIONS)?,
        layer_norm_eps: vision.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-5),
        select: fields.choice(
            "vision_feature_select_strategy",
            FeatureSelect::Patches,
            &strategies,
        )?,
        feature_layers,
    };
    require_patches(vision, "patch_size", patch_size, config.num_patches())?;
    if config.feature_size() > MAX_WIDTH {
        let (found, expected) = (config.feature_size(), format!("at most {MAX_WIDTH} wide"));
        let found = format!("{found} wide together");
        return Err(fields.out_of_range("vision_feature_layer", found, expected));
    }
    Ok(config)
}

fn projector_config(
    fields: &Fields<'_>,
    encoder: &ClipVisionConfig,
    decoder: &LlamaConfig,
) -> Result<ProjectorConfig> {
    Ok(ProjectorConfig::Mlp(MlpProjectorConfig {
        vision_hidden_size: encoder.feature_size(),
        hidden_size: decoder.hidden_size,
        projector_hidden_act: fields.choice(
            "projector_hidden_act",
            Activation::Gelu,
            ACTIVATIONS,
        )?,
        multimodal_projector_bias: fields.flag("multimodal_projector_bias")?.unwrap_or(true),
    }))
}

fn image_token_id(fields: &Fields<'_>, decoder: &LlamaConfig) -> Result<u32> {
    let largest = decoder.vocab_size.max(1 << 17);
    let name = fields.spelling("image_token_id", "image_token_index");
    let found = fields.count(name, 0..=largest)?;
    Ok(u32::try_from(found.unwrap_or(32_000)).expect("the range was checked above"))
}

/// The layers behind the one that is read are stored too; they are left in the file.
fn without_layers(key_map: KeyMap, layers: std::ops::Range<usize>) -> KeyMap {
    layers.fold(key_map, |key_map, layer| {
        let part = format!("vision_tower.encoder.layers.{layer}.");
        let nested = format!("vision_model.encoder.layers.{layer}.");
        [part, nested].into_iter().fold(key_map, |key_map, part| {
            key_map.with(KeyRule::Ignore(KeyPattern::Part(Cow::Owned(part))))
        })
    })
}
