//! A question, and what a reference implementation computed for it.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use burn::tensor::{DType, Tensor, TensorData};
use burn_vlm::kernels::VlmBackend;
use burn_vlm::text::{Message, Part, Role};
use burn_vlm::weights::{Checkpoint, WeightType};
use burn_vlm::{AskRequest, ImageInput, ImageLayout, LoadOptions, MultimodalPipeline};
use serde::Deserialize;

/// `request.json` with the pictures it names, `reference.json` and `reference.safetensors` of a
/// folder.
pub(crate) struct Fixture {
    request: RequestFile,
    reference: ReferenceFile,
    tensors: Checkpoint,
    pub(crate) images: Vec<ImageInput>,
    /// The adapter that the model is opened with.
    adapter: Option<PathBuf>,
}

#[derive(Deserialize)]
struct RequestFile {
    messages: Vec<MessageFile>,
    template: Option<String>,
    max_new_tokens: usize,
    adapter: Option<String>,
    #[serde(default)]
    is_quantised: bool,
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
        let parts = request.messages.iter().flat_map(|message| &message.content);
        let files = parts.filter_map(|part| match part {
            PartFile::Image { file } => Some(folder.join(file)),
            PartFile::Text { .. } => None,
        });
        Ok(Self {
            adapter: request.adapter.as_ref().map(|name| folder.join(name)),
            images: files
                .map(|file| Ok(ImageInput::open(file)?))
                .collect::<Result<_>>()?,
            reference: serde_json::from_slice(&read("reference.json")?)
                .context("reference.json")?,
            tensors: Checkpoint::open_files(&[folder.join("reference.safetensors")])?,
            request,
        })
    }

    /// How the model of the fixture is opened.
    pub(crate) fn options(&self) -> LoadOptions {
        let adapters = self.adapter.iter();
        let options = adapters.fold(LoadOptions::new(), LoadOptions::with_adapter);
        match self.request.is_quantised {
            // Blocks that are kept as floats of 16 bits are rounded.
            true => options.with_weights(WeightType::F32),
            false => options,
        }
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

    /// The text of the last question.
    pub(crate) fn question(&self) -> String {
        let is_question = |message: &&MessageFile| matches!(message.role, RoleFile::User);
        let last = self.request.messages.iter().rfind(is_question);
        let parts = last.into_iter().flat_map(|message| &message.content);
        let texts = parts.filter_map(|part| match part {
            PartFile::Text { text } => Some(text.as_str()),
            PartFile::Image { .. } => None,
        });
        texts.collect()
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

    /// The reference's pixels, picture by picture, and how each was laid out.
    pub(crate) fn tiles<B: VlmBackend>(
        &self,
        pipeline: &MultimodalPipeline<B>,
    ) -> Result<Vec<(Tensor<B, 4>, ImageLayout)>> {
        let shape = self.shape("pixel_values")?;
        let [.., height, width] = *shape else {
            bail!("pixel_values has shape {shape:?}");
        };
        let floats = self.floats("pixel_values")?;
        let num_tiles = floats.len() / (3 * height * width);
        let data = TensorData::new(floats, [num_tiles, 3, height, width]);
        let all = Tensor::<B, 4>::from_data(data, (pipeline.device(), DType::F32));
        let mut first = 0;
        let tiles = self.images.iter().map(|image| {
            let layout = pipeline.layout(image.size())?;
            let own = first..first + layout.num_tiles;
            ensure!(own.end <= num_tiles, "{num_tiles} tiles are not enough");
            first = own.end;
            Ok((all.clone().slice_dim(0, own), layout))
        });
        tiles.collect()
    }

    /// Prepares the pictures and compares their pixels with the reference's.
    pub(crate) fn pixel_difference<B: VlmBackend>(
        &self,
        pipeline: &MultimodalPipeline<B>,
    ) -> Result<PixelDifference> {
        let mut ours = Vec::new();
        for image in &self.images {
            ours.extend(pipeline.preprocess(image)?.into_data());
        }
        let theirs = self.floats("pixel_values")?;
        let largest = largest_difference(&ours, &theirs)?;
        let sum: f32 = ours.iter().zip(&theirs).map(|(a, b)| (a - b).abs()).sum();
        let mean = sum / ours.len() as f32;
        Ok(PixelDifference { largest, mean })
    }

    /// The ids of the answer, without the one that ends it: ours end in front of that.
    pub(crate) fn answer_ids<B: VlmBackend>(
        &self,
        pipeline: &MultimodalPipeline<B>,
    ) -> Result<Vec<u32>> {
        let mut ids = self.ids("generated_ids")?;
        let listed = &pipeline.spec().config.eos_token_ids;
        let ends = |id: &u32| listed.contains(id) || pipeline.tokenizer().eos_id() == Some(*id);
        if ids.last().is_some_and(ends) {
            ids.pop();
        }
        Ok(ids)
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

/// How far prepared pixels are from the reference's.
#[derive(Debug)]
pub(crate) struct PixelDifference {
    pub(crate) largest: f32,
    pub(crate) mean: f32,
}

impl PixelDifference {
    /// One 8-bit step after normalisation, and a mean that rounding alone would not reach.
    const LARGEST: f32 = 0.02;
    const MEAN: f32 = 0.002;

    pub(crate) fn is_rounding(&self) -> bool {
        self.largest <= Self::LARGEST && self.mean <= Self::MEAN
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

/// Brings numbers to the host, and with them the error of any launch that failed.
pub(crate) fn values<B: VlmBackend, const D: usize>(tensor: Tensor<B, D>) -> Result<Vec<f32>> {
    let device = tensor.device();
    let data = tensor
        .try_into_data()
        .map_err(|error| anyhow::anyhow!("{error}"))?;
    B::sync(&device).map_err(|error| anyhow::anyhow!("{error}"))?;
    Ok(data.iter::<f32>().collect())
}

pub(crate) fn largest_difference(ours: &[f32], theirs: &[f32]) -> Result<f32> {
    let (found, expected) = (ours.len(), theirs.len());
    ensure!(found == expected, "{found} numbers, expected {expected}");
    let differences = ours.iter().zip(theirs).map(|(a, b)| (a - b).abs());
    // `f32::max` would lose a NaN, which is the largest difference there is.
    let larger = |largest: f32, next: f32| match next.is_nan() {
        true => f32::INFINITY,
        false => largest.max(next),
    };
    Ok(differences.fold(0.0, larger))
}
