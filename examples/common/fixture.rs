//! A question, and what a reference implementation computed for it.

use std::path::Path;

use anyhow::{Context, Result, bail};
use burn_vlm::text::{Message, Part, Role};
use burn_vlm::weights::{Checkpoint, WeightType};
use burn_vlm::{AskRequest, ImageInput};
use serde::Deserialize;

/// `request.json` with the pictures it names, `reference.json` and `reference.safetensors` of a
/// folder.
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
    adapter: Option<String>,
}

#[derive(Deserialize)]
struct MessageFile {
    role: RoleFile,
    content: Vec<PartFile>,
}

#[derive(Deserialize)]
#[serde(rename_all = "lowercase")]
enum RoleFile {
    System,
    User,
    Assistant,
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
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let read = |name: &str| {
            let path = folder.join(name);
            std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))
        };
        let request: RequestFile =
            serde_json::from_slice(&read("request.json")?).context("request.json")?;
        if request.adapter.is_some() {
            bail!("the request names an adapter, which is not available in this version");
        }
        let parts = request.messages.iter().flat_map(|message| &message.content);
        let files = parts.filter_map(|part| match part {
            PartFile::Image { file } => Some(folder.join(file)),
            PartFile::Text { .. } => None,
        });
        Ok(Self {
            images: files
                .map(|file| Ok(ImageInput::open(file)?))
                .collect::<Result<_>>()?,
            reference: serde_json::from_slice(&read("reference.json")?)
                .context("reference.json")?,
            tensors: Checkpoint::open_files(&[folder.join("reference.safetensors")])?,
            request,
        })
    }

    /// The request, over pictures of any kind.
    pub(crate) fn request<I: Clone>(&self, images: &[I]) -> AskRequest<I> {
        let mut images = images.iter().cloned();
        let mut request = AskRequest::new().max_new_tokens(self.request.max_new_tokens);
        for message in &self.request.messages {
            let parts: Vec<Part> = message.content.iter().map(PartFile::part).collect();
            let shown = parts.iter().filter(|part| **part == Part::Image).count();
            let shown: Vec<I> = images.by_ref().take(shown).collect();
            let role = message.role.role();
            request = request.message(Message { role, parts }, shown);
        }
        match &self.request.template {
            Some(template) => request.template(template),
            None => request,
        }
    }

    /// The answer of the reference.
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

    pub(crate) fn shape(&self, tensor: &str) -> Result<&[usize]> {
        let info = self.tensors.get(tensor);
        Ok(info.with_context(|| format!("no tensor {tensor}"))?.shape())
    }

    pub(crate) fn floats(&self, tensor: &str) -> Result<Vec<f32>> {
        Ok(self
            .tensors
            .read_as(tensor, WeightType::F32)?
            .iter::<f32>()
            .collect())
    }

    /// Token ids. Those of a picture's places may be any number.
    pub(crate) fn ids<T: TryFrom<i64>>(&self, tensor: &str) -> Result<Vec<T>> {
        let stored = self.tensors.read(tensor)?;
        let ids = stored.bytes().chunks_exact(8);
        ids.map(|id| {
            let id = i64::from_le_bytes(id.try_into()?);
            T::try_from(id)
                .ok()
                .with_context(|| format!("{tensor} holds the id {id}"))
        })
        .collect()
    }
}

impl RoleFile {
    fn role(&self) -> Role {
        match self {
            Self::System => Role::System,
            Self::User => Role::User,
            Self::Assistant => Role::Assistant,
        }
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
