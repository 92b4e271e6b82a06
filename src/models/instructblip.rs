//! InstructBLIP (Dai et al. 2023) over Vicuna as Hugging Face stores it: EVA-CLIP, a Q-Former that reads
//! the question, one linear layer, Llama.

use super::blip::{
    QFORMER_KEYS, eva_config, image_size, num_query_tokens, qformer_config, qformer_text_config,
};
use super::fields::Fields;
use super::llama::{GATE_UP, QKV, decoder_config, eos_token_ids};
use super::{Family, ModelConfig, ProjectorConfig, VisionConfig, image_layout};
use crate::error::{ConfigError, Result};
use crate::nn::{FeatureSelect, VisualEncoderConfig};
use crate::text::Bos;
use crate::weights::{KeyMap, KeyRule};

pub(super) const FAMILY: Family = Family {
    name: "instructblip",
    architectures: &["InstructBlipForConditionalGeneration"],
    model_type: "instructblip",
    // The question as it is.
    default_template: "plain",
    chat_bos: Bos::AfterImages,
    image_processor: Some("BlipImageProcessor"),
    usual_preparation: None,
    layout: image_layout::one_tile,
    parse,
};

/// To BERT's names of the Q-Former's parts, which [`QFORMER_KEYS`] knows.
const KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::reshape_suffix("patch_embedding.weight"),
    KeyRule::rename_prefix("vision_model.embeddings.", "visual_encoder."),
    KeyRule::rename_prefix("vision_model.encoder.", "visual_encoder."),
    KeyRule::rename_prefix("vision_model.", "visual_encoder."),
    KeyRule::rename_part(".self_attn.qkv.", ".self_attn.qkv_proj."),
    KeyRule::rename_part(".self_attn.projection.", ".self_attn.out_proj."),
    KeyRule::rename_prefix("qformer.embeddings.layernorm.", "projector.layernorm."),
    KeyRule::rename_prefix("qformer.", "Qformer.bert."),
    KeyRule::rename_part(".attention.attention.", ".attention.self."),
    KeyRule::rename_part(".crossattention.attention.", ".crossattention.self."),
    KeyRule::rename_prefix("language_projection.", "projector.linear."),
    KeyRule::rename_prefix("language_model.model.", "decoder."),
    KeyRule::rename_prefix("language_model.lm_head.", "decoder.lm_head."),
    QKV,
    GATE_UP,
];

const MAX_TOKEN_ID: usize = 1 << 22;

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    // Without one, the class has a decoder of another kind.
    let missing = || ConfigError::Missing {
        field: "text_config".to_string(),
    };
    let text = fields.object("text_config")?.ok_or_else(missing)?;
    text.choice("model_type", (), &[("llama", ())])?;
    let decoder = decoder_config(&text)?;
    let vision = fields.object_or_empty("vision_config")?;
    vision.choice("hidden_act", (), &[("gelu", ())])?;
    let epsilon = vision.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-6);
    let sizes = [image_size(&vision, "image_size", 224)?; 2];
    let encoder = eva_config(&vision, sizes, epsilon, FeatureSelect::ClassAndPatches)?;
    let q_former = fields.object_or_empty("qformer_config")?;
    q_former.choice("hidden_act", (), &[("gelu", ())])?;
    let queries = num_query_tokens(fields, "num_query_tokens")?;
    let mut projector = qformer_config(&q_former, &encoder, queries, decoder.hidden_size)?;
    projector.text = Some(qformer_text_config(&q_former)?);
    let image_token = fields.count("image_token_index", 0..=MAX_TOKEN_ID)?;
    let image_token = image_token.map(|id| u32::try_from(id).expect("the range was checked above"));
    Ok(ModelConfig {
        key_map: KeyMap::new(KEYS).with_all(QFORMER_KEYS.iter().cloned()),
        vision: Some(VisionConfig {
            encoder: VisualEncoderConfig::Eva(encoder),
            projector: ProjectorConfig::QFormer(projector),
            image_token_id: image_token,
            image_grid_pinpoints: Vec::new(),
        }),
        decoder,
        eos_token_ids: eos_token_ids(&text)?,
    })
}
