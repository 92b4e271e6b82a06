//! Llama as llama.cpp stores it: keys under `llama.`, rows of q and k by neighbouring pairs.

use std::borrow::Cow;

use burn::tensor::DType;

use super::fields::Fields;
use super::llama::{GATE_UP, MAX_HEAD_DIM, MAX_LAYERS, MAX_POSITIONS, MAX_VOCAB, MAX_WIDTH, QKV};
use crate::error::{ConfigError, Result};
use crate::nn::{
    Biases, LayerConfig, LlamaConfig, MlpKind, NormConfig, NormKind, Positions, Residual,
    RopeConfig, RopePrecision, RopeScaling,
};
use crate::weights::{Checkpoint, KeyMap, KeyPattern, KeyRule, RowOrder, WeightType};

/// What `general.architecture` calls it.
pub(super) const ARCHITECTURE: &str = "llama";

/// What each rotated pair of a head is slowed down by (Llama 3).
const ROPE_FACTORS: &str = "rope_freqs.weight";

// The second half are Meta's own names, which llama.cpp kept until GGUF.
const KEYS: &[KeyRule] = &[
    KeyRule::ignore_prefix(ROPE_FACTORS),
    KeyRule::ignore_part("attn_rot_embd."),
    KeyRule::ignore_part("rope.freqs"),
    KeyRule::rename_prefix("token_embd.", "decoder.embed_tokens."),
    KeyRule::rename_prefix("output_norm.", "decoder.norm."),
    KeyRule::rename_prefix("output.", "decoder.lm_head."),
    KeyRule::rename_prefix("blk.", "decoder.layers."),
    KeyRule::rename_part(".attn_norm.", ".input_layernorm."),
    KeyRule::rename_part(".attn_q.", ".self_attn.q_proj."),
    KeyRule::rename_part(".attn_k.", ".self_attn.k_proj."),
    KeyRule::rename_part(".attn_v.", ".self_attn.v_proj."),
    KeyRule::rename_part(".attn_output.", ".self_attn.o_proj."),
    KeyRule::rename_part(".ffn_norm.", ".post_attention_layernorm."),
    KeyRule::rename_part(".ffn_gate.", ".mlp.gate_proj."),
    KeyRule::rename_part(".ffn_up.", ".mlp.up_proj."),
    KeyRule::rename_part(".ffn_down.", ".mlp.down_proj."),
    KeyRule::rename_prefix("tok_embeddings.", "decoder.embed_tokens."),
    KeyRule::rename_prefix("norm.", "decoder.norm."),
    KeyRule::rename_prefix("layers.", "decoder.layers."),
    KeyRule::rename_part(".attention_norm.", ".input_layernorm."),
    KeyRule::rename_part(".attention.wq.", ".self_attn.q_proj."),
    KeyRule::rename_part(".attention.wk.", ".self_attn.k_proj."),
    KeyRule::rename_part(".attention.wv.", ".self_attn.v_proj."),
    KeyRule::rename_part(".attention.wo.", ".self_attn.o_proj."),
    KeyRule::rename_part(".feed_forward.w1.", ".mlp.gate_proj."),
    KeyRule::rename_part(".feed_forward.w2.", ".mlp.down_proj."),
    KeyRule::rename_part(".feed_forward.w3.", ".mlp.up_proj."),
    // An adapter beside the file has Hugging Face's.
    KeyRule::rename_prefix("model.", "decoder."),
    KeyRule::rename_prefix("lm_head.", "decoder.lm_head."),
    QKV,
    GATE_UP,
];

/// The decoder that the fields and the tensors of a file describe.
///
/// # Errors
///
/// [`ConfigError`] when a field is missing, out of range, or means what is not implemented.
pub(super) fn decoder_config(
    fields: &Fields<'_>,
    checkpoint: &Checkpoint,
    vocab_size: usize,
) -> Result<LlamaConfig> {
    refuse_experts(fields)?;
    let hidden_size = fields.required("llama.embedding_length", 1..=MAX_WIDTH)?;
    let num_attention_heads = fields.required("llama.attention.head_count", 1..=MAX_WIDTH)?;
    let head_count_kv = "llama.attention.head_count_kv";
    let num_key_value_heads = fields
        .count(head_count_kv, 1..=MAX_WIDTH)?
        .unwrap_or(num_attention_heads);
    if !num_attention_heads.is_multiple_of(num_key_value_heads) {
        let expected = format!("a divisor of the {num_attention_heads} heads");
        return Err(fields.out_of_range(head_count_kv, num_key_value_heads, expected));
    }
    let head_dim = head_dim(fields, hidden_size, num_attention_heads)?;
    let has = |name: &str| checkpoint.get(name).is_some();
    let layer = LayerConfig {
        num_attention_heads,
        num_key_value_heads,
        head_dim,
        intermediate_size: fields.required("llama.feed_forward_length", 1..=MAX_WIDTH)?,
        mlp: MlpKind::Gated,
        norm: NormConfig {
            kind: NormKind::Rms,
            epsilon: epsilon(fields)?,
        },
        residual: Residual::Sequential,
        biases: Biases {
            qkv: has("blk.0.attn_q.bias"),
            attention_output: has("blk.0.attn_output.bias"),
            mlp: has("blk.0.ffn_up.bias"),
        },
        sliding_window: sliding_window(fields)?,
    };
    Ok(LlamaConfig {
        vocab_size: require_vocab_size(fields, vocab_size)?,
        hidden_size,
        num_hidden_layers: fields.required("llama.block_count", 1..=MAX_LAYERS)?,
        layer,
        max_position_embeddings: fields.required("llama.context_length", 1..=MAX_POSITIONS)?,
        positions: Positions::Rotary(RopeConfig {
            rope_theta: fields
                .number("llama.rope.freq_base", 1.0..=1e12)?
                .unwrap_or(10_000.0),
            rotary_dim: head_dim,
            scaling: rope_scaling(fields, checkpoint, head_dim)?,
            precision: RopePrecision::F32,
        }),
        tie_word_embeddings: !has("output.weight"),
        compute: DType::F32,
        cache: DType::F32,
    })
}

/// From the names of the tensors to the paths of a [`VisionLanguageModel`](super::VisionLanguageModel).
pub(super) fn key_map(decoder: &LlamaConfig) -> KeyMap {
    let layer = &decoder.layer;
    let pairs = layer.head_dim / 2;
    let order = |heads: usize| RowOrder::new(pairs, &[1, 1]).repeated(heads);
    let (queries, keys) = (
        order(layer.num_attention_heads),
        order(layer.num_key_value_heads),
    );
    let mut key_map = KeyMap::new(KEYS);
    for index in 0..decoder.num_hidden_layers {
        for (name, order) in [("attn_q", &queries), ("attn_k", &keys)] {
            key_map = key_map.with(regroup(format!("blk.{index}.{name}."), order));
        }
        for (name, order) in [("wq", &queries), ("wk", &keys)] {
            key_map = key_map.with(regroup(format!("layers.{index}.attention.{name}."), order));
        }
    }
    key_map
}

fn regroup(prefix: String, order: &RowOrder) -> KeyRule {
    KeyRule::Regroup {
        tensors: KeyPattern::Prefix(Cow::Owned(prefix)),
        order: order.clone(),
    }
}

/// Mixtral goes by the same name, and so does what scales its sums otherwise.
fn refuse_experts(fields: &Fields<'_>) -> Result<()> {
    for (name, neutral) in [
        ("llama.expert_count", 0.0),
        ("llama.attention.scale", 0.0),
        ("llama.logit_scale", 0.0),
        ("llama.residual_scale", 0.0),
        ("llama.embedding_scale", 0.0),
    ] {
        match fields.number(name, f64::MIN..=f64::MAX)? {
            Some(found) if found != neutral => {
                let supported = vec![neutral.to_string()];
                return Err(fields.unsupported(name, found, supported));
            }
            _ => {}
        }
    }
    Ok(())
}

/// Mistral goes by the same name too. A window of nothing is none.
fn sliding_window(fields: &Fields<'_>) -> Result<Option<usize>> {
    let window = fields.count("llama.attention.sliding_window", 0..=MAX_POSITIONS)?;
    Ok(window.filter(|window| *window != 0))
}

fn epsilon(fields: &Fields<'_>) -> Result<f64> {
    let name = "llama.attention.layer_norm_rms_epsilon";
    let missing = || ConfigError::Missing {
        field: name.to_string(),
    };
    Ok(fields.number(name, 0.0..=1.0)?.ok_or_else(missing)?)
}

fn head_dim(fields: &Fields<'_>, hidden_size: usize, num_heads: usize) -> Result<usize> {
    let key = "llama.attention.key_length";
    let head_dim = match fields.count(key, 1..=MAX_HEAD_DIM)? {
        Some(head_dim) => head_dim,
        None if hidden_size.is_multiple_of(num_heads) => hidden_size / num_heads,
        None => {
            let expected = format!("a divisor of the embedding length {hidden_size}");
            return Err(fields.out_of_range("llama.attention.head_count", num_heads, expected));
        }
    };
    if !(2..=MAX_HEAD_DIM).contains(&head_dim) || !head_dim.is_multiple_of(2) {
        return Err(fields.out_of_range(key, head_dim, "an even number from 2 to 1024"));
    }
    for name in ["llama.attention.value_length", "llama.rope.dimension_count"] {
        let found = fields.count(name, 1..=MAX_HEAD_DIM)?;
        if let Some(found) = found.filter(|found| *found != head_dim) {
            return Err(fields.unsupported(name, found, vec![head_dim.to_string()]));
        }
    }
    Ok(head_dim)
}

/// There is a row of the embedding for each token.
fn require_vocab_size(fields: &Fields<'_>, vocab_size: usize) -> Result<usize> {
    let name = "llama.vocab_size";
    match fields.count(name, 1..=MAX_VOCAB)? {
        Some(found) if found != vocab_size => {
            let expected = format!("{vocab_size}, the tokens that the file lists");
            Err(fields.out_of_range(name, found, expected))
        }
        _ => Ok(vocab_size),
    }
}

fn rope_scaling(
    fields: &Fields<'_>,
    checkpoint: &Checkpoint,
    rotary_dim: usize,
) -> Result<RopeScaling> {
    let is_linear = fields.choice(
        "llama.rope.scaling.type",
        true,
        &[("none", false), ("linear", true)],
    )?;
    let mut factor = fields.number("llama.rope.scaling.factor", 0.0..=1e6)?;
    if factor.is_none() {
        factor = fields.number("llama.rope.scale_linear", 0.0..=1e6)?;
    }
    // A factor of 0 means none, as one of 1 does.
    let factor = factor.filter(|factor| is_linear && *factor != 0.0 && *factor != 1.0);
    match (factor, checkpoint.get(ROPE_FACTORS)) {
        (None, None) => Ok(RopeScaling::Default),
        (Some(factor), None) => Ok(RopeScaling::Linear { factor }),
        (None, Some(_)) => rope_factors(fields, checkpoint, rotary_dim),
        (Some(factor), Some(_)) => {
            let supported = vec![format!("none beside `{ROPE_FACTORS}`")];
            Err(fields.unsupported("llama.rope.scaling.factor", factor, supported))
        }
    }
}

fn rope_factors(
    fields: &Fields<'_>,
    checkpoint: &Checkpoint,
    rotary_dim: usize,
) -> Result<RopeScaling> {
    let expected = format!("{} numbers above 0", rotary_dim / 2);
    let shape = checkpoint.get(ROPE_FACTORS).map(|info| info.shape());
    if shape != Some(&[rotary_dim / 2]) {
        let found = format!("of the shape {:?}", shape.unwrap_or_default());
        return Err(fields.out_of_range(ROPE_FACTORS, found, expected));
    }
    let data = checkpoint.read_as(ROPE_FACTORS, WeightType::F32)?;
    let factors: Vec<f32> = data.iter().collect();
    let is_usable = |factor: &f32| factor.is_finite() && *factor > 0.0;
    match factors.iter().find(|factor| !is_usable(factor)) {
        None => Ok(RopeScaling::Factors(factors)),
        Some(found) => Err(fields.out_of_range(ROPE_FACTORS, found, expected)),
    }
}
