//! The pipeline over one backend.

use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Tensor, TensorData};

use super::answer::{Answer, Timings};
use super::encoded_image::{Cost, EncodedImage, Identity, RequestImage};
use super::image_rows::ImageContent;
use super::load_options::{KernelPolicy, LoadOptions};
use super::open::ModelParts;
use super::prompt::{TextProcessor, decoder_input};
use super::request::AskRequest;
use super::request_plan::RequestPlan;
use super::session::Session;
use super::stream::AnswerStream;
use crate::error::{DeviceError, Error, RequestError, Result};
use crate::generation::{DecoderInput, FinishReason, Sequence, SlotPool};
use crate::image::{ImageInput, ImageSize, PixelValues};
use crate::kernels::{self, ALWAYS, GoOn, KernelReport, KernelTrace, VlmBackend};
use crate::models::{ImageLayout, ModelSpec, VisionLanguageModel};
use crate::nn::LlamaDecoder;
use crate::text::{PromptTokens, Tokenizer};
use crate::weights::{LoadReport, save_module};

/// Answers questions about pictures with one model on one device.
///
/// Cheap to clone, `Send` and `Sync`: one instance serves many threads.
///
/// # Examples
/// ```no_run
/// use burn_vlm::{ImageInput, MultimodalPipeline, backend::Cpu};
///
/// let pipeline = MultimodalPipeline::<Cpu>::open("models/llava", &Default::default())?;
/// let photo = pipeline.encode(&ImageInput::open("photo.jpg")?)?;
/// let answer = pipeline.ask(&photo, "What is on the table?")?;
/// println!("{}", answer.text);
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct MultimodalPipeline<B: VlmBackend> {
    inner: Arc<Inner<B>>,
}

#[derive(Debug)]
struct Inner<B: VlmBackend> {
    identity: Identity,
    parts: ModelParts<B>,
    device: B::Device,
    kernels: KernelPolicy,
    load_time: Duration,
}

/// The pictures of a request, and what the decoder reads with them.
pub(super) struct ShownImages<B: VlmBackend> {
    /// Those of earlier turns first.
    pub(super) all: Vec<EncodedImage<B>>,
    num_earlier: usize,
    /// What it took to make rows of them that depend on the question.
    pub(super) project_time: Duration,
    pub(super) project_kernels: KernelReport,
    /// What the decoder reads, or what ended the request before all pictures were encoded.
    pub(super) input: ControlFlow<FinishReason, DecoderInput<B>>,
}

impl<B: VlmBackend> ShownImages<B> {
    /// The pictures that this request brings.
    pub(super) fn of_request(&self) -> &[EncodedImage<B>] {
        &self.all[self.num_earlier..]
    }
}

impl<B: VlmBackend> MultimodalPipeline<B> {
    /// Opens a model, on the backend's default device: a folder, or the YAML of a MiniGPT project,
    /// which names its files.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownModel`](crate::ConfigError::UnknownModel) when there is nothing
    /// this crate can run, and another [`Error`] when one of its files is damaged or the device
    /// refuses the weights.
    pub fn open(path: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::open_on(path, &B::Device::default(), options)
    }

    /// As [`open`](Self::open), on a device.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(
        path: impl AsRef<Path>,
        device: &B::Device,
        options: &LoadOptions,
    ) -> Result<Self> {
        let started = Instant::now();
        let parts = ModelParts::open(path.as_ref(), device, options)?;
        Ok(Self {
            inner: Arc::new(Inner {
                identity: Arc::default(),
                parts,
                device: device.clone(),
                kernels: options.kernels,
                load_time: started.elapsed(),
            }),
        })
    }

    /// Writes the weights, as they are kept, into a new file for
    /// [`LoadOptions::with_saved_weights`]: a model that was rounded to `q8` or `q4`, or had adapters
    /// merged, opens from it without doing that again, whatever backend wrote it. One tensor at a time is on the
    /// host. Adapters that stay beside the weights are not written.
    ///
    /// # Examples
    /// ```no_run
    /// use burn_vlm::weights::MatrixType;
    /// use burn_vlm::{LoadOptions, MultimodalPipeline, backend::Cpu};
    ///
    /// let options = LoadOptions::new().with_weights(MatrixType::Q4);
    /// let pipeline = MultimodalPipeline::<Cpu>::open("models/llava", &options)?;
    /// pipeline.save_weights("llava-q4.safetensors")?;
    ///
    /// let saved = LoadOptions::new().with_saved_weights("llava-q4.safetensors");
    /// let again = MultimodalPipeline::<Cpu>::open("models/llava", &saved)?;
    /// # let _ = again;
    /// # Ok::<(), burn_vlm::Error>(())
    /// ```
    ///
    /// # Errors
    ///
    /// [`CheckpointError::NotWritten`](crate::CheckpointError::NotWritten), also when there is such a
    /// file already, [`DeviceError::Failed`] when the device does not give a tensor back. What was
    /// written until then is removed.
    pub fn save_weights(&self, path: impl AsRef<Path>) -> Result<()> {
        save_module(&self.inner.parts.model, path.as_ref())
    }

    /// Plans a picture of `size`: how it is cut, and what stands for it in a prompt.
    ///
    /// # Errors
    ///
    /// [`RequestError::TextOnlyModel`] when the model has no eyes.
    pub fn layout(&self, size: ImageSize) -> Result<ImageLayout> {
        let preprocess = self.inner.parts.preprocess.as_ref();
        let layout = preprocess.and_then(|preprocess| self.spec().image_layout(preprocess, size));
        layout.ok_or_else(|| self.text_only(1))
    }

    /// Encodes a picture, for any number of questions.
    ///
    /// # Errors
    ///
    /// [`RequestError::TextOnlyModel`] when the model has no eyes, an
    /// [`ImageError`](crate::ImageError) when the picture cannot be prepared, [`DeviceError`] when
    /// the device fails.
    pub fn encode(&self, image: &ImageInput) -> Result<EncodedImage<B>> {
        let encoded = self.encode_while(image, &ALWAYS)?;
        Ok(encoded.expect("nobody interrupts the encoding"))
    }

    /// As [`encode`](Self::encode), as long as `go_on` says so: it is asked between the layers of
    /// the encoder.
    pub(super) fn encode_while(
        &self,
        image: &ImageInput,
        go_on: GoOn<'_>,
    ) -> Result<Option<EncodedImage<B>>> {
        let layout = self.layout(image.size())?;
        let started = Instant::now();
        let pixel_values = self.preprocess(image)?;
        let image_time = started.elapsed();
        let shape = pixel_values.shape();
        let data = TensorData::new(pixel_values.into_data(), shape);
        let tiles = Tensor::from_data(data, (&self.inner.device, DType::F32));
        let (content, kernels) = self.encode_traced(tiles, &layout, go_on)?;
        let Some(content) = content else {
            return Ok(None);
        };
        let cost = Cost {
            image_time,
            encode_time: started.elapsed() - image_time,
            kernels,
        };
        let identity = self.inner.identity.clone();
        Ok(Some(EncodedImage::new(identity, layout, content, cost)))
    }

    /// Prepares the pixels of a picture, the first half of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn preprocess(&self, image: &ImageInput) -> Result<PixelValues> {
        let preprocess = self.inner.parts.preprocess.as_ref();
        preprocess
            .ok_or_else(|| self.text_only(1))?
            .preprocess(image)
    }

    /// Encodes and projects the prepared tiles of a picture that was laid out so, the second half of
    /// [`encode`](Self::encode), for a model that reads `question` into their rows, or any other.
    ///
    /// # Shapes
    /// - `tiles`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_rows, hidden_size]`
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    ///
    /// # Panics
    ///
    /// If the tiles are not of the encoder's size, or not those of the layout where that matters.
    pub fn encode_tiles(
        &self,
        tiles: Tensor<B, 4>,
        layout: &ImageLayout,
        question: &str,
    ) -> Result<Tensor<B, 2>> {
        let question = self.text_processor().question_ids(question)?;
        let (content, _) = self.encode_traced(tiles, layout, &ALWAYS)?;
        let content = content.expect("nobody interrupts the encoding");
        let (rows, _) = self.project(&content, layout.inputs(&question))?;
        Ok(rows)
    }

    /// What prepared tiles are for every question, where nothing interrupted them, and which kernels
    /// ran.
    fn encode_traced(
        &self,
        tiles: Tensor<B, 4>,
        layout: &ImageLayout,
        go_on: GoOn<'_>,
    ) -> Result<(Option<ImageContent<B>>, KernelReport)> {
        let inner = &*self.inner;
        if inner.parts.model.visual_encoder.is_none() {
            return Err(self.text_only(1));
        }
        let tiles = tiles.cast(inner.parts.spec.config.decoder.compute);
        let model = &inner.parts.model;
        let (content, kernels) = KernelTrace::collect(|| {
            let at_once = inner.parts.spec.config.tiles_at_once();
            let features = model.image_features(tiles, at_once, go_on)?;
            match model.reads_question() {
                true => Some(ImageContent::Features(features)),
                false => {
                    let rows = model.image_rows(features, layout.inputs(&[]));
                    rows.map(ImageContent::Rows)
                }
            }
        });
        if inner.kernels == KernelPolicy::Strict {
            kernels.check_strict()?;
        }
        kernels::sync::<B>(&inner.device).map_err(|reason| DeviceError::Failed {
            stage: "encode",
            reason,
        })?;
        Ok((content, kernels))
    }

    /// Answers a question about one picture, as the checkpoint's `generation_config.json` says:
    /// greedily where it says nothing.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn ask(&self, image: &EncodedImage<B>, question: &str) -> Result<Answer> {
        self.answer(&AskRequest::new().image(image.clone()).user(question))
    }

    /// Answers a request.
    ///
    /// # Errors
    ///
    /// [`RequestError`] when the request contradicts itself or the model,
    /// [`Error::ContextOverflow`] when it does not fit the context, [`TemplateError`] when the
    /// template does not fit the messages: all of them before a picture is encoded. [`DeviceError`]
    /// when the device fails.
    ///
    /// [`TemplateError`]: crate::TemplateError
    pub fn answer<I: RequestImage<B>>(&self, request: &AskRequest<I>) -> Result<Answer> {
        self.stream(request)?.finish()
    }

    /// Answers a request piece by piece.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer); what goes wrong later comes from the stream.
    pub fn stream<I: RequestImage<B>>(
        &self,
        request: &AskRequest<I>,
    ) -> Result<AnswerStream<'_, B>> {
        let plan = self.plan_request(request)?;
        let sequence = self.sequence_of(&plan);
        self.start(plan, request, sequence)
    }

    /// Starts a conversation that keeps its cache from turn to turn.
    pub fn session(&self) -> Session<B> {
        Session::new(self.clone())
    }

    /// The prompt of a request as the decoder would read it: the ids, with the model's image token
    /// repeated where rows of pictures go. No picture is encoded for it.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn prompt<I: RequestImage<B>>(&self, request: &AskRequest<I>) -> Result<PromptTokens> {
        let messages = request.all_messages()?;
        let layouts = self.layouts(&request.images())?;
        self.decoder(request.settings.adapter.as_deref())?;
        self.tokenize(&messages, &layouts, &request.settings)
    }

    /// The model's modules.
    pub fn model(&self) -> &VisionLanguageModel<B> {
        &self.inner.parts.model
    }

    /// The names of the adapters that were loaded beside the model.
    pub fn adapters(&self) -> impl Iterator<Item = &str> {
        self.inner.parts.adapters.names()
    }

    /// The decoder that answers requests that name this adapter, or none.
    ///
    /// # Errors
    ///
    /// [`RequestError::UnknownAdapter`] if none has this name.
    pub fn decoder(&self, adapter: Option<&str>) -> Result<&LlamaDecoder<B>> {
        match adapter {
            None => Ok(&self.model().decoder),
            Some(name) => Ok(self.inner.parts.adapters.get(name)?),
        }
    }

    /// The model's family and configuration.
    pub fn spec(&self) -> &ModelSpec {
        &self.inner.parts.spec
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.parts.text_processor.tokenizer
    }

    /// The device everything runs on.
    pub fn device(&self) -> &B::Device {
        &self.inner.device
    }

    /// The backend and the device, in words.
    pub fn device_name(&self) -> String {
        B::name(&self.inner.device)
    }

    /// Tokens that a prompt and its answer may have together.
    pub fn context_length(&self) -> usize {
        self.inner.parts.context_length
    }

    /// What was loaded from the checkpoint, and what was left.
    pub fn load_report(&self) -> &LoadReport {
        &self.inner.parts.load_report
    }

    /// How long it took to open the model.
    pub fn load_time(&self) -> Duration {
        self.inner.load_time
    }

    pub(super) fn text_processor(&self) -> &TextProcessor {
        &self.inner.parts.text_processor
    }

    pub(super) fn kernel_policy(&self) -> KernelPolicy {
        self.inner.kernels
    }

    pub(super) fn identity(&self) -> &Identity {
        &self.inner.identity
    }

    /// Encodes the pictures of a request, and begins its answer in `sequence`.
    pub(super) fn start<I: RequestImage<B>>(
        &self,
        plan: RequestPlan,
        request: &AskRequest<I>,
        sequence: Sequence<B>,
    ) -> Result<AnswerStream<'_, B>> {
        let shown = self.show(&plan, Vec::new(), &request.images())?;
        AnswerStream::new(self, sequence, plan, &shown)
    }

    /// Encodes the pictures that are not yet, and puts them all into the places of the prompt. What
    /// interrupts the request ends it between two layers of the encoder.
    ///
    /// `earlier` are the pictures of earlier turns.
    pub(super) fn show<I: RequestImage<B>>(
        &self,
        plan: &RequestPlan,
        earlier: Vec<EncodedImage<B>>,
        images: &[&I],
    ) -> Result<ShownImages<B>> {
        let (num_earlier, mut all) = (earlier.len(), earlier);
        let interruption = &plan.options.interruption;
        for image in images {
            let encoded = match interruption.check().is_break() {
                true => None,
                false => image.encoded(self, &|| interruption.check())?,
            };
            let Some(encoded) = encoded else {
                let reason = interruption.reason().unwrap_or(FinishReason::Cancelled);
                return Ok(ShownImages {
                    all,
                    num_earlier,
                    project_time: Duration::ZERO,
                    project_kernels: KernelReport::default(),
                    input: ControlFlow::Break(reason),
                });
            };
            all.push(encoded);
        }
        let rows = self.request_rows(&all, &plan.question)?;
        Ok(ShownImages {
            input: ControlFlow::Continue(decoder_input(&plan.prompt, &rows.images)),
            all,
            num_earlier,
            project_time: rows.time,
            project_kernels: rows.kernels,
        })
    }

    /// An empty sequence with room for `expected` tokens that may grow to the whole context.
    pub(super) fn sequence(&self, expected: usize) -> Sequence<B> {
        Sequence::new(&self.pool(1, expected))
    }

    /// An empty sequence for the answer of a plan.
    pub(super) fn sequence_of(&self, plan: &RequestPlan) -> Sequence<B> {
        Sequence::new(&self.pool(plan.num_slots(), plan.expected_tokens()))
    }

    /// Slots with room for `expected` tokens each that may grow to the whole context.
    pub(super) fn pool(&self, num_slots: usize, expected: usize) -> SlotPool<B> {
        let (decoder, max_tokens) = (&self.model().decoder, self.context_length());
        SlotPool::new(decoder, num_slots, expected, max_tokens, self.device())
    }

    pub(super) fn timings(&self, images: &[EncodedImage<B>]) -> Timings {
        Timings {
            load: self.inner.load_time,
            image: images.iter().map(EncodedImage::image_time).sum(),
            encode: images.iter().map(EncodedImage::encode_time).sum(),
            ..Timings::default()
        }
    }

    pub(super) fn text_only(&self, images: usize) -> Error {
        let model = self.spec().family.name.to_string();
        RequestError::TextOnlyModel { images, model }.into()
    }
}
