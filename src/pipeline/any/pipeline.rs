//! A pipeline whose backend is chosen at run time.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use super::choice::{Choice, describe_first, open_first};
use super::device::DeviceName;
use super::erased::ErasedPipeline;
use super::image::{AnyEncodedImage, AnyImage};
use super::open::{self, PipelineVisitor};
use super::session::AnySession;
use super::stream::AnyAnswerStream;
use crate::error::Result;
use crate::image::{ImageInput, ImageSize, PixelValues};
use crate::models::{ImageLayout, ModelSpec};
use crate::pipeline::answer::Answer;
use crate::pipeline::describe::ModelDescription;
use crate::pipeline::load_options::LoadOptions;
use crate::pipeline::request::AskRequest;
use crate::pipeline::warm_up::{WarmUp, WarmUpProgress};
use crate::text::{PromptTokens, Tokenizer};
use crate::weights::LoadReport;

/// Answers questions about pictures on a device that is named when the program runs: a
/// [`MultimodalPipeline`](crate::MultimodalPipeline) without the type of its backend.
///
/// Cheap to clone, `Send` and `Sync`: one instance serves many threads.
///
/// # Examples
/// ```no_run
/// use burn_vlm::{AnyPipeline, AskRequest, DeviceName, ImageInput};
///
/// let pipeline = AnyPipeline::open("models/llava", DeviceName::Auto, &Default::default())?;
/// println!("{}", pipeline.device_name());
/// let photo = pipeline.encode(&ImageInput::open("photo.jpg")?)?;
/// let answer = pipeline.ask(&photo, "What is on the table?")?;
/// # let _ = answer;
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AnyPipeline {
    pipeline: Arc<dyn ErasedPipeline>,
    device: DeviceName,
    passed_over: Arc<[String]>,
}

impl AnyPipeline {
    /// Opens the model in a folder on the first of the devices that `device` names, that is there
    /// and that takes the weights. A model that is damaged is an error at once: another device
    /// would not help.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Unavailable`](crate::DeviceError::Unavailable) when no device is there, with
    /// what was tried; otherwise as [`MultimodalPipeline::open`](crate::MultimodalPipeline::open).
    pub fn open(
        folder: impl AsRef<Path>,
        device: DeviceName,
        options: &LoadOptions,
    ) -> Result<Self> {
        let Choice {
            pipeline,
            device,
            passed_over,
        } = open_first(folder.as_ref(), device, options)?;
        Ok(Self {
            pipeline,
            device,
            passed_over: passed_over.into(),
        })
    }

    /// Describes what is at `path`, a folder or a file, without loading any weights: what it is, how
    /// much memory it would take on the first device that `device` names, and what stands in the way.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Unavailable`](crate::DeviceError::Unavailable) when no device is there. What is
    /// wrong with the model is part of the description.
    pub fn describe(path: impl AsRef<Path>, device: DeviceName) -> Result<ModelDescription> {
        describe_first(path.as_ref(), device)
    }

    /// Plans a picture of `size`: how it is cut, and what stands for it in a prompt.
    ///
    /// # Errors
    ///
    /// [`RequestError::TextOnlyModel`](crate::RequestError::TextOnlyModel) when the model has no
    /// eyes.
    pub fn layout(&self, size: ImageSize) -> Result<ImageLayout> {
        self.pipeline.layout(size)
    }

    /// Encodes a picture, for any number of questions. See
    /// [`MultimodalPipeline::encode`](crate::MultimodalPipeline::encode).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn encode(&self, image: &ImageInput) -> Result<AnyEncodedImage> {
        self.pipeline.encode(image)
    }

    /// Prepares the pixels of a picture, the first half of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn preprocess(&self, image: &ImageInput) -> Result<PixelValues> {
        self.pipeline.preprocess(image)
    }

    /// Answers a question about one picture. See
    /// [`MultimodalPipeline::ask`](crate::MultimodalPipeline::ask).
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn ask(&self, image: &AnyEncodedImage, question: &str) -> Result<Answer> {
        self.answer(&AskRequest::new().image(image.clone()).user(question))
    }

    /// Answers a request. See [`MultimodalPipeline::answer`](crate::MultimodalPipeline::answer).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn answer<I: Clone + Into<AnyImage>>(&self, request: &AskRequest<I>) -> Result<Answer> {
        self.stream(request)?.finish()
    }

    /// Answers a request piece by piece. See
    /// [`MultimodalPipeline::stream`](crate::MultimodalPipeline::stream).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn stream<I: Clone + Into<AnyImage>>(
        &self,
        request: &AskRequest<I>,
    ) -> Result<AnyAnswerStream<'_>> {
        let stream = self.pipeline.stream(&AnyImage::request(request))?;
        Ok(AnyAnswerStream::new(stream))
    }

    /// Answers several requests at once. See
    /// [`MultimodalPipeline::ask_batch`](crate::MultimodalPipeline::ask_batch).
    pub fn ask_batch<I: Clone + Into<AnyImage>>(
        &self,
        requests: &[AskRequest<I>],
    ) -> Vec<Result<Answer>> {
        let requests: Vec<_> = requests.iter().map(AnyImage::request).collect();
        self.pipeline.ask_batch(&requests)
    }

    /// Starts a conversation that keeps its cache from turn to turn.
    pub fn session(&self) -> AnySession {
        AnySession::new(self.clone(), self.pipeline.session())
    }

    /// Compiles what questions will use. See
    /// [`MultimodalPipeline::warm_up`](crate::MultimodalPipeline::warm_up).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn warm_up(
        &self,
        mut progress: impl FnMut(WarmUpProgress) -> ControlFlow<()>,
    ) -> Result<WarmUp> {
        self.pipeline.warm_up(&mut progress)
    }

    /// Writes the weights, as they are kept, into a new file. See
    /// [`MultimodalPipeline::save_weights`](crate::MultimodalPipeline::save_weights).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        self.pipeline.save_weights(path.as_ref())
    }

    /// The prompt of a request as the decoder would read it. See
    /// [`MultimodalPipeline::prompt`](crate::MultimodalPipeline::prompt).
    ///
    /// # Errors
    ///
    /// As there.
    pub fn prompt<I: Clone + Into<AnyImage>>(
        &self,
        request: &AskRequest<I>,
    ) -> Result<PromptTokens> {
        self.pipeline.prompt(&AnyImage::request(request))
    }

    /// Runs code that is generic over the backend.
    pub fn visit<V: PipelineVisitor>(&self, visitor: V) -> V::Output {
        open::visit(&*self.pipeline, visitor)
    }

    /// The names of the adapters that were loaded beside the model.
    pub fn adapters(&self) -> impl Iterator<Item = &str> {
        self.pipeline.adapters().into_iter()
    }

    /// The model's family and configuration.
    pub fn spec(&self) -> &ModelSpec {
        self.pipeline.spec()
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        self.pipeline.tokenizer()
    }

    /// The device that was chosen.
    pub fn device(&self) -> DeviceName {
        self.device
    }

    /// The devices that would have come first, each with the reason it was passed over.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The backend and the device, in words.
    pub fn device_name(&self) -> String {
        self.pipeline.device_name()
    }

    /// Tokens that a prompt and its answer may have together.
    pub fn context_length(&self) -> usize {
        self.pipeline.context_length()
    }

    /// What was loaded from the checkpoint, and what was left.
    pub fn load_report(&self) -> &LoadReport {
        self.pipeline.load_report()
    }

    /// How long it took to open the model.
    pub fn load_time(&self) -> Duration {
        self.pipeline.load_time()
    }
}
