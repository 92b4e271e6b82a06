//! What a checkpoint of no known family looks like, by the names of its tensors.

/// What the names of tensors look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Resemblance {
    /// What it seems to be.
    pub looks_like: &'static str,
    /// The family that comes nearest among those that can be run.
    pub nearest_family: &'static str,
}

/// A part of a name that tells, what it tells, and the nearest family; the most telling first.
const SIGNS: &[(&str, &str, &str)] = &[
    (".SCB", "weights in eight bits by bitsandbytes", "llama"),
    (".qweight", "weights packed by GPTQ or AWQ", "llama"),
    (
        ".lora_A.",
        "a LoRA adapter, without the model it adapts",
        "llama",
    ),
    (
        "image_newline",
        "LLaVA-NeXT, which cuts pictures into tiles",
        "llava-next",
    ),
    (
        "mm_projector.",
        "LLaVA in the layout of its authors",
        "llava",
    ),
    (
        "multi_modal_projector.",
        "LLaVA or one of its kind",
        "llava",
    ),
    ("llama_proj.", "MiniGPT-4", "minigpt4"),
    (
        "language_model.encoder.block.",
        "BLIP-2 or InstructBLIP over T5, whose decoder reads an encoder",
        "blip-2",
    ),
    (
        "language_model.model.decoder.embed_positions.",
        "BLIP-2 over OPT",
        "blip-2",
    ),
    (
        "Qformer.bert.",
        "BLIP-2 or InstructBLIP in the layout of its authors",
        "instructblip",
    ),
    ("qformer.", "BLIP-2 or InstructBLIP", "instructblip"),
    ("modality_projection.", "Idefics3 or SmolVLM", "idefics3"),
    ("MP.proj.", "nanoVLM", "llava"),
    (
        "v.blk.0.",
        "the eyes of a model in GGUF, without the model",
        "llava",
    ),
    ("vision_model.encoder.", "a visual encoder", "llava"),
    ("visual.blocks.", "a visual encoder", "llava"),
    ("gpt_neox.", "GPT-NeoX, as Polyglot-ko is", "gpt-neox"),
    (
        ".block_sparse_moe.",
        "Mixtral: experts in place of one feed-forward block",
        "llama",
    ),
    (".mlp.experts.", "a decoder with experts", "llama"),
    ("blk.0.attn_q.", "a decoder in GGUF", "llama"),
    ("layers.0.attention.wq.", "Llama in Meta's layout", "llama"),
    (
        "decoder.embed_positions.",
        "a decoder of OPT's kind",
        "blip-2",
    ),
    (
        "layers.0.self_attn.q_norm.",
        "a decoder that norms queries and keys, as Qwen3",
        "llama",
    ),
    (
        "layers.0.self_attn.q_proj.",
        "a decoder of Llama's kind",
        "llama",
    ),
    (
        "layers.0.self_attn.qkv_proj.",
        "a decoder of Phi-3's kind",
        "llama",
    ),
    ("transformer.h.0.", "a decoder of GPT-2's kind", "llama"),
];

impl Resemblance {
    /// What the names say first in the order of the signs, if they say anything.
    pub(crate) fn of<'n>(names: impl Iterator<Item = &'n str>) -> Option<Self> {
        let places = names.filter_map(|name| SIGNS.iter().position(|sign| name.contains(sign.0)));
        let (_, looks_like, nearest_family) = SIGNS[places.min()?];
        Some(Self {
            looks_like,
            nearest_family,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::models::FAMILIES;

    #[test]
    fn every_nearest_family_is_one_that_can_be_run() {
        for (sign, _, nearest) in SIGNS {
            let is_known = FAMILIES.iter().any(|family| family.name == *nearest);
            assert!(is_known, "{sign}: {nearest}");
        }
    }

    #[test]
    fn the_most_telling_name_decides_wherever_it_stands() {
        let names = [
            "model.layers.0.self_attn.q_proj.weight",
            "model.layers.0.self_attn.q_proj.lora_A.weight",
        ];
        let found = Resemblance::of(names.into_iter());
        assert!(found.is_some_and(|found| found.looks_like.contains("LoRA")));
        assert_eq!(Resemblance::of(["encoder.weight"].into_iter()), None);
    }
}
