//! Idefics3 (Laurençon et al. 2024) and SmolVLM, which is one of its shape: SigLIP over tiles, pixel
//! shuffle, Llama.

use super::fields::{ACTIVATIONS, Fields};
use super::llama::{GATE_UP, QKV, decoder_config, eos_token_ids_with};
use super::vision_fields::{
    MAX_IMAGE_SIZE, MAX_LAYERS, MAX_WIDTH, require_even_heads, require_patches,
    require_three_channels,
};
use super::{Family, ImageLayout, ModelConfig, ProjectorConfig, VisionConfig};
use crate::error::Result;
use crate::image::{ImageSize, PreprocessConfig, TileGrid};
use crate::nn::{
    Activation, LlamaConfig, PixelShuffleConfig, SiglipVisionConfig, VisualEncoderConfig,
};
use crate::text::{Bos, ImagePart, ImageTokens};
use crate::weights::{KeyMap, KeyRule};

pub(super) const FAMILY: Family = Family {
    name: "idefics3",
    architectures: &["Idefics3ForConditionalGeneration"],
    model_type: "idefics3",
    // Every checkpoint brings its own.
    default_template: "plain",
    // A processor puts the bos in front unless the template wrote it.
    chat_bos: Bos::UnlessWritten,
    image_processor: Some("Idefics3ImageProcessor"),
    usual_preparation: None,
    layout,
    parse,
};

/// The same under its own name.
pub(super) const SMOLVLM: Family = Family {
    name: "smolvlm",
    architectures: &["SmolVLMForConditionalGeneration"],
    model_type: "smolvlm",
    image_processor: Some("SmolVLMImageProcessor"),
    ..FAMILY
};

const KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::ignore_suffix("embeddings.position_ids"),
    KeyRule::reshape_suffix("patch_embedding.weight"),
    KeyRule::rename_prefix("model.vision_model.", "visual_encoder."),
    KeyRule::rename_prefix("model.connector.modality_projection.", "projector."),
    KeyRule::rename_prefix("model.text_model.", "decoder."),
    KeyRule::rename_prefix("lm_head.", "decoder.lm_head."),
    QKV,
    GATE_UP,
];

/// The token on both sides of a picture.
const AROUND: &str = "<fake_token_around_image>";
/// The token in front of the whole picture.
const GLOBAL: &str = "<global-img>";

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    /// What the class gives a decoder that the file does not describe at all.
    const ABSENT_EPSILON: f64 = 1e-5;
    let text = fields.object_or_empty("text_config")?;
    text.choice("model_type", (), &[("llama", ())])?;
    let mut decoder = decoder_config(&text)?;
    if fields.object("text_config")?.is_none() {
        decoder.layer.norm.epsilon = ABSENT_EPSILON;
    }
    // The head belongs to the whole model, and so does whether it is tied.
    if let Some(is_tied) = fields.flag("tie_word_embeddings")? {
        decoder.tie_word_embeddings = is_tied;
    }
    let encoder = encoder_config(&fields.object_or_empty("vision_config")?)?;
    let projector = projector_config(fields, &encoder, &decoder)?;
    let largest = decoder.vocab_size.max(1 << 18);
    let image_token_id = fields.count("image_token_id", 0..=largest)?;
    Ok(ModelConfig {
        key_map: KeyMap::new(KEYS),
        vision: Some(VisionConfig {
            encoder: VisualEncoderConfig::Siglip(encoder),
            projector: ProjectorConfig::PixelShuffle(projector),
            image_token_id: u32::try_from(image_token_id.unwrap_or(128_257)).ok(),
            image_grid_pinpoints: Vec::new(),
        }),
        decoder,
        eos_token_ids: eos_token_ids_with(fields, &text)?,
    })
}

/// Where the file is silent, the defaults of Hugging Face's `Idefics3VisionConfig` hold.
fn encoder_config(vision: &Fields<'_>) -> Result<SiglipVisionConfig> {
    let names = [
        "idefics3",
        "idefics3_vision",
        "smolvlm_vision",
        "siglip_vision_model",
    ];
    vision.choice("model_type", (), &names.map(|name| (name, ())))?;
    let hidden_size = vision.count("hidden_size", 1..=MAX_WIDTH)?.unwrap_or(1152);
    let num_heads = vision
        .count("num_attention_heads", 1..=MAX_WIDTH)?
        .unwrap_or(16);
    require_even_heads(vision, "num_attention_heads", num_heads, hidden_size)?;
    require_three_channels(vision)?;
    let image_size = vision
        .count("image_size", 1..=MAX_IMAGE_SIZE)?
        .unwrap_or(224);
    let patch_size = vision
        .count("patch_size", 1..=image_size)?
        .unwrap_or(image_size.min(32));
    let config = SiglipVisionConfig {
        hidden_size,
        intermediate_size: vision
            .count("intermediate_size", 1..=MAX_WIDTH)?
            .unwrap_or(3072),
        num_hidden_layers: vision
            .count("num_hidden_layers", 1..=MAX_LAYERS)?
            .unwrap_or(12),
        num_attention_heads: num_heads,
        image_size,
        patch_size,
        hidden_act: vision.choice("hidden_act", Activation::GeluTanh, ACTIVATIONS)?,
        layer_norm_eps: vision.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-6),
    };
    require_patches(vision, "patch_size", patch_size, config.num_patches())?;
    Ok(config)
}

fn projector_config(
    fields: &Fields<'_>,
    encoder: &SiglipVisionConfig,
    decoder: &LlamaConfig,
) -> Result<PixelShuffleConfig> {
    let side = encoder.image_size / encoder.patch_size;
    let scale_factor = fields.count("scale_factor", 1..=MAX_WIDTH)?.unwrap_or(2);
    if !side.is_multiple_of(scale_factor) {
        let expected = format!("a divisor of the {side} patches a side");
        return Err(fields.out_of_range("scale_factor", scale_factor, expected));
    }
    Ok(PixelShuffleConfig {
        vision_hidden_size: encoder.hidden_size,
        scale_factor,
        hidden_size: decoder.hidden_size,
    })
}

/// The tiles row by row, each behind the name of its place, then the whole picture.
fn layout(vision: &VisionConfig, preprocess: &PreprocessConfig, size: ImageSize) -> ImageLayout {
    let rows = vision.projector.num_rows(vision.encoder.num_features());
    let grid = preprocess.tile_grid(size);
    let mut parts = grid.map_or_else(Vec::new, |grid| tiles(grid, rows));
    let line = if grid.is_some() { "\n\n" } else { "" };
    parts.push(ImagePart::Text(format!("{line}{AROUND}{GLOBAL}")));
    parts.push(ImagePart::Rows(rows));
    parts.push(ImagePart::Text(AROUND.to_string()));
    ImageLayout {
        num_tiles: grid.map_or(1, TileGrid::num_tiles),
        tokens: ImageTokens::new(parts),
        grid: None,
    }
}

fn tiles(grid: TileGrid, rows: usize) -> Vec<ImagePart> {
    let mut parts = Vec::new();
    for row in 1..=grid.rows {
        for column in 1..=grid.columns {
            let line = if row > 1 && column == 1 { "\n" } else { "" };
            let place = format!("{line}{AROUND}<row_{row}_col_{column}>");
            parts.extend([ImagePart::Text(place), ImagePart::Rows(rows)]);
        }
    }
    parts
}
