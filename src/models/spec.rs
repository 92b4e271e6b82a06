//! Which model a folder holds.

use std::fs;
use std::path::Path;

use serde_json::{Map, Value};

use super::fields::Fields;
use super::generation_config::GenerationConfig;
use super::model_file::read_object;
use super::model_files::ModelFiles;
use super::model_source::ModelSource;
use super::project::Project;
use super::{FAMILIES, Family, ImageLayout, ModelConfig, llava_authors};
use crate::error::{ConfigError, Error, Result, visible, visible_line};
use crate::image::{ImageSize, PreprocessConfig};
use crate::weights::ADAPTER_CONFIG;

/// The family of a model and its configuration.
#[derive(Debug, Clone)]
pub struct ModelSpec {
    /// The family.
    pub family: &'static Family,
    /// Its configuration.
    pub config: ModelConfig,
    /// How answers are made where a request says nothing else.
    pub generation: GenerationConfig,
    /// Where its parts lie.
    pub(crate) files: ModelFiles,
}

impl ModelSpec {
    /// Reads what describes a model: `config.json` and `generation_config.json` of a folder, the
    /// YAML of a MiniGPT project, by its name or by that of the folder that holds it, or a GGUF file,
    /// by its name or by that of a folder that holds no other model.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownModel`] when there is nothing this crate can run; it names what was
    /// found, what is missing and what is supported. Other [`ConfigError`]s when a file is damaged
    /// or asks for what is not implemented; [`Error::Io`] when it cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        ModelSource::find(path, None)?.spec()
    }

    /// What describes a model that is no GGUF file.
    pub(super) fn of_files(path: &Path) -> Result<Self> {
        // A folder that is not there is another mistake than one without a model.
        let is_folder = fs::metadata(path).map_err(Error::io(path))?.is_dir();
        let object = match is_folder {
            true => read_object(path, "config.json")?,
            false => None,
        };
        let mut spec = match &object {
            Some(object) => match llava_authors::read(path, object)? {
                Some(spec) => spec,
                None => Self::of_folder(path, &Fields::new(object))?,
            },
            None => Self::of_project(path)?,
        };
        spec.read_generation_config(object.as_ref())?;
        Ok(spec)
    }

    fn of_folder(folder: &Path, fields: &Fields<'_>) -> Result<Self> {
        let architectures = fields.texts("architectures")?;
        let family = find(&architectures, fields.text("model_type")?);
        let family = family.ok_or_else(|| unknown(folder, describe(fields)))?;
        Ok(Self {
            family,
            config: (family.parse)(fields)?,
            generation: GenerationConfig::default(),
            files: ModelFiles::in_folder(folder),
        })
    }

    fn of_project(path: &Path) -> Result<Self> {
        let Some(project) = Project::find(path)? else {
            fs::read_dir(path).map_err(Error::io(path))?;
            let missing = match path.join(ADAPTER_CONFIG).exists() {
                true => format!(
                    "{ADAPTER_CONFIG} belongs to an adapter, which is loaded with the model that it was \
                     trained on: see LoadOptions::with_adapter"
                ),
                false => "config.json is missing".to_string(),
            };
            return Err(unknown(path, missing));
        };
        let fields = project.fields();
        let architecture = fields.text("arch")?.unwrap_or_default();
        let family = find(&[architecture], fields.text("model_type")?)
            .filter(|family| family.architectures.contains(&architecture));
        let missing = || format!("its YAML names the architecture {}", visible(architecture));
        let family = family.ok_or_else(|| unknown(path, missing()))?;
        let config = (family.parse)(&fields)?;
        let Some(vision) = &config.vision else {
            return Err(unknown(path, missing()));
        };
        Ok(Self {
            family,
            files: project.files(vision)?,
            generation: GenerationConfig::default(),
            config,
        })
    }

    /// `generation_config.json` says how answers are made, and without that file `config.json`.
    fn read_generation_config(&mut self, config: Option<&Map<String, Value>>) -> Result<()> {
        let folder = &self.files.text;
        self.generation = match (read_object(folder, "generation_config.json")?, config) {
            (Some(object), _) => GenerationConfig::parse(&object)?,
            (None, Some(config)) => GenerationConfig::of_config(config)?,
            (None, None) => GenerationConfig::default(),
        };
        for name in &self.generation.not_followed {
            log::warn!(
                "{}: generation_config.json sets `{name}`, which is not followed",
                visible_line(folder)
            );
        }
        if !self.generation.eos_token_ids.is_empty() {
            self.config.eos_token_ids = self.generation.eos_token_ids.clone();
        }
        Ok(())
    }
}

impl ModelSpec {
    /// Plans a picture of `size` that is prepared as `preprocess` says; `None` for a model that reads
    /// text only.
    pub fn image_layout(
        &self,
        preprocess: &PreprocessConfig,
        size: ImageSize,
    ) -> Option<ImageLayout> {
        let vision = self.config.vision.as_ref()?;
        Some((self.family.layout)(vision, preprocess, size))
    }
}

/// The model type decides, as in `transformers`, where the first checkpoints of LLaMA are read though
/// they spell their architecture `LLaMAForCausalLM`.
fn find(architectures: &[&str], model_type: Option<&str>) -> Option<&'static Family> {
    let is_named = |family: &&Family| {
        let mut named = architectures.iter();
        named.any(|found| family.architectures.contains(found))
    };
    let is_typed = |family: &&Family| model_type == Some(family.model_type);
    let is_both = |family: &&Family| is_typed(family) && is_named(family);
    if let Some(family) = FAMILIES.iter().find(is_both) {
        return Some(family);
    }
    let (typed, named) = (
        FAMILIES.iter().find(is_typed),
        FAMILIES.iter().find(is_named),
    );
    if let (Some(model_type), Some(named)) = (model_type, named) {
        let counts = typed.map_or("architecture", |_| "model type");
        log::warn!(
            "the configuration names the model type {} and an architecture of {}; the {counts} counts",
            visible(model_type),
            named.name,
        );
    }
    typed.or(named)
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
    let mut supported: Vec<&str> = Vec::new();
    for name in FAMILIES.iter().flat_map(|family| family.architectures) {
        if !supported.contains(name) {
            supported.push(name);
        }
    }
    ConfigError::UnknownModel {
        path: folder.to_path_buf(),
        found: model_files(folder),
        missing,
        supported: supported.into_iter().map(str::to_string).collect(),
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
