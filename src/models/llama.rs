//! Llama and everything shaped like it, text only: Vicuna, Alpaca, KoVicuna, SmolLM2.

use burn::tensor::DType;

use super::fields::Fields;
use super::{Family, ModelConfig, image_layout};
use crate::error::Result;
use crate::nn::{
    Biases, LayerConfig, LlamaConfig, MlpKind, NormConfig, NormKind, Positions, Residual,
    RopeConfig, RopePrecision, RopeScaling,
};
use crate::text::Bos;
use crate::weights::{KeyMap, KeyRule};

pub(super) const FAMILY: Family = Family {
    name: "llama",
    // The second is how the first conversions were written.
    architectures: &["LlamaForCausalLM", "LLaMAForCausalLM"],
    model_type: "llama",
    default_template: "plain",
    // A tokenizer leaves the whole prompt to the template.
    chat_bos: Bos::OnlyWritten,
    // It sees none.
    image_processor: None,
    usual_preparation: None,
    layout: image_layout::one_tile,
    parse,
};

const KEYS: &[KeyRule] = &[
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::rename_prefix("model.", "decoder."),
    KeyRule::rename_prefix("lm_head.", "decoder.lm_head."),
    // As a model without its head is saved.
    KeyRule::rename_prefix("embed_tokens.", "decoder.embed_tokens."),
    KeyRule::rename_prefix("layers.", "decoder.layers."),
    KeyRule::rename_prefix("norm.", "decoder.norm."),
    QKV,
    GATE_UP,
];

/// What is stored as three matrices, or two, and read as one: `x` is read once for them.
pub(super) const QKV: KeyRule = KeyRule::stack(
    &[
        "self_attn.q_proj.",
        "self_attn.k_proj.",
        "self_attn.v_proj.",
    ],
    "self_attn.qkv_proj.",
);
/// See [`QKV`].
pub(super) const GATE_UP: KeyRule =
    KeyRule::stack(&["mlp.gate_proj.", "mlp.up_proj."], "mlp.gate_up_proj.");

// No model comes near these; a number beyond them is damage, and would overflow sizes further on.
pub(super) const MAX_WIDTH: usize = 1 << 17;
pub(super) const MAX_LAYERS: usize = 512;
pub(super) const MAX_HEAD_DIM: usize = 1024;
pub(super) const MAX_VOCAB: usize = 1 << 22;
pub(super) const MAX_POSITIONS: usize = 1 << 24;

pub(super) fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    Ok(ModelConfig {
        key_map: KeyMap::new(KEYS),
        decoder: decoder_config(fields)?,
        vision: None,
        eos_token_ids: eos_token_ids(fields)?,
    })
}

/// Ids that end an answer, where no `generation_config.json` names them.
pub(super) fn eos_token_ids(fields: &Fields<'_>) -> Result<Vec<u32>> {
    const CLASS_DEFAULT: u32 = 2;
    match fields.is_written("eos_token_id") {
        true => fields.token_ids("eos_token_id"),
        false => Ok(vec![CLASS_DEFAULT]),
    }
}

/// As [`eos_token_ids`], for a model whose decoder is described in the part `text`.
pub(super) fn eos_token_ids_with(fields: &Fields<'_>, text: &Fields<'_>) -> Result<Vec<u32>> {
    let outer = fields.token_ids("eos_token_id")?;
    match outer.is_empty() {
        true => eos_token_ids(text),
        false => Ok(outer),
    }
}

/// What the configurations of a class have where a file does not say, as far as classes of Llama's
/// shape differ.
pub(super) struct ClassDefaults {
    pub(super) intermediate_size: usize,
    /// `None` for as many as those of queries.
    pub(super) num_key_value_heads: Option<usize>,
    pub(super) max_position_embeddings: usize,
}

/// Hugging Face's `LlamaConfig`.
const DEFAULTS: ClassDefaults = ClassDefaults {
    intermediate_size: 11_008,
    num_key_value_heads: None,
    max_position_embeddings: 2048,
};

/// The decoder's part of a configuration. Where it is silent, the defaults of Hugging Face's
/// `LlamaConfig` hold: the language part of LLaVA-1.5 names little more than its vocabulary, and
/// the first conversions of LLaMA name no context.
pub(super) fn decoder_config(fields: &Fields<'_>) -> Result<LlamaConfig> {
    decoder_config_of(fields, &DEFAULTS)
}

/// As [`decoder_config`], with the defaults of another class of Llama's shape.
pub(super) fn decoder_config_of(
    fields: &Fields<'_>,
    defaults: &ClassDefaults,
) -> Result<LlamaConfig> {
    let hidden_size = fields.count("hidden_size", 1..=MAX_WIDTH)?.unwrap_or(4096);
    let num_attention_heads = fields
        .count("num_attention_heads", 1..=MAX_WIDTH)?
        .unwrap_or(32);
    // One that is `null` is written, and means as many as those of queries.
    let default = defaults
        .num_key_value_heads
        .filter(|_| !fields.is_written("num_key_value_heads"));
    let num_key_value_heads = fields
        .count("num_key_value_heads", 1..=MAX_WIDTH)?
        .or(default)
        .unwrap_or(num_attention_heads);
    if !num_attention_heads.is_multiple_of(num_key_value_heads) {
        let expected = format!("a divisor of num_attention_heads {num_attention_heads}");
        return Err(fields.out_of_range("num_key_value_heads", num_key_value_heads, expected));
    }
    let max_position_embeddings = fields
        .count("max_position_embeddings", 1..=MAX_POSITIONS)?
        .unwrap_or(defaults.max_position_embeddings);
    // Two names of one function.
    fields.choice("hidden_act", (), &[("silu", ()), ("swish", ())])?;
    let head_dim = head_dim(fields, hidden_size, num_attention_heads)?;
    let attention_bias = fields.flag("attention_bias")?.unwrap_or(false);
    let layer = LayerConfig {
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        intermediate_size: fields
            .count("intermediate_size", 1..=MAX_WIDTH)?
            .unwrap_or(defaults.intermediate_size),
        mlp: MlpKind::Gated,
        norm: NormConfig {
            kind: NormKind::Rms,
            epsilon: fields.number("rms_norm_eps", 0.0..=1.0)?.unwrap_or(1e-6),
        },
        residual: Residual::Sequential,
        biases: Biases {
            qkv: attention_bias,
            attention_output: attention_bias,
            mlp: fields.flag("mlp_bias")?.unwrap_or(false),
        },
        sliding_window: None,
    };
    Ok(LlamaConfig {
        vocab_size: fields.count("vocab_size", 1..=MAX_VOCAB)?.unwrap_or(32_000),
        hidden_size,
        num_hidden_layers: fields
            .count("num_hidden_layers", 1..=MAX_LAYERS)?
            .unwrap_or(32),
        layer,
        max_position_embeddings,
        positions: Positions::Rotary(whole_rope(fields, head_dim, max_position_embeddings)?),
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        compute: DType::F32,
        cache: DType::F32,
    })
}

fn head_dim(fields: &Fields<'_>, hidden_size: usize, num_heads: usize) -> Result<usize> {
    let head_dim = match fields.count("head_dim", 1..=MAX_HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            let expected = format!("a divisor of hidden_size {hidden_size}");
            return Err(fields.out_of_range("num_attention_heads", num_heads, expected));
        }
    };
    match head_dim {
        2..=MAX_HEAD_DIM if head_dim.is_multiple_of(2) => Ok(head_dim),
        _ => Err(fields.out_of_range("head_dim", head_dim, "an even number from 2 to 1024")),
    }
}

/// The base of the frequencies where no file says otherwise.
const ROPE_THETA: f64 = 10_000.0;

/// Bases that are no damage.
const THETAS: std::ops::RangeInclusive<f64> = 1.0..=1e12;

/// A rotation of whole heads.
fn whole_rope(
    fields: &Fields<'_>,
    head_dim: usize,
    max_position_embeddings: usize,
) -> Result<RopeConfig> {
    if let Some(parameters) = rope_parameters(fields)?
        && let Some(factor) = parameters.number("partial_rotary_factor", 0.0..=1.0)?
        && factor != 1.0
    {
        let all = vec!["1".to_string()];
        return Err(parameters.unsupported("partial_rotary_factor", factor, all));
    }
    rope_config(fields, head_dim, "rope_theta", max_position_embeddings)
}

/// Reads `rope_parameters` (transformers 5), or `rope_scaling` and the base in the field `theta`
/// (before).
pub(super) fn rope_config(
    fields: &Fields<'_>,
    rotary_dim: usize,
    theta: &'static str,
    max_position_embeddings: usize,
) -> Result<RopeConfig> {
    let parameters = rope_parameters(fields)?;
    let inner_theta = match &parameters {
        Some(parameters) => parameters.number("rope_theta", THETAS)?,
        None => None,
    };
    let outer_theta = fields.number(theta, THETAS)?;
    if let (Some(inner), Some(outer)) = (inner_theta, outer_theta)
        && inner != outer
    {
        log::warn!("config.json sets `{theta}` to {outer} and, where it counts, to {inner}");
    }
    let scaling = match &parameters {
        Some(parameters) => {
            let outer = fields.count(ORIGINAL_POSITIONS, 1..=MAX_POSITIONS)?;
            rope_scaling(parameters, max_position_embeddings, outer)?
        }
        None => RopeScaling::Default,
    };
    Ok(RopeConfig {
        rope_theta: inner_theta.or(outer_theta).unwrap_or(ROPE_THETA),
        rotary_dim,
        scaling,
        precision: RopePrecision::F32,
    })
}

/// What says how positions are rotated: transformers 5 writes the second and obeys the first.
pub(super) fn rope_parameters<'a>(fields: &Fields<'a>) -> Result<Option<Fields<'a>>> {
    fields.object(fields.spelling("rope_scaling", "rope_parameters"))
}

const ORIGINAL_POSITIONS: &str = "original_max_position_embeddings";

/// The trained context that stands outside of `fields` counts more than the one in them.
fn rope_scaling(
    fields: &Fields<'_>,
    max_position_embeddings: usize,
    outer_original: Option<usize>,
) -> Result<RopeScaling> {
    let name = if fields.text("rope_type")?.is_some() {
        "rope_type"
    } else {
        "type"
    };
    let positive = |name: &str| -> Result<f64> {
        let found = fields.number(name, 1e-6..=1e6)?;
        let missing = || fields.out_of_range(name, "missing", "a number above 0");
        found.ok_or_else(missing)
    };
    let original = || -> Result<usize> {
        let inner = fields.count(ORIGINAL_POSITIONS, 1..=MAX_POSITIONS)?;
        Ok(outer_original.or(inner).unwrap_or(max_position_embeddings))
    };
    match fields.text(name)? {
        None | Some("default") => Ok(RopeScaling::Default),
        Some("linear") => Ok(RopeScaling::Linear {
            factor: positive("factor")?,
        }),
        Some("dynamic") => Ok(RopeScaling::Dynamic {
            // Beyond the trained context, every token reads all before it again.
            factor: fields
                .number("factor", 1e-6..=64.0)?
                .map_or_else(|| positive("factor"), Ok)?,
            original_max_position_embeddings: max_position_embeddings,
        }),
        Some("llama3") => {
            let low_freq_factor = positive("low_freq_factor")?;
            let high_freq_factor = positive("high_freq_factor")?;
            if high_freq_factor <= low_freq_factor {
                // The blend between the two divides by their difference.
                let expected = format!("more than low_freq_factor {low_freq_factor}");
                return Err(fields.out_of_range("high_freq_factor", high_freq_factor, expected));
            }
            Ok(RopeScaling::Llama3 {
                factor: positive("factor")?,
                low_freq_factor,
                high_freq_factor,
                original_max_position_embeddings: original()?,
            })
        }
        Some(found) => {
            let supported = ["default", "linear", "dynamic", "llama3"];
            Err(fields.unsupported(name, found, supported.map(str::to_string).to_vec()))
        }
    }
}
