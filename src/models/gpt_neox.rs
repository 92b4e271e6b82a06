//! GPT-NeoX (Black et al. 2022), text only: Polyglot-ko and what was trained from it, such as KoAlpaca.

use burn::tensor::DType;

use super::fields::{ACTIVATIONS, Fields};
use super::llama::{
    MAX_HEAD_DIM, MAX_LAYERS, MAX_POSITIONS, MAX_VOCAB, MAX_WIDTH, eos_token_ids, rope_config,
    rope_parameters,
};
use super::{Family, ModelConfig, image_layout};
use crate::error::{Result, visible};
use crate::nn::{
    Activation, Biases, LayerConfig, LlamaConfig, MlpKind, NormConfig, NormKind, Positions,
    Residual, RopeConfig,
};
use crate::text::Bos;
use crate::weights::{KeyMap, KeyRule, RowOrder};

pub(super) const FAMILY: Family = Family {
    name: "gpt-neox",
    architectures: &["GPTNeoXForCausalLM"],
    model_type: "gpt_neox",
    default_template: "koalpaca",
    chat_bos: Bos::OnlyWritten,
    // It sees none.
    image_processor: None,
    usual_preparation: None,
    layout: image_layout::one_tile,
    parse,
};

/// The tensor of all heads: queries, keys and values of one head after another.
const QUERY_KEY_VALUE: &str = "attention.query_key_value.";

const KEYS: &[KeyRule] = &[
    // The causal mask, which old files store with every layer.
    KeyRule::ignore_suffix(".attention.bias"),
    KeyRule::ignore_suffix(".attention.masked_bias"),
    KeyRule::ignore_suffix("rotary_emb.inv_freq"),
    KeyRule::rename_prefix("gpt_neox.embed_in.", "decoder.embed_tokens."),
    KeyRule::rename_prefix("gpt_neox.final_layer_norm.", "decoder.norm."),
    KeyRule::rename_prefix("gpt_neox.", "decoder."),
    KeyRule::rename_prefix("embed_out.", "decoder.lm_head."),
    // As a model without its head is saved.
    KeyRule::rename_prefix("embed_in.", "decoder.embed_tokens."),
    KeyRule::rename_prefix("final_layer_norm.", "decoder.norm."),
    KeyRule::rename_prefix("layers.", "decoder.layers."),
    KeyRule::rename_part(QUERY_KEY_VALUE, "self_attn.qkv_proj."),
    KeyRule::rename_part("attention.dense.", "self_attn.o_proj."),
    KeyRule::rename_part("mlp.dense_h_to_4h.", "mlp.fc1."),
    KeyRule::rename_part("mlp.dense_4h_to_h.", "mlp.fc2."),
];

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    let decoder = decoder_config(fields)?;
    let heads = RowOrder::new(decoder.layer.num_attention_heads, &[1, 1, 1]);
    let key_map = KeyMap::new(KEYS).with(KeyRule::regroup_part(QUERY_KEY_VALUE, heads));
    Ok(ModelConfig {
        key_map,
        decoder,
        vision: None,
        eos_token_ids: eos_token_ids(fields)?,
    })
}

/// Where the file is silent, the defaults of Hugging Face's `GPTNeoXConfig` hold: GPT-NeoX-20B's.
fn decoder_config(fields: &Fields<'_>) -> Result<LlamaConfig> {
    let hidden_size = fields.count("hidden_size", 1..=MAX_WIDTH)?.unwrap_or(6144);
    let num_heads = fields
        .count("num_attention_heads", 1..=MAX_WIDTH)?
        .unwrap_or(64);
    let head_dim = head_dim(fields, hidden_size, num_heads)?;
    let max_position_embeddings = fields
        .count("max_position_embeddings", 1..=MAX_POSITIONS)?
        .unwrap_or(2048);
    Ok(LlamaConfig {
        vocab_size: fields.count("vocab_size", 1..=MAX_VOCAB)?.unwrap_or(50_432),
        hidden_size,
        num_hidden_layers: fields
            .count("num_hidden_layers", 1..=MAX_LAYERS)?
            .unwrap_or(44),
        layer: layer_config(fields, num_heads, head_dim)?,
        max_position_embeddings,
        positions: Positions::Rotary(partial_rope(fields, head_dim, max_position_embeddings)?),
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(false),
        compute: DType::F32,
        cache: DType::F32,
    })
}

fn layer_config(fields: &Fields<'_>, num_heads: usize, head_dim: usize) -> Result<LayerConfig> {
    let attention_bias = fields.flag("attention_bias")?.unwrap_or(true);
    let is_parallel = fields.flag("use_parallel_residual")?.unwrap_or(true);
    Ok(LayerConfig {
        num_attention_heads: num_heads,
        num_key_value_heads: num_heads,
        head_dim,
        intermediate_size: fields
            .count("intermediate_size", 1..=MAX_WIDTH)?
            .unwrap_or(24_576),
        mlp: MlpKind::Plain(fields.choice("hidden_act", Activation::Gelu, ACTIVATIONS)?),
        norm: NormConfig {
            kind: NormKind::Layer,
            epsilon: fields.number("layer_norm_eps", 0.0..=1.0)?.unwrap_or(1e-5),
        },
        residual: match is_parallel {
            true => Residual::Parallel,
            false => Residual::Sequential,
        },
        biases: Biases {
            qkv: attention_bias,
            attention_output: attention_bias,
            mlp: true,
        },
        sliding_window: None,
    })
}

pub(super) fn head_dim(fields: &Fields<'_>, hidden_size: usize, num_heads: usize) -> Result<usize> {
    match hidden_size / num_heads {
        head_dim @ 2..=MAX_HEAD_DIM if head_dim * num_heads == hidden_size => Ok(head_dim),
        _ => {
            let expected =
                format!("a divisor of hidden_size {hidden_size} into heads of 2 to 1024");
            Err(fields.out_of_range("num_attention_heads", num_heads, expected))
        }
    }
}

/// The first elements of a head are rotated: `rotary_pct` says how many, or, since transformers 5,
/// `partial_rotary_factor` among the parameters of the rotation.
fn partial_rope(
    fields: &Fields<'_>,
    head_dim: usize,
    max_position_embeddings: usize,
) -> Result<RopeConfig> {
    let factor = match rope_parameters(fields)? {
        Some(parameters) => parameters.number("partial_rotary_factor", 0.0..=1.0)?,
        None => None,
    };
    let factor = factor.or(fields.number("rotary_pct", 0.0..=1.0)?);
    let factor = factor.unwrap_or(0.25);
    let rotary_dim = (head_dim as f64 * factor) as usize;
    if rotary_dim == 0 || !rotary_dim.is_multiple_of(2) {
        let expected = format!("a share of {head_dim} that is an even number from 2");
        return Err(fields.out_of_range("rotary_pct", factor, expected));
    }
    const THETA: &str = "rotary_emb_base";
    // Only inside of the parameters does the class know the names that other classes have.
    for (name, counts) in [
        ("rope_theta", THETA),
        ("partial_rotary_factor", "rotary_pct"),
    ] {
        if let Some(ignored) = fields.value(name) {
            let ignored = ignored.to_string();
            log::warn!(
                "config.json sets `{name}` to {}, which GPT-NeoX does not read; `{counts}` counts",
                visible(&ignored)
            );
        }
    }
    rope_config(fields, rotary_dim, THETA, max_position_embeddings)
}
