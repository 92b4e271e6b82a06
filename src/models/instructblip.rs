//! InstructBLIP (Dai et al. 2023) over Vicuna as Hugging Face stores it: EVA-CLIP, a Q-Former that reads
//! the question, one linear layer, Llama.

use super::blip::{HUGGING_FACE_KEYS, QFORMER_KEYS, hugging_face_vision, qformer_text_config};
use super::fields::Fields;
use super::llama::{GATE_UP, QKV, decoder_config, eos_token_ids};
use super::{Family, ModelConfig, image_layout};
use crate::error::{ConfigError, Result};
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

/// The decoder's.
const KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::rename_prefix("language_model.model.", "decoder."),
    KeyRule::rename_prefix("language_model.lm_head.", "decoder.lm_head."),
    QKV,
    GATE_UP,
];

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    // Without one, the class has a decoder of another kind.
    let missing = || ConfigError::Missing {
        field: "text_config".to_string(),
    };
    let text = fields.object("text_config")?.ok_or_else(missing)?;
    text.choice("model_type", (), &[("llama", ())])?;
    let decoder = decoder_config(&text)?;
    let question = qformer_text_config(&fields.object_or_empty("qformer_config")?)?;
    let key_map = KeyMap::new(KEYS).with_all(HUGGING_FACE_KEYS.iter().cloned());
    Ok(ModelConfig {
        key_map: key_map.with_all(QFORMER_KEYS.iter().cloned()),
        vision: Some(hugging_face_vision(
            fields,
            decoder.hidden_size,
            Some(question),
        )?),
        decoder,
        eos_token_ids: eos_token_ids(&text)?,
    })
}
