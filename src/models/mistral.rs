//! Mistral (Jiang et al. 2023), text only: Llama whose tokens may see only the last few before them.

use super::fields::Fields;
use super::llama::{self, ClassDefaults, MAX_POSITIONS};
use super::{Family, ModelConfig};
use crate::error::Result;
use crate::nn::{Biases, LlamaConfig};

pub(super) const FAMILY: Family = Family {
    name: "mistral",
    architectures: &["MistralForCausalLM"],
    model_type: "mistral",
    parse,
    ..llama::FAMILY
};

/// Hugging Face's `MistralConfig`.
const DEFAULTS: ClassDefaults = ClassDefaults {
    intermediate_size: 14_336,
    num_key_value_heads: Some(8),
    max_position_embeddings: 4096 * 32,
};
const SLIDING_WINDOW: usize = 4096;

fn parse(fields: &Fields<'_>) -> Result<ModelConfig> {
    Ok(ModelConfig {
        decoder: decoder_config(fields)?,
        ..llama::parse(fields)?
    })
}

/// The decoder's part of a configuration.
pub(super) fn decoder_config(fields: &Fields<'_>) -> Result<LlamaConfig> {
    let mut decoder = llama::decoder_config_of(fields, &DEFAULTS)?;
    // Its layers have none, whatever a file says.
    decoder.layer.biases = Biases::default();
    decoder.layer.sliding_window = match fields.is_written("sliding_window") {
        true => fields.count("sliding_window", 1..=MAX_POSITIONS)?,
        false => Some(SLIDING_WINDOW),
    };
    Ok(decoder)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn decoder(json: serde_json::Value) -> Result<LlamaConfig> {
        let object = json.as_object().expect("an object");
        decoder_config(&Fields::new(object))
    }

    #[test]
    fn what_is_not_written_is_as_in_the_class() {
        let LlamaConfig {
            layer,
            max_position_embeddings,
            ..
        } = decoder(json!({})).expect("a model");
        assert_eq!(layer.num_key_value_heads, 8);
        assert_eq!(layer.intermediate_size, 14_336);
        assert_eq!(layer.sliding_window, Some(4096));
        assert_eq!(max_position_embeddings, 131_072);
    }

    #[test]
    fn a_window_of_nothing_is_damage_and_none_is_none() {
        let window = |json| Some(decoder(json).ok()?.layer.sliding_window);
        assert_eq!(window(json!({"sliding_window": null})), Some(None));
        assert_eq!(window(json!({"sliding_window": 7})), Some(Some(7)));
        assert_eq!(window(json!({"sliding_window": 0})), None);
    }

    #[test]
    fn heads_that_are_null_are_as_many_as_those_of_queries() {
        let heads = |json| Some(decoder(json).ok()?.layer.num_key_value_heads);
        assert_eq!(heads(json!({"num_key_value_heads": null})), Some(32));
    }
}
