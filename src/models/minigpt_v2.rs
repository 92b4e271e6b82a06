//! MiniGPT-v2 (Chen et al. 2023) from its own files: EVA-CLIP at twice its resolution, four neighbours
//! side by side, one linear layer, LLaMA-2 with low-rank updates of its own.

use super::fields::Fields;
use super::{Family, ModelConfig, minigpt4};
use crate::error::Result;
use crate::weights::KeyRule;

pub(super) const FAMILY: Family = Family {
    name: "minigpt-v2",
    architectures: &["minigpt_v2"],
    model_type: "pretrain",
    default_template: "minigpt_v2",
    parse,
    ..minigpt4::FAMILY
};

/// The names that two generations of PEFT gave to the updates beside the weights.
const KEYS: &[KeyRule] = &[
    KeyRule::rename_prefix("llama_model.base_model.model.", "llama_model."),
    KeyRule::rename_part(".lora_A.default.", ".lora_A."),
    KeyRule::rename_part(".lora_B.default.", ".lora_B."),
];

const MAX_RANK: usize = 1 << 12;

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    let rank = fields.count("lora_r", 1..=MAX_RANK)?.unwrap_or(64);
    let alpha = fields.number("lora_alpha", 0.0..=1e4)?.unwrap_or(16.0);
    let update = KeyRule::low_rank("lora_A", "lora_B", (alpha / rank as f64) as f32);
    let rules = KEYS.iter().cloned().chain([update]);
    minigpt4::parse_merging(fields, 448, rules)
}
