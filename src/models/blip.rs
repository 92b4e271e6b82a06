//! What BLIP-2 and the systems built on it have in common: EVA-CLIP and the Q-Former.

use std::borrow::Cow;

use super::fields::Fields;
use super::vision_fields::{
    MAX_IMAGE_SIZE, MAX_LAYERS, MAX_WIDTH, require_even_heads, require_patches,
};
use super::{ProjectorConfig, VisionConfig};
use crate::error::Result;
use crate::nn::{
    Activation, EvaVisionConfig, FeatureSelect, QFormerConfig, QFormerTextConfig,
    VisualEncoderConfig,
};
use crate::weights::{KeyPattern, KeyRule};

/// Most learned queries.
const MAX_QUERIES: usize = 1 << 12;
const MAX_TOKEN_ID: usize = 1 << 22;

/// EVA's names in its own file, behind `visual_encoder.`.
pub(super) const EVA_KEYS: &[KeyRule] = &[
    // Classifies; nobody reads it.
    KeyRule::ignore_prefix("visual_encoder.head."),
    KeyRule::ignore_prefix("visual_encoder.norm."),
    KeyRule::ignore_prefix("visual_encoder.fc_norm."),
    KeyRule::reshape_suffix("patch_embed.proj.weight"),
    KeyRule::rename_prefix("visual_encoder.cls_token", "visual_encoder.class_embedding"),
    KeyRule::rename_prefix(
        "visual_encoder.pos_embed",
        "visual_encoder.position_embedding",
    ),
    KeyRule::rename_prefix(
        "visual_encoder.patch_embed.proj.",
        "visual_encoder.patch_embedding.",
    ),
    KeyRule::rename_prefix("visual_encoder.blocks.", "visual_encoder.layers."),
    KeyRule::rename_part(".attn.qkv.", ".self_attn.qkv_proj."),
    KeyRule::rename_part(".attn.proj.", ".self_attn.out_proj."),
    KeyRule::rename_part(".attn.", ".self_attn."),
    KeyRule::rename_part(".norm1.", ".layer_norm1."),
    KeyRule::rename_part(".norm2.", ".layer_norm2."),
    KeyRule::rename_prefix("ln_vision.", "visual_encoder.post_layernorm."),
    // Queries and values have a bias, keys have none.
    KeyRule::stack(
        &["self_attn.q_bias", "self_attn.k_bias", "self_attn.v_bias"],
        "self_attn.qkv_proj.bias",
    ),
    KeyRule::zeros_suffix("self_attn.k_bias"),
];

/// The Q-Former's names in BERT's original layout.
pub(super) const QFORMER_KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("embeddings.position_ids"),
    KeyRule::rename_prefix("query_tokens", "projector.query_tokens"),
    KeyRule::rename_prefix("Qformer.bert.embeddings.LayerNorm.", "projector.layernorm."),
    KeyRule::rename_prefix("Qformer.bert.encoder.layer.", "projector.layers."),
    KeyRule::rename_part(".crossattention.self.query.", ".cross_attention.q_proj."),
    KeyRule::rename_part(".crossattention.self.", ".cross_attention."),
    KeyRule::rename_part(
        ".crossattention.output.dense.",
        ".cross_attention.out_proj.",
    ),
    KeyRule::rename_part(
        ".crossattention.output.LayerNorm.",
        ".cross_attention_norm.",
    ),
    KeyRule::rename_part(".attention.self.", ".attention."),
    KeyRule::rename_part(".attention.output.dense.", ".attention.out_proj."),
    KeyRule::rename_part(".attention.output.LayerNorm.", ".attention_norm."),
    KeyRule::rename_part(".intermediate_query.dense.", ".mlp.fc1."),
    KeyRule::rename_part(".output_query.dense.", ".mlp.fc2."),
    KeyRule::rename_part(".output_query.LayerNorm.", ".mlp_norm."),
    // The half that reads text.
    KeyRule::rename_prefix(
        "Qformer.bert.embeddings.word_embeddings.",
        "projector.text.word_embeddings.",
    ),
    KeyRule::rename_prefix(
        "Qformer.bert.embeddings.position_embeddings.weight",
        "projector.text.position_embeddings",
    ),
    KeyRule::rename_part(".intermediate.dense.", ".text_mlp.fc1."),
    KeyRule::rename_part(".output.dense.", ".text_mlp.fc2."),
    KeyRule::rename_part(".output.LayerNorm.", ".text_norm."),
    KeyRule::stack(
        &["attention.query.", "attention.key.", "attention.value."],
        "attention.qkv_proj.",
    ),
    KeyRule::stack(
        &["cross_attention.key.", "cross_attention.value."],
        "cross_attention.kv_proj.",
    ),
];

/// Hugging Face's names of all but the decoder; those of the Q-Former's parts become BERT's, which
/// [`QFORMER_KEYS`] knows.
pub(super) const HUGGING_FACE_KEYS: &[KeyRule] = &[
    KeyRule::reshape_suffix("patch_embedding.weight"),
    KeyRule::rename_prefix("vision_model.embeddings.", "visual_encoder."),
    KeyRule::rename_prefix("vision_model.encoder.", "visual_encoder."),
    KeyRule::rename_prefix("vision_model.", "visual_encoder."),
    KeyRule::rename_part(".self_attn.qkv.", ".self_attn.qkv_proj."),
    KeyRule::rename_part(".self_attn.projection.", ".self_attn.out_proj."),
    // InstructBLIP's, and BLIP-2's.
    KeyRule::rename_prefix("qformer.embeddings.layernorm.", "projector.layernorm."),
    KeyRule::rename_prefix("qformer.layernorm.", "projector.layernorm."),
    KeyRule::rename_prefix("qformer.", "Qformer.bert."),
    KeyRule::rename_part(".attention.attention.", ".attention.self."),
    KeyRule::rename_part(".crossattention.attention.", ".crossattention.self."),
    KeyRule::rename_prefix("language_projection.", "projector.linear."),
];

/// Leaves out what begins with `part` and one of `layers`.
pub(super) fn without_layers(
    part: &str,
    layers: std::ops::Range<usize>,
    behind: &str,
) -> impl Iterator<Item = KeyRule> {
    layers.map(move |layer| {
        let name = format!("{part}{layer}.{behind}");
        KeyRule::Ignore(KeyPattern::Prefix(Cow::Owned(name)))
    })
}

/// The way of a picture as Hugging Face's classes of BLIP-2 and InstructBLIP have it, to a decoder of
/// `hidden_size`; `question` is what the Q-Former reads that with, where it does.
pub(super) fn hugging_face_vision(
    fields: &Fields<'_>,
    hidden_size: usize,
    question: Option<QFormerTextConfig>,
) -> Result<VisionConfig> {
    let vision = fields.object_or_empty("vision_config")?;
    vision.choice("hidden_act", (), &[("gelu", ())])?;
    let epsilon = vision.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-6);
    let sizes = [image_size(&vision, "image_size", 224)?; 2];
    let encoder = eva_config(&vision, sizes, epsilon, FeatureSelect::ClassAndPatches)?;
    let q_former = fields.object_or_empty("qformer_config")?;
    q_former.choice("hidden_act", (), &[("gelu", ())])?;
    let queries = num_query_tokens(fields, "num_query_tokens")?;
    let mut projector = qformer_config(&q_former, &encoder, queries, hidden_size)?;
    projector.text = question;
    let image_token = fields.spelling("image_token_id", "image_token_index");
    let image_token = fields.count(image_token, 0..=MAX_TOKEN_ID)?;
    Ok(VisionConfig {
        encoder: VisualEncoderConfig::Eva(encoder),
        projector: ProjectorConfig::QFormer(projector),
        image_token_id: image_token
            .map(|id| u32::try_from(id).expect("the range was checked above")),
        image_grid_pinpoints: Vec::new(),
    })
}

/// The encoder, with the sizes of ViT-g/14 where no file says otherwise: for pictures whose positions
/// were learned, and for those that are read.
pub(super) fn eva_config(
    fields: &Fields<'_>,
    [position_image_size, image_size]: [usize; 2],
    post_layer_norm_eps: f64,
    select: FeatureSelect,
) -> Result<EvaVisionConfig> {
    let hidden_size = fields.count("hidden_size", 1..=MAX_WIDTH)?.unwrap_or(1408);
    let most = image_size.min(position_image_size);
    let patch_size = fields.count("patch_size", 1..=most)?.unwrap_or(14);
    let config = EvaVisionConfig {
        hidden_size,
        intermediate_size: fields
            .count("intermediate_size", 1..=MAX_WIDTH)?
            .unwrap_or(6144),
        num_hidden_layers: fields
            .count("num_hidden_layers", 1..=MAX_LAYERS)?
            .unwrap_or(39),
        num_attention_heads: heads(fields, 16, hidden_size)?,
        image_size,
        position_image_size,
        patch_size,
        hidden_act: Activation::Gelu,
        layer_norm_eps: fields.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-6),
        post_layer_norm_eps,
        select,
    };
    require_patches(fields, "patch_size", patch_size, config.num_patches())?;
    Ok(config)
}

/// Height and width of a picture, in the field `name`.
pub(super) fn image_size(fields: &Fields<'_>, name: &str, usual: usize) -> Result<usize> {
    let found = fields.count(name, 1..=MAX_IMAGE_SIZE)?;
    Ok(found.unwrap_or(usual))
}

/// Learned queries of the Q-Former.
pub(super) fn num_query_tokens(fields: &Fields<'_>, name: &str) -> Result<usize> {
    Ok(fields.count(name, 1..=MAX_QUERIES)?.unwrap_or(32))
}

/// The Q-Former, with the sizes of BERT-base where no file says otherwise, between `encoder` and a
/// decoder of `hidden_size`.
pub(super) fn qformer_config(
    fields: &Fields<'_>,
    encoder: &EvaVisionConfig,
    num_query_tokens: usize,
    hidden_size: usize,
) -> Result<QFormerConfig> {
    let width = fields.count("hidden_size", 1..=MAX_WIDTH)?.unwrap_or(768);
    Ok(QFormerConfig {
        vision_hidden_size: encoder.hidden_size,
        num_query_tokens,
        qformer_hidden_size: width,
        intermediate_size: fields
            .count("intermediate_size", 1..=MAX_WIDTH)?
            .unwrap_or(3072),
        num_hidden_layers: fields
            .count("num_hidden_layers", 1..=MAX_LAYERS)?
            .unwrap_or(12),
        num_attention_heads: heads(fields, 12, width)?,
        cross_attention_frequency: fields
            .count("cross_attention_frequency", 1..=MAX_LAYERS)?
            .unwrap_or(2),
        hidden_act: Activation::Gelu,
        layer_norm_eps: fields.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-12),
        hidden_size,
        text: None,
    })
}

/// What the Q-Former reads a question with.
pub(super) fn qformer_text_config(fields: &Fields<'_>) -> Result<QFormerTextConfig> {
    const MAX_VOCAB: usize = 1 << 20;
    const MAX_POSITIONS: usize = 1 << 16;
    Ok(QFormerTextConfig {
        vocab_size: fields.count("vocab_size", 1..=MAX_VOCAB)?.unwrap_or(30_522),
        max_position_embeddings: fields
            .count("max_position_embeddings", 1..=MAX_POSITIONS)?
            .unwrap_or(512),
    })
}

/// Heads of a block, which divide its width.
fn heads(fields: &Fields<'_>, usual: usize, hidden_size: usize) -> Result<usize> {
    let name = "num_attention_heads";
    let heads = fields.count(name, 1..=MAX_WIDTH)?.unwrap_or(usual);
    require_even_heads(fields, name, heads, hidden_size)?;
    Ok(heads)
}
