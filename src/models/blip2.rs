//! BLIP-2 (Li et al. 2023) over OPT as Hugging Face stores it: EVA-CLIP, a Q-Former, one linear layer,
//! OPT.

use super::blip::{HUGGING_FACE_KEYS, QFORMER_KEYS, hugging_face_vision};
use super::fields::Fields;
use super::llama::eos_token_ids;
use super::opt::{self, decoder_config};
use super::{Family, ModelConfig, image_layout};
use crate::error::Result;
use crate::text::Bos;
use crate::weights::KeyMap;

pub(super) const FAMILY: Family = Family {
    name: "blip-2",
    architectures: &["Blip2ForConditionalGeneration"],
    model_type: "blip-2",
    default_template: "blip2",
    chat_bos: Bos::AfterImages,
    image_processor: Some("BlipImageProcessor"),
    usual_preparation: None,
    layout: image_layout::one_tile,
    parse,
};

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    let text = fields.object_or_empty("text_config")?;
    require_opt(&text)?;
    let decoder = decoder_config(&text)?;
    let key_map = KeyMap::new(opt::KEYS).with_all(HUGGING_FACE_KEYS.iter().cloned());
    Ok(ModelConfig {
        key_map: key_map.with_all(QFORMER_KEYS.iter().cloned()),
        vision: Some(hugging_face_vision(fields, decoder.hidden_size, None)?),
        decoder,
        eos_token_ids: eos_token_ids(&text)?,
    })
}

/// Half of the published models are over FLAN-T5.
fn require_opt(text: &Fields<'_>) -> Result<()> {
    const NAME: &str = "model_type";
    let found = match text.text(NAME)? {
        None | Some("opt") => return Ok(()),
        Some("t5") => "t5, a decoder that reads an encoder",
        Some(found) => found,
    };
    Err(text.unsupported(NAME, found, vec!["opt".to_string()]))
}
