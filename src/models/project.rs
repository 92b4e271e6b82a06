//! The YAML that ties the files of a MiniGPT project together, each in a place of its own.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::fields::Fields;
use super::model_file::{read_file, read_object};
use super::model_files::{ModelFiles, Processor};
use super::{ProjectorConfig, VisionConfig, yaml};
use crate::error::{ConfigError, Error, Result};
use crate::image::PreprocessConfig;
use crate::weights::CheckpointPart;

/// The key of the language model's folder, and of its configuration once that was read.
pub(super) const LLAMA_MODEL: &str = "llama_model";

/// The `model` section of a project's YAML.
///
/// Its paths are the user's own words: they may lead anywhere, and are relative to the YAML.
#[derive(Debug)]
pub(super) struct Project {
    path: PathBuf,
    /// The section, with the language model's `config.json` in place of the path to it.
    model: Map<String, Value>,
    /// The folder of the language model.
    llama_model: PathBuf,
}

impl Project {
    /// The project that `path` is, or the only one in the folder `path`.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownModel`] if there are several, another [`ConfigError`] if one is damaged.
    pub(super) fn find(path: &Path) -> Result<Option<Self>> {
        if is_yaml(path) && !path.is_dir() {
            let model = read_section(path)?.ok_or_else(|| ConfigError::Missing {
                field: "model.arch".to_string(),
            })?;
            return Self::new(path, model).map(Some);
        }
        if !path.is_dir() {
            return Ok(None);
        }
        let mut found = Vec::new();
        for file in yaml_files(path)? {
            if let Some(model) = read_section(&file)? {
                found.push((file, model));
            }
        }
        match found.len() {
            0 => Ok(None),
            1 => {
                let (file, model) = found.remove(0);
                Self::new(&file, model).map(Some)
            }
            _ => {
                let name = |(file, _): &(PathBuf, _)| file.display().to_string();
                Err(ConfigError::UnknownModel {
                    path: path.to_path_buf(),
                    found: found.iter().map(name).collect(),
                    missing: "open the one that is meant by its name".to_string(),
                    supported: vec!["one YAML with a model".to_string()],
                }
                .into())
            }
        }
    }

    fn new(path: &Path, model: Map<String, Value>) -> Result<Self> {
        let mut project = Self {
            path: path.to_path_buf(),
            llama_model: PathBuf::new(),
            model,
        };
        let folder = project.required_file(LLAMA_MODEL)?;
        fs::read_dir(&folder).map_err(Error::io(&folder))?;
        let config = read_object(&folder, "config.json")?;
        let config = config.ok_or_else(|| ConfigError::UnknownModel {
            path: folder.clone(),
            found: Vec::new(),
            missing: "config.json is missing".to_string(),
            supported: vec!["the folder of a LLaMA model in Hugging Face's layout".to_string()],
        })?;
        let key = LLAMA_MODEL.to_string();
        project.model.insert(key, Value::Object(config));
        project.llama_model = folder;
        Ok(project)
    }

    /// What holds the weights of a model that sees as `vision` says. As in the project's own code,
    /// the checkpoint comes last and may replace anything.
    pub(super) fn files(&self, vision: &VisionConfig) -> Result<ModelFiles> {
        let part = |path, prefix| CheckpointPart { path, prefix };
        let vit = self.file("vit_model", "eva_vit_g.pth")?;
        let mut weights = vec![part(vit, "visual_encoder.")];
        if let ProjectorConfig::QFormer(_) = vision.projector {
            let usual = "blip2_pretrained_flant5xxl.pth";
            weights.push(part(self.file("q_former_model", usual)?, ""));
        }
        weights.push(part(self.llama_model.clone(), "llama_model."));
        weights.push(part(self.required_file("ckpt")?, ""));
        let preprocess = PreprocessConfig::blip(vision.encoder.image_size())?;
        Ok(ModelFiles {
            text: self.llama_model.clone(),
            weights,
            processor: Processor::Fixed(preprocess),
        })
    }

    /// The file that `key` names; `usual` beside the YAML where it is silent, names a download, or
    /// names no file but an architecture.
    fn file(&self, key: &str, usual: &str) -> Result<PathBuf> {
        let named = self.fields().text(key)?.unwrap_or_default();
        let name = match named.rsplit_once('/') {
            Some((_, name)) if named.contains("://") => name,
            _ => named,
        };
        let is_file = Path::new(name).extension().is_some();
        Ok(self.beside(if is_file { name } else { usual }))
    }

    /// The file that `key` names.
    ///
    /// # Errors
    ///
    /// [`ConfigError::Missing`] if it names none.
    fn required_file(&self, key: &str) -> Result<PathBuf> {
        let named = self.fields().text(key)?.filter(|name| !name.is_empty());
        let missing = || ConfigError::Missing {
            field: format!("model.{key}"),
        };
        Ok(self.beside(named.ok_or_else(missing)?))
    }

    pub(super) fn fields(&self) -> Fields<'_> {
        Fields::new(&self.model)
    }

    fn beside(&self, name: &str) -> PathBuf {
        self.path.parent().unwrap_or(Path::new("")).join(name)
    }
}

fn is_yaml(path: &Path) -> bool {
    path.extension()
        .is_some_and(|extension| extension == "yaml" || extension == "yml")
}

fn yaml_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        if is_yaml(&path) && path.is_file() {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// The `model` section of a YAML, if it has one that names its architecture.
fn read_section(path: &Path) -> Result<Option<Map<String, Value>>> {
    let malformed = |reason: String| ConfigError::Malformed {
        path: path.to_path_buf(),
        reason,
    };
    let Some(bytes) = read_file(path)? else {
        return Err(Error::io(path)(std::io::ErrorKind::NotFound.into()));
    };
    let text = std::str::from_utf8(&bytes).map_err(|error| malformed(error.to_string()))?;
    let root = yaml::parse(text).map_err(malformed)?;
    Ok(match root {
        Value::Object(mut root) => match root.remove("model") {
            Some(Value::Object(model)) if model.contains_key("arch") => Some(model),
            _ => None,
        },
        _ => None,
    })
}
