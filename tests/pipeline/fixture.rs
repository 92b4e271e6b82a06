//! The fixtures of `tests/fixtures/models`, and opening their models.

use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::text::{Message, Part, Role};
use burn_vlm::weights::{Checkpoint, WeightType};
use burn_vlm::{AskRequest, ImageInput, LoadOptions, MultimodalPipeline};
use serde::Deserialize;

use crate::support::{model_folder, repository};

/// A model that sees, with random weights and 16 rows a picture.
pub(crate) const LLAVA: &str = "llava";

/// The models that read text only, and rotate a position the same way in every sequence.
pub(crate) const TEXT_MODELS: [&str; 4] =
    ["vicuna_bin", "llama3_rope", "linear_rope", "attention_bias"];

/// Opens the model of a fixture.
pub(crate) fn open<B: VlmBackend>(name: &str) -> Result<MultimodalPipeline<B>> {
    open_with(name, LoadOptions::new())
}

pub(crate) fn open_with<B: VlmBackend>(
    name: &str,
    options: LoadOptions,
) -> Result<MultimodalPipeline<B>> {
    MultimodalPipeline::open(model_folder(name), &options).context(name.to_string())
}

/// Opens the trained model that the repository ships: it answers in words and ends by itself.
pub(crate) fn open_demo<B: VlmBackend>() -> Result<MultimodalPipeline<B>> {
    Ok(MultimodalPipeline::open(
        demo_folder(),
        &LoadOptions::new(),
    )?)
}

pub(crate) fn demo_folder() -> PathBuf {
    repository("examples/demo/model")
}

/// The picture that goes with the trained model.
pub(crate) fn demo_photo() -> Result<ImageInput> {
    Ok(ImageInput::open(repository("examples/demo/photo.png"))?)
}

/// A request and what the reference implementation computed for it.
pub(crate) struct Fixture {
    request: RequestFile,
    reference: ReferenceFile,
    tensors: Checkpoint,
    pub(crate) images: Vec<ImageInput>,
}

#[derive(Deserialize)]
struct RequestFile {
    messages: Vec<MessageFile>,
    template: Option<String>,
    max_new_tokens: usize,
}

#[derive(Deserialize)]
struct MessageFile {
    role: String,
    content: Vec<PartFile>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum PartFile {
    Text { text: String },
    Image { file: String },
}

#[derive(Deserialize)]
struct ReferenceFile {
    text: String,
    float32_tolerance: f32,
}

impl Fixture {
    pub(crate) fn open(name: &str) -> Result<Self> {
        let folder = repository("tests/fixtures/models").join(name);
        let read = |file: &str| std::fs::read(folder.join(file)).context(file.to_string());
        let request: RequestFile = serde_json::from_slice(&read("request.json")?)?;
        let parts = request.messages.iter().flat_map(|message| &message.content);
        let files = parts.filter_map(|part| match part {
            PartFile::Image { file } => Some(folder.join(file)),
            PartFile::Text { .. } => None,
        });
        Ok(Self {
            images: files
                .map(|file| Ok(ImageInput::open(file)?))
                .collect::<Result<_>>()?,
            reference: serde_json::from_slice(&read("reference.json")?)?,
            tensors: Checkpoint::open_files(&[folder.join("reference.safetensors")])?,
            request,
        })
    }

    /// The names of all fixtures.
    pub(crate) fn names() -> Result<Vec<String>> {
        let mut names = Vec::new();
        for entry in repository("tests/fixtures/models").read_dir()? {
            let entry = entry?;
            if entry.path().is_dir() {
                names.push(entry.file_name().to_string_lossy().into_owned());
            }
        }
        names.sort();
        Ok(names)
    }

    /// The request, over pictures of any kind.
    pub(crate) fn request<I: Clone>(&self, images: &[I]) -> Result<AskRequest<I>> {
        let mut images = images.iter().cloned();
        let mut request = AskRequest::new().max_new_tokens(self.request.max_new_tokens);
        for message in &self.request.messages {
            ensure!(
                message.role == "user",
                "a role that no fixture has: {}",
                message.role
            );
            let parts: Vec<Part> = message.content.iter().map(PartFile::part).collect();
            let shown = parts.iter().filter(|part| **part == Part::Image).count();
            let shown: Vec<I> = images.by_ref().take(shown).collect();
            request = request.message(
                Message {
                    role: Role::User,
                    parts,
                },
                shown,
            );
        }
        Ok(match &self.request.template {
            Some(template) => request.template(template),
            None => request,
        })
    }

    pub(crate) fn text(&self) -> &str {
        &self.reference.text
    }

    /// Largest difference of a number that rounding explains.
    pub(crate) fn tolerance(&self) -> f32 {
        self.reference.float32_tolerance
    }

    pub(crate) fn has(&self, tensor: &str) -> bool {
        self.tensors.get(tensor).is_some()
    }

    pub(crate) fn floats(&self, tensor: &str) -> Result<Vec<f32>> {
        Ok(self
            .tensors
            .read_as(tensor, WeightType::F32)?
            .iter::<f32>()
            .collect())
    }

    pub(crate) fn shape<const D: usize>(&self, tensor: &str) -> Result<[usize; D]> {
        let Some(info) = self.tensors.get(tensor) else {
            bail!("no tensor {tensor}")
        };
        Ok(info.shape().try_into()?)
    }

    pub(crate) fn ids(&self, tensor: &str) -> Result<Vec<u32>> {
        let stored = self.tensors.read(tensor)?;
        let ids = stored.bytes().chunks_exact(8);
        ids.map(|id| Ok(u32::try_from(i64::from_le_bytes(id.try_into()?))?))
            .collect()
    }
}

impl PartFile {
    fn part(&self) -> Part {
        match self {
            Self::Text { text } => Part::Text(text.clone()),
            Self::Image { .. } => Part::Image,
        }
    }
}
