//! The decoder of OPT (Zhang et al. 2022), which BLIP-2 is built on.

use burn::tensor::DType;

use super::fields::{ACTIVATIONS, Fields};
use super::gpt_neox::head_dim;
use super::llama::{MAX_LAYERS, MAX_POSITIONS, MAX_VOCAB, MAX_WIDTH, QKV};
use crate::error::Result;
use crate::nn::{
    Activation, Biases, LayerConfig, LlamaConfig, MlpKind, NormConfig, NormKind, Positions,
    Residual,
};
use crate::weights::KeyRule;

/// Rows in front of that of the first token: fairseq counted positions from behind its padding id,
/// which is 1.
const POSITION_OFFSET: usize = 2;

/// Its tensors where it is the `language_model` of another. They come in front of the rules of an
/// encoder, which calls parts of its own as they are called afterwards.
pub(super) const KEYS: &[KeyRule] = &[
    // The norm behind the last layer, and below another of this name in each layer.
    KeyRule::rename_prefix(
        "language_model.model.decoder.final_layer_norm.",
        "decoder.norm.",
    ),
    KeyRule::rename_prefix("language_model.model.decoder.", "decoder."),
    KeyRule::rename_prefix("language_model.lm_head.", "decoder.lm_head."),
    KeyRule::rename_part(".self_attn_layer_norm.", ".input_layernorm."),
    KeyRule::rename_part(".final_layer_norm.", ".post_attention_layernorm."),
    KeyRule::rename_part(".self_attn.out_proj.", ".self_attn.o_proj."),
    KeyRule::rename_part(".fc1.", ".mlp.fc1."),
    KeyRule::rename_part(".fc2.", ".mlp.fc2."),
    // An encoder's are in such a part already.
    KeyRule::rename_part(".mlp.mlp.", ".mlp."),
    QKV,
];

/// Where the file is silent, the defaults of Hugging Face's `OPTConfig` hold: OPT-125M's.
pub(super) fn decoder_config(fields: &Fields<'_>) -> Result<LlamaConfig> {
    require_pre_norm(fields)?;
    let hidden_size = fields.count("hidden_size", 1..=MAX_WIDTH)?.unwrap_or(768);
    let width = fields.count("word_embed_proj_dim", 1..=MAX_WIDTH)?;
    if let Some(width) = width.filter(|width| *width != hidden_size) {
        let supported = vec![format!("hidden_size {hidden_size}")];
        return Err(fields.unsupported("word_embed_proj_dim", width, supported));
    }
    Ok(LlamaConfig {
        vocab_size: fields.count("vocab_size", 1..=MAX_VOCAB)?.unwrap_or(50_272),
        hidden_size,
        num_hidden_layers: fields
            .count("num_hidden_layers", 1..=MAX_LAYERS)?
            .unwrap_or(12),
        layer: layer_config(fields, hidden_size)?,
        max_position_embeddings: fields
            .count("max_position_embeddings", 1..=MAX_POSITIONS)?
            .unwrap_or(2048),
        positions: Positions::Learned {
            offset: POSITION_OFFSET,
        },
        tie_word_embeddings: fields.flag("tie_word_embeddings")?.unwrap_or(true),
        compute: DType::F32,
        cache: DType::F32,
    })
}

fn layer_config(fields: &Fields<'_>, hidden_size: usize) -> Result<LayerConfig> {
    let num_heads = fields
        .count("num_attention_heads", 1..=MAX_WIDTH)?
        .unwrap_or(12);
    let has_biases = fields.flag("enable_bias")?.unwrap_or(true);
    let activation = fields.choice("activation_function", Activation::Relu, ACTIVATIONS)?;
    Ok(LayerConfig {
        num_attention_heads: num_heads,
        num_key_value_heads: num_heads,
        head_dim: head_dim(fields, hidden_size, num_heads)?,
        intermediate_size: fields.count("ffn_dim", 1..=MAX_WIDTH)?.unwrap_or(3072),
        mlp: MlpKind::Plain(activation),
        norm: NormConfig {
            kind: NormKind::Layer,
            // PyTorch's own: no field names another.
            epsilon: 1e-5,
        },
        residual: Residual::Sequential,
        biases: Biases {
            qkv: has_biases,
            attention_output: has_biases,
            mlp: has_biases,
        },
        sliding_window: None,
    })
}

/// OPT-350M alone norms what a block adds, and checkpoints of early conversions have no last norm.
fn require_pre_norm(fields: &Fields<'_>) -> Result<()> {
    for (name, supported) in [
        ("do_layer_norm_before", true),
        ("_remove_final_layer_norm", false),
        ("layer_norm_elementwise_affine", true),
    ] {
        if let Some(found) = fields.flag(name)?.filter(|found| *found != supported) {
            return Err(fields.unsupported(name, found, vec![supported.to_string()]));
        }
    }
    Ok(())
}
