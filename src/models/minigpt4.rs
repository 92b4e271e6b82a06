//! MiniGPT-4 (Zhu et al. 2023) from its own files: EVA-CLIP, BLIP-2's Q-Former, one linear layer,
//! Vicuna v0; or, over LLaMA-2, four neighbours side by side in place of the Q-Former.

use super::blip::{
    EVA_KEYS, QFORMER_KEYS, eva_config, image_size, num_query_tokens, qformer_config,
    without_layers,
};
use super::fields::Fields;
use super::llama::{GATE_UP, QKV, decoder_config, eos_token_ids};
use super::project::LLAMA_MODEL;
use super::{Family, ModelConfig, ProjectorConfig, VisionConfig, image_layout};
use crate::error::{ConfigError, Result};
use crate::nn::{
    EvaVisionConfig, FeatureSelect, LlamaConfig, MergeProjectorConfig, VisualEncoderConfig,
};
use crate::text::Bos;
use crate::weights::{KeyMap, KeyRule};

pub(super) const FAMILY: Family = Family {
    name: "minigpt4",
    architectures: &["minigpt4", "mini_gpt4"],
    model_type: "pretrain_vicuna0",
    default_template: "minigpt4_vicuna0",
    chat_bos: Bos::OnlyWritten,
    image_processor: None,
    usual_preparation: None,
    layout: image_layout::one_tile,
    parse: parse_vicuna,
};

pub(super) const OVER_LLAMA_2: Family = Family {
    name: "minigpt4-llama2",
    model_type: "pretrain_llama2",
    default_template: "minigpt4_llama2",
    parse: parse_llama_2,
    ..FAMILY
};

/// Every part of the model, under the names that its own code gives them.
const KEYS: &[KeyRule] = &[
    // BLIP-2's file holds the rest of BLIP-2.
    KeyRule::only_prefix("visual_encoder."),
    KeyRule::only_prefix("ln_vision."),
    KeyRule::only_prefix("query_tokens"),
    KeyRule::only_prefix("Qformer.bert."),
    KeyRule::only_prefix("llama_proj."),
    KeyRule::only_prefix("llama_model."),
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    // The half of the Q-Former that reads text.
    KeyRule::ignore_prefix("Qformer.bert.embeddings.word_embeddings."),
    KeyRule::ignore_prefix("Qformer.bert.embeddings.position_embeddings."),
    KeyRule::rename_prefix("llama_proj.", "projector.linear."),
    KeyRule::rename_prefix("llama_model.model.", "decoder."),
    KeyRule::rename_prefix("llama_model.lm_head.", "decoder.lm_head."),
    QKV,
    GATE_UP,
];

/// LAVIS takes PyTorch's own for `ln_vision`, other than for the norms inside of the encoder.
const LN_VISION_EPS: f64 = 1e-5;

/// Height and width of the pictures that the encoder was trained on.
const IMAGE_SIZE: usize = 224;

/// Neighbours that become one row where no Q-Former reads the picture.
const NUM_MERGED: usize = 4;

fn parse_vicuna(fields: &Fields<'_>) -> Result<ModelConfig> {
    match fields.flag("has_qformer")?.unwrap_or(true) {
        true => parse_reading(fields),
        false => parse_merging(fields, IMAGE_SIZE, []),
    }
}

fn parse_llama_2(fields: &Fields<'_>) -> Result<ModelConfig> {
    match fields.flag("has_qformer")?.unwrap_or(false) {
        true => parse_reading(fields),
        false => parse_merging(fields, IMAGE_SIZE, []),
    }
}

/// The model whose Q-Former reads the picture.
fn parse_reading(fields: &Fields<'_>) -> Result<ModelConfig> {
    let parts = Parts::read(fields, IMAGE_SIZE, FeatureSelect::ClassAndPatches)?;
    let q_former = fields.object_or_empty("q_former")?;
    let queries = num_query_tokens(fields, "num_query_token")?;
    let hidden_size = parts.decoder.hidden_size;
    let config = qformer_config(&q_former, &parts.encoder, queries, hidden_size)?;
    let (layer, layers) = ("Qformer.bert.encoder.layer.", 0..config.num_hidden_layers);
    let rules = QFORMER_KEYS
        .iter()
        .cloned()
        // The half of each layer that reads text.
        .chain(without_layers(layer, layers.clone(), "intermediate."))
        .chain(without_layers(layer, layers, "output."));
    Ok(parts.join(ProjectorConfig::QFormer(config), rules))
}

/// The model that puts neighbours side by side; `rules` are about the rest of its files.
pub(super) fn parse_merging(
    fields: &Fields<'_>,
    usual_image_size: usize,
    rules: impl IntoIterator<Item = KeyRule>,
) -> Result<ModelConfig> {
    let parts = Parts::read(fields, usual_image_size, FeatureSelect::Patches)?;
    let num_patches = parts.encoder.num_patches();
    if !num_patches.is_multiple_of(NUM_MERGED) {
        let expected = format!("one that cuts a picture into a multiple of {NUM_MERGED}");
        let found = format!("{} ({num_patches} patches)", parts.encoder.image_size);
        return Err(fields.out_of_range("image_size", found, expected));
    }
    let projector = MergeProjectorConfig {
        vision_hidden_size: parts.encoder.hidden_size,
        num_merged: NUM_MERGED,
        hidden_size: parts.decoder.hidden_size,
    };
    // Its own code makes the norm and loads nothing into it.
    let norm = KeyRule::optional_prefix("visual_encoder.post_layernorm.");
    let rules = rules.into_iter().chain([norm]);
    Ok(parts.join(ProjectorConfig::Merge(projector), rules))
}

/// What every model of the project has.
struct Parts {
    encoder: EvaVisionConfig,
    decoder: LlamaConfig,
    eos_token_ids: Vec<u32>,
}

impl Parts {
    fn read(fields: &Fields<'_>, usual_image_size: usize, select: FeatureSelect) -> Result<Self> {
        let llama = fields.object(LLAMA_MODEL)?;
        let llama = llama.ok_or_else(|| ConfigError::Missing {
            field: LLAMA_MODEL.to_string(),
        })?;
        llama.choice("model_type", (), &[("llama", ())])?;
        let size = image_size(fields, "image_size", usual_image_size)?;
        // The public file was trained on pictures of 224 pixels, whatever it reads here.
        let vit = fields.object_or_empty("vit")?;
        let learned_on = match fields.is_written("vit") {
            true => image_size(&vit, "image_size", size)?,
            false => IMAGE_SIZE,
        };
        Ok(Self {
            encoder: eva_config(&vit, [learned_on, size], LN_VISION_EPS, select)?,
            decoder: decoder_config(&llama)?,
            eos_token_ids: eos_token_ids(&llama)?,
        })
    }

    fn join(
        self,
        projector: ProjectorConfig,
        rules: impl IntoIterator<Item = KeyRule>,
    ) -> ModelConfig {
        let layers = self.encoder.num_hidden_layers;
        // The file holds one layer more than are run.
        let unused = without_layers("visual_encoder.blocks.", layers..layers + 1, "");
        let key_map = KeyMap::default()
            .with_all(rules)
            .with_all(KEYS.iter().cloned())
            .with_all(EVA_KEYS.iter().cloned())
            .with_all(unused);
        ModelConfig {
            key_map,
            vision: Some(VisionConfig {
                encoder: VisualEncoderConfig::Eva(self.encoder),
                projector,
                image_token_id: None,
                image_grid_pinpoints: Vec::new(),
            }),
            decoder: self.decoder,
            eos_token_ids: self.eos_token_ids,
        }
    }
}
