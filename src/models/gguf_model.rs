//! A model in GGUF files: one that reads text, and perhaps one with its eyes beside it.

use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

use super::fields::Fields;
use super::generation_config::GenerationConfig;
use super::gguf_fields::fields_of;
use super::{
    ModelConfig, ModelFiles, ModelSpec, Processor, gguf_clip, gguf_llama, gguf_words, llama,
};
use crate::error::{CheckpointError, ConfigError, Error, Result};
use crate::image::PreprocessConfig;
use crate::text::GgufVocabulary;
use crate::weights::{Checkpoint, Gguf};

/// Which kind of model a file holds.
const ARCHITECTURE: &str = "general.architecture";

/// What the file with the eyes has in its name.
const EYES: &str = "mmproj";

/// A model in GGUF files.
#[derive(Debug)]
pub(crate) struct GgufModel {
    decoder: Part,
    eyes: Option<Part>,
}

/// One file and what it says.
#[derive(Debug)]
struct Part {
    path: PathBuf,
    gguf: Gguf,
    fields: Map<String, Value>,
}

impl Part {
    fn open(path: &Path) -> Result<Self> {
        let gguf = Gguf::open(path)?;
        Ok(Self {
            path: path.to_path_buf(),
            fields: fields_of(gguf.metadata()),
            gguf,
        })
    }

    fn fields(&self) -> Fields<'_> {
        Fields::new(&self.fields)
    }

    fn is_eyes(&self) -> bool {
        self.fields.get(ARCHITECTURE).and_then(Value::as_str) == Some(gguf_clip::ARCHITECTURE)
    }
}

impl GgufModel {
    /// Opens the model at `path`, if it is one of these files, or a folder of them and of no other
    /// model. `eyes` names the file with its eyes; without it, one beside the model is looked for.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] when a file is damaged, or when several models could be meant.
    pub(crate) fn find(path: &Path, eyes: Option<&Path>) -> Result<Option<Self>> {
        let model = match path.is_dir() {
            true => Self::in_folder(path)?,
            false if Gguf::is_one(path) => Some(Self::of_file(path, eyes.is_none())?),
            false => None,
        };
        match (model, eyes) {
            (None, None) => Ok(None),
            (Some(model), None) => Ok(Some(model)),
            (Some(model), Some(eyes)) => Ok(Some(model.with_eyes(eyes)?)),
            (None, Some(eyes)) => {
                let reason = format!("{} holds no model in GGUF to go with it", path.display());
                Err(malformed(eyes, reason).into())
            }
        }
    }

    fn with_eyes(mut self, path: &Path) -> Result<Self> {
        let eyes = Part::open(path)?;
        if !eyes.is_eyes() {
            let reason = "its architecture is not `clip`, as that of an mmproj file is";
            return Err(malformed(path, reason.to_string()).into());
        }
        self.eyes = Some(eyes);
        Ok(self)
    }

    /// The only model of a folder that has no other.
    fn in_folder(folder: &Path) -> Result<Option<Self>> {
        if folder.join("config.json").exists() {
            return Ok(None);
        }
        let mut decoders = Vec::new();
        let mut eyes = Vec::new();
        for path in files(folder)? {
            let part = Part::open(&path)?;
            match part.is_eyes() {
                true => eyes.push(part),
                false => decoders.push(part),
            }
        }
        if decoders.is_empty() && eyes.is_empty() {
            return Ok(None);
        }
        if decoders.len() != 1 || eyes.len() > 1 {
            return Err(ambiguous(folder, decoders.iter().chain(&eyes)).into());
        }
        let decoder = decoders.remove(0);
        let eyes = eyes.pop();
        Ok(Some(Self { decoder, eyes }))
    }

    /// The model in a file, with the eyes beside it that fit.
    fn of_file(path: &Path, looks_for_eyes: bool) -> Result<Self> {
        let mut model = Self {
            decoder: Part::open(path)?,
            eyes: None,
        };
        if looks_for_eyes && let Some(folder) = path.parent() {
            model.eyes = model.eyes_in(folder)?;
        }
        Ok(model)
    }

    fn eyes_in(&self, folder: &Path) -> Result<Option<Part>> {
        let folder = match folder.as_os_str().is_empty() {
            true => Path::new("."),
            false => folder,
        };
        let name = |path: &Path| {
            path.file_name()
                .map(|name| name.to_string_lossy().into_owned())
        };
        let is_named = |path: &PathBuf| name(path).is_some_and(|name| name.contains(EYES));
        let mut fitting = Vec::new();
        for path in files(folder)?.into_iter().filter(is_named) {
            let part = Part::open(&path)?;
            if path != self.decoder.path && part.is_eyes() && self.fits(&part) {
                fitting.push(part);
            }
        }
        match fitting.len() {
            0 | 1 => Ok(fitting.pop()),
            _ => Err(ambiguous(folder, fitting.iter()).into()),
        }
    }

    fn fits(&self, eyes: &Part) -> bool {
        let width = self.decoder.fields.get("llama.embedding_length");
        let width = width.and_then(Value::as_u64).unwrap_or_default();
        gguf_clip::makes_width(eyes.gguf.checkpoint(), width as usize)
    }

    /// The family of the model and its configuration.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the model is of another architecture, or a field cannot be followed.
    pub(crate) fn spec(&self) -> Result<ModelSpec> {
        let fields = self.decoder.fields();
        if fields.text(ARCHITECTURE)? != Some(gguf_llama::ARCHITECTURE) {
            return Err(self.unknown(&fields));
        }
        let vocabulary = self.vocabulary()?;
        let checkpoint = self.decoder.gguf.checkpoint();
        let vocab_size = vocabulary.tokens.len();
        let decoder = gguf_llama::decoder_config(&fields, checkpoint, vocab_size)?;
        let mut key_map = gguf_llama::key_map(&decoder);
        let mut vision = None;
        if let Some(eyes) = &self.eyes {
            let checkpoint = eyes.gguf.checkpoint();
            let config = gguf_clip::vision_config(
                &eyes.fields(),
                checkpoint,
                decoder.hidden_size,
                image_token_id(&vocabulary),
            )?;
            key_map = gguf_clip::key_map(key_map, &config, checkpoint);
            vision = Some(config);
        }
        let config = ModelConfig {
            eos_token_ids: gguf_words::ending_ids(&fields, &vocabulary)?,
            decoder,
            vision,
            key_map,
        };
        let family = match &config.vision {
            Some(vision) => gguf_clip::family(vision),
            None => &llama::FAMILY,
        };
        Ok(ModelSpec {
            family,
            config,
            // A file keeps no more of it than the ids that end an answer.
            generation: GenerationConfig::default(),
            files: self.files()?,
        })
    }

    /// Everything lies in the files that are open already.
    fn files(&self) -> Result<ModelFiles> {
        let folder = match self.decoder.path.parent() {
            Some(folder) if !folder.as_os_str().is_empty() => folder,
            _ => Path::new("."),
        };
        Ok(ModelFiles {
            text: folder.to_path_buf(),
            weights: Vec::new(),
            processor: match self.preprocess()? {
                Some(preprocess) => Processor::Fixed(preprocess),
                None => Processor::Folder(folder.to_path_buf()),
            },
        })
    }

    /// The vocabulary.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when there is none.
    pub(crate) fn vocabulary(&self) -> Result<GgufVocabulary> {
        gguf_words::vocabulary(&self.decoder.fields(), self.decoder.gguf.metadata())
    }

    /// The chat template.
    pub(crate) fn chat_template(&self) -> Option<&str> {
        gguf_words::chat_template(self.decoder.gguf.metadata())
    }

    /// How pictures are prepared; `None` for a model that reads text only.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] when the file with the eyes does not say.
    fn preprocess(&self) -> Result<Option<PreprocessConfig>> {
        let eyes = self.eyes.as_ref();
        eyes.map(|eyes| gguf_clip::preprocess(&eyes.fields(), &eyes.path))
            .transpose()
    }

    /// The weights of all files.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Duplicate`] when two files hold the same tensor.
    pub(crate) fn into_checkpoint(self) -> Result<Checkpoint> {
        let checkpoint = self.decoder.gguf.into_checkpoint();
        match self.eyes {
            None => Ok(checkpoint),
            Some(eyes) => checkpoint.joined(eyes.gguf.into_checkpoint()),
        }
    }

    fn unknown(&self, fields: &Fields<'_>) -> Error {
        let found = fields.text(ARCHITECTURE).ok().flatten().unwrap_or("none");
        ConfigError::UnknownModel {
            path: self.decoder.path.clone(),
            found: vec![format!("the GGUF architecture {found}")],
            missing: "the architecture llama is looked for".to_string(),
            supported: vec![gguf_llama::ARCHITECTURE.to_string()],
        }
        .into()
    }
}

/// The id that stands for a row of a picture, where the vocabulary has one.
fn image_token_id(vocabulary: &GgufVocabulary) -> Option<u32> {
    let mut tokens = vocabulary.tokens.iter();
    let id = tokens.position(|token| token == "<image>")?;
    u32::try_from(id).ok()
}

/// The files of a folder that are such models, but those that belong to another.
fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut paths = Vec::new();
    for entry in folder.read_dir().map_err(Error::io(folder))? {
        let path = entry.map_err(Error::io(folder))?.path();
        let extension = path.extension().and_then(|extension| extension.to_str());
        let may_be = matches!(extension, Some("gguf" | "bin"));
        if may_be && is_first(&path) && Gguf::is_one(&path) {
            paths.push(path);
        }
    }
    paths.sort_unstable();
    Ok(paths)
}

/// Whether a file is the first of several, or the only one: `*-00002-of-00003.gguf` is not.
fn is_first(path: &Path) -> bool {
    let stem = path.file_stem().and_then(|stem| stem.to_str());
    let split = stem.and_then(|stem| stem.rsplit_once("-of-"));
    let place = split.and_then(|(before, _)| before.rsplit_once('-'));
    place.is_none_or(|(_, place)| !is_later(place))
}

fn is_later(place: &str) -> bool {
    place.len() == 5 && place.parse::<usize>().is_ok_and(|place| place > 1)
}

fn malformed(path: &Path, reason: String) -> ConfigError {
    let path = path.to_path_buf();
    ConfigError::Malformed { path, reason }
}

fn ambiguous<'p>(folder: &Path, parts: impl Iterator<Item = &'p Part>) -> CheckpointError {
    let name = |part: &Part| {
        part.path
            .file_name()
            .map(|name| name.to_string_lossy().into())
    };
    CheckpointError::Ambiguous {
        folder: folder.to_path_buf(),
        found: parts.filter_map(name).collect(),
    }
}
