//! Which model a folder holds.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields::Fields;
use super::model_file::read_object;
use super::{FAMILIES, Family, ImageLayout, ModelConfig};
use crate::error::{ConfigError, Error, Result, visible, visible_line};
use crate::image::ImageSize;

/// The family of a model folder and its configuration.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The family.
    pub family: &'static Family,
    /// Its configuration.
    pub config: ModelConfig,
}

impl ModelSpec {
    /// Reads `config.json` and `generation_config.json`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownModel`] when the folder holds nothing this crate can run; it names
    /// what was found, what is missing and what is supported. Other [`ConfigError`]s when a file
    /// is damaged or asks for what is not implemented; [`Error::Io`] when it cannot be read.
    pub fn read(folder: &Path) -> Result<Self> {
        // A folder that is not there is another mistake than one without a model.
        fs::read_dir(folder).map_err(Error::io(folder))?;
        let Some(object) = read_object(folder, "config.json")? else {
            return Err(unknown(folder, "config.json is missing".to_string()));
        };
        let fields = Fields::new(&object);
        let family = find(&fields)?.ok_or_else(|| unknown(folder, describe(&fields)))?;
        let mut config = (family.parse)(&fields)?;
        if let Some(generation) = read_object(folder, "generation_config.json")? {
            for name in not_applied(&generation) {
                log::warn!(
                    "{}: generation_config.json sets `{name}`, which is not applied",
                    visible_line(folder)
                );
            }
            let listed = Fields::new(&generation).token_ids("eos_token_id")?;
            if !listed.is_empty() {
                config.eos_token_ids = listed;
            }
        }
        Ok(Self { family, config })
    }
}

impl ModelSpec {
    /// Plans a picture of `size`; `None` for a model that reads text only.
    pub fn image_layout(&self, size: ImageSize) -> Option<ImageLayout> {
        let vision = self.config.vision.as_ref()?;
        Some((self.family.layout)(vision, size))
    }
}

/// Settings that `transformers` applies to a greedy answer too, and that this crate does not.
fn not_applied(generation: &Map<String, Value>) -> impl Iterator<Item = &'static str> {
    /// With the number that changes nothing.
    const NUMBERS: [(&str, f64); 8] = [
        ("repetition_penalty", 1.0),
        ("encoder_repetition_penalty", 1.0),
        ("no_repeat_ngram_size", 0.0),
        ("encoder_no_repeat_ngram_size", 0.0),
        ("min_length", 0.0),
        ("min_new_tokens", 0.0),
        ("num_beams", 1.0),
        ("guidance_scale", 1.0),
    ];
    const TOKENS: [&str; 6] = [
        "bad_words_ids",
        "suppress_tokens",
        "begin_suppress_tokens",
        "forced_bos_token_id",
        "forced_eos_token_id",
        "sequence_bias",
    ];
    let set = |name: &str| generation.get(name).filter(|value| !value.is_null());
    let numbers = NUMBERS.into_iter().filter(move |(name, neutral)| {
        set(name).is_some_and(|value| value.as_f64() != Some(*neutral))
    });
    let is_empty = |value: &Value| value.as_array().is_some_and(Vec::is_empty);
    let tokens = TOKENS
        .into_iter()
        .filter(move |name| set(name).is_some_and(|value| !is_empty(value)));
    numbers.map(|(name, _)| name).chain(tokens)
}

/// The model type decides, as in `transformers`, where the first checkpoints of LLaMA are read though
/// they spell their architecture `LLaMAForCausalLM`.
fn find(fields: &Fields<'_>) -> Result<Option<&'static Family>> {
    let architectures = fields.texts("architectures")?;
    let model_type = fields.text("model_type")?;
    let is_named = |family: &&Family| {
        let mut named = architectures.iter();
        named.any(|found| family.architectures.contains(found))
    };
    let is_typed = |family: &&Family| model_type == Some(family.model_type);
    let is_both = |family: &&Family| is_typed(family) && is_named(family);
    if let Some(family) = FAMILIES.iter().find(is_both) {
        return Ok(Some(family));
    }
    let (typed, named) = (
        FAMILIES.iter().find(is_typed),
        FAMILIES.iter().find(is_named),
    );
    if let (Some(model_type), Some(named)) = (model_type, named) {
        let counts = typed.map_or("architecture", |_| "model type");
        log::warn!(
            "config.json names the model type {} and an architecture of {}; the {counts} counts",
            visible(model_type),
            named.name,
        );
    }
    Ok(typed.or(named))
}

/// What the configuration says it is, when no family claims it.
fn describe(fields: &Fields<'_>) -> String {
    let architectures = fields.texts("architectures").unwrap_or_default();
    let model_type = fields.text("model_type").ok().flatten().unwrap_or("none");
    format!(
        "config.json names the architecture {} and the model type {}",
        if architectures.is_empty() {
            "none".to_string()
        } else {
            visible(&architectures.join(", ")).to_string()
        },
        visible(model_type)
    )
}

fn unknown(folder: &Path, missing: String) -> Error {
    let supported = FAMILIES.iter().flat_map(|family| family.architectures);
    ConfigError::UnknownModel {
        path: folder.to_path_buf(),
        found: model_files(folder),
        missing,
        supported: supported.map(|name| (*name).to_string()).collect(),
    }
    .into()
}

/// The files of a folder that look like parts of a model, at most ten.
fn model_files(folder: &Path) -> Vec<String> {
    const ENDINGS: [&str; 6] = ["safetensors", "bin", "pth", "gguf", "json", "model"];
    let Ok(entries) = fs::read_dir(folder) else {
        return Vec::new();
    };
    let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
    let is_model = |name: &String| ENDINGS.iter().any(|ending| name.ends_with(ending));
    let mut names: Vec<String> = names.filter(is_model).collect();
    names.sort();
    names.truncate(10);
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_that_would_change_an_answer_are_named() {
        let named = |json: &str| {
            let generation = serde_json::from_str(json).expect("an object");
            not_applied(&generation).collect::<Vec<_>>()
        };
        let neutral = r#"{"repetition_penalty": 1, "suppress_tokens": [], "min_length": null}"#;
        assert!(named(neutral).is_empty());
        assert!(named(r#"{"do_sample": true, "temperature": 0.6, "eos_token_id": 2}"#).is_empty());
        let set = r#"{"repetition_penalty": 1.1, "forced_eos_token_id": 2, "num_beams": 4}"#;
        assert_eq!(
            named(set),
            ["repetition_penalty", "num_beams", "forced_eos_token_id"]
        );
    }
}
