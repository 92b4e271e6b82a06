//! The pipeline over one backend.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use burn::tensor::{DType, Tensor, TensorData};

use super::answer::{Answer, Timings, Usage};
use super::encoded_image::{EncodedImage, Identity, RequestImage};
use super::load_options::{KernelPolicy, LoadOptions};
use super::prompt::{Words, decoder_input};
use super::request::{AnswerSettings, AskRequest, DEFAULT_MAX_NEW_TOKENS};
use super::session::Session;
use super::stream::AnswerStream;
use crate::error::{ConfigError, DeviceError, Error, RequestError, Result};
use crate::generation::{DecoderInput, GenerationOptions, Sequence, StopRules, check_room};
use crate::image::{ImageInput, PixelValues, PreprocessConfig};
use crate::kernels::{KernelReport, KernelTrace, VlmBackend};
use crate::models::{ModelSpec, VisionConfig, VisionLanguageModel, read_config};
use crate::nn::RopeScaling;
use crate::text::{
    ChatTemplate, ConversationTemplate, Message, PromptTokens, TEMPLATES, Tokenizer,
};
use crate::weights::{Checkpoint, LoadReport, WeightOptions, load_module};

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
    spec: ModelSpec,
    model: VisionLanguageModel<B>,
    words: Words,
    preprocess: Option<PreprocessConfig>,
    device: B::Device,
    context_length: usize,
    kernels: KernelPolicy,
    load_report: LoadReport,
    load_time: Duration,
}

impl<B: VlmBackend> MultimodalPipeline<B> {
    /// Opens the model in a folder, on the backend's default device.
    ///
    /// # Errors
    ///
    /// [`ConfigError::UnknownModel`] when the folder holds nothing this crate can run, and another
    /// [`Error`] when one of its files is damaged or the device refuses the weights.
    pub fn open(folder: impl AsRef<Path>, options: &LoadOptions) -> Result<Self> {
        Self::open_on(folder, &B::Device::default(), options)
    }

    /// As [`open`](Self::open), on a device.
    ///
    /// # Errors
    ///
    /// As [`open`](Self::open).
    pub fn open_on(
        folder: impl AsRef<Path>,
        device: &B::Device,
        options: &LoadOptions,
    ) -> Result<Self> {
        let (folder, started) = (folder.as_ref(), Instant::now());
        let mut spec = ModelSpec::read(folder)?;
        spec.config.decoder.rope.precision = options.rope_precision;
        let context_length = context_length(&spec, options.context_length)?;
        let words = open_words(folder, &spec)?;
        let preprocess = match &spec.config.vision {
            Some(vision) => Some(open_preprocess(folder, vision)?),
            None => None,
        };
        let checkpoint = Checkpoint::open(folder)?;
        let (model, load_report) = load_weights(&checkpoint, &spec, device, options)?;
        Ok(Self {
            inner: Arc::new(Inner {
                identity: Arc::default(),
                spec,
                model,
                words,
                preprocess,
                device: device.clone(),
                context_length,
                kernels: options.kernels,
                load_report,
                load_time: started.elapsed(),
            }),
        })
    }

    /// Encodes a picture, for any number of questions.
    ///
    /// # Errors
    ///
    /// [`RequestError::TextOnlyModel`] when the model has no eyes, an
    /// [`ImageError`](crate::ImageError) when the picture cannot be prepared, [`DeviceError`] when
    /// the device fails.
    pub fn encode(&self, image: &ImageInput) -> Result<EncodedImage<B>> {
        let started = Instant::now();
        let pixel_values = self.preprocess(image)?;
        let image_time = started.elapsed();
        let shape = pixel_values.shape();
        let data = TensorData::new(pixel_values.into_data(), shape);
        let tiles = Tensor::from_data(data, (&self.inner.device, DType::F32));
        let (rows, kernels) = self.encode_traced(tiles)?;
        let encode_time = started.elapsed() - image_time;
        Ok(EncodedImage::new(
            self.inner.identity.clone(),
            rows,
            image_time,
            encode_time,
            kernels,
        ))
    }

    /// Prepares the pixels of a picture, the first half of [`encode`](Self::encode).
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    pub fn preprocess(&self, image: &ImageInput) -> Result<PixelValues> {
        let preprocess = self.inner.preprocess.as_ref();
        preprocess
            .ok_or_else(|| self.text_only(1))?
            .preprocess(image)
    }

    /// Encodes and projects prepared tiles, the second half of [`encode`](Self::encode).
    ///
    /// # Shapes
    /// - `tiles`: `[num_tiles, 3, image_size, image_size]`
    /// - output: `[num_tiles * rows_per_tile, hidden_size]`
    ///
    /// # Errors
    ///
    /// As [`encode`](Self::encode).
    ///
    /// # Panics
    ///
    /// If the tiles are not of the encoder's size.
    pub fn encode_tiles(&self, tiles: Tensor<B, 4>) -> Result<Tensor<B, 2>> {
        self.encode_traced(tiles).map(|(rows, _)| rows)
    }

    /// The rows of prepared tiles, and which kernels computed them.
    fn encode_traced(&self, tiles: Tensor<B, 4>) -> Result<(Tensor<B, 2>, KernelReport)> {
        let inner = &*self.inner;
        let (Some(encoder), Some(projector)) =
            (&inner.model.visual_encoder, &inner.model.projector)
        else {
            return Err(self.text_only(1));
        };
        let (rows, kernels) = KernelTrace::collect(|| projector.forward(encoder.forward(tiles)));
        if inner.kernels == KernelPolicy::Strict {
            kernels.check_strict()?;
        }
        let [num_tiles, rows_per_tile, hidden_size] = rows.dims();
        B::sync(&inner.device).map_err(|error| DeviceError::Failed {
            stage: "encode",
            reason: error.to_string(),
        })?;
        let rows = rows.reshape([num_tiles * rows_per_tile, hidden_size]);
        Ok((rows, kernels))
    }

    /// Answers a question about one picture, greedily.
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
    /// template does not fit the messages, [`DeviceError`] when the device fails.
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
        let images = self.encode_all(&request.images)?;
        let prompt = self.read_messages(&request.all_messages(), &images, &request.settings)?;
        let options = self.generation_options(&request.settings, prompt.len())?;
        // Before a cache is made that could not be used.
        check_room(prompt.len(), options.max_new_tokens, self.context_length())?;
        // Allocators reuse blocks of a size they know, so sizes come in steps. Few answers are as
        // long as they may be.
        let expected = prompt.len() + options.max_new_tokens.min(DEFAULT_MAX_NEW_TOKENS);
        let sequence = self.sequence(expected.next_multiple_of(64));
        AnswerStream::new(self, sequence, prompt, &images, options)
    }

    /// Starts a conversation that keeps its cache from turn to turn.
    pub fn session(&self) -> Session<B> {
        Session::new(self.clone())
    }

    /// The prompt of a request as the decoder would read it: the ids, with the model's image token
    /// repeated where rows of pictures go.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn prompt<I: RequestImage<B>>(&self, request: &AskRequest<I>) -> Result<PromptTokens> {
        let images = self.encode_all(&request.images)?;
        self.tokenize(
            &request.all_messages(),
            &images,
            request.settings.template.as_deref(),
        )
    }

    /// The model's modules.
    pub fn model(&self) -> &VisionLanguageModel<B> {
        &self.inner.model
    }

    /// The model's family and configuration.
    pub fn spec(&self) -> &ModelSpec {
        &self.inner.spec
    }

    /// The model's tokenizer.
    pub fn tokenizer(&self) -> &Tokenizer {
        &self.inner.words.tokenizer
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
        self.inner.context_length
    }

    /// What was loaded from the checkpoint, and what was left.
    pub fn load_report(&self) -> &LoadReport {
        &self.inner.load_report
    }

    /// How long it took to open the model.
    pub fn load_time(&self) -> Duration {
        self.inner.load_time
    }

    pub(super) fn encode_all<I: RequestImage<B>>(
        &self,
        images: &[I],
    ) -> Result<Vec<EncodedImage<B>>> {
        if !images.is_empty() && self.inner.preprocess.is_none() {
            return Err(self.text_only(images.len()));
        }
        let images = images.iter().map(|image| {
            let image = image.encoded(self)?;
            match image.is_of(&self.inner.identity) {
                true => Ok(image),
                false => Err(RequestError::ForeignImage.into()),
            }
        });
        images.collect()
    }

    /// From messages to what the decoder reads.
    pub(super) fn read_messages(
        &self,
        messages: &[Message],
        images: &[EncodedImage<B>],
        settings: &AnswerSettings,
    ) -> Result<DecoderInput<B>> {
        let tokens = self.tokenize(messages, images, settings.template.as_deref())?;
        Ok(decoder_input(tokens, images))
    }

    fn tokenize(
        &self,
        messages: &[Message],
        images: &[EncodedImage<B>],
        template: Option<&str>,
    ) -> Result<PromptTokens> {
        let rows: Vec<usize> = images.iter().map(EncodedImage::num_rows).collect();
        self.inner
            .words
            .prompt(&self.inner.spec, template, messages, &rows)
    }

    pub(super) fn generation_options(
        &self,
        settings: &AnswerSettings,
        prompt_tokens: usize,
    ) -> Result<GenerationOptions> {
        let inner = &*self.inner;
        let template = settings.template.as_deref();
        let of_template = inner.words.stop_strings(&inner.spec, template)?;
        let mut stop_strings = settings.stop.clone();
        stop_strings.extend(of_template.iter().map(|stop| (*stop).to_string()));
        let mut end_of_text_ids = inner.spec.config.eos_token_ids.clone();
        end_of_text_ids.extend(inner.words.tokenizer.eos_id());
        Ok(GenerationOptions {
            sampling: settings.sampling,
            seed: settings.seed,
            max_new_tokens: self.max_new_tokens(settings.max_new_tokens, prompt_tokens),
            stop: StopRules {
                end_of_text_ids,
                stop_token_ids: settings.stop_token_ids.clone(),
                stop_strings,
            },
            deadline: settings.deadline,
            cancel: settings.cancel.clone(),
            is_strict: inner.kernels == KernelPolicy::Strict,
        })
    }

    /// The room that was asked for, or what there is of the usual one.
    fn max_new_tokens(&self, asked: Option<usize>, prompt_tokens: usize) -> usize {
        asked.unwrap_or_else(|| {
            // The last token of an answer is never read back.
            let room = (self.inner.context_length + 1).saturating_sub(prompt_tokens);
            DEFAULT_MAX_NEW_TOKENS.min(room).max(1)
        })
    }

    /// An answer without its text: what is known before the first token.
    pub(super) fn usage(&self, prompt: &DecoderInput<B>) -> Usage {
        Usage {
            prompt_tokens: prompt.len(),
            image_tokens: prompt.image_rows(),
            generated_tokens: 0,
        }
    }

    /// An empty sequence with room for `expected` tokens that may grow to the whole context.
    pub(super) fn sequence(&self, expected: usize) -> Sequence<B> {
        let inner = &*self.inner;
        let config = &inner.spec.config.decoder;
        Sequence::growing(config, expected, inner.context_length, &inner.device)
    }

    pub(super) fn timings(&self, images: &[EncodedImage<B>]) -> Timings {
        Timings {
            load: self.inner.load_time,
            image: images.iter().map(EncodedImage::image_time).sum(),
            encode: images.iter().map(EncodedImage::encode_time).sum(),
            ..Timings::default()
        }
    }

    fn text_only(&self, images: usize) -> Error {
        let model = self.inner.spec.family.name.to_string();
        RequestError::TextOnlyModel { images, model }.into()
    }
}

/// The context of the model, or the shorter one asked for.
fn context_length(spec: &ModelSpec, asked: Option<usize>) -> Result<usize> {
    let config = &spec.config.decoder;
    let stretch = match config.rope.scaling {
        // These name the trained context and stretch it; the others name the stretched one.
        RopeScaling::Linear { factor } | RopeScaling::Dynamic { factor, .. } => factor.max(1.0),
        RopeScaling::Default | RopeScaling::Llama3 { .. } => 1.0,
    };
    let longest = (config.max_position_embeddings as f64 * stretch) as usize;
    match asked {
        None => Ok(longest),
        Some(asked) if (1..=longest).contains(&asked) => Ok(asked),
        Some(asked) => Err(ConfigError::OutOfRange {
            field: "context_length".to_string(),
            found: asked.to_string(),
            expected: format!("1 to {longest} tokens, which this checkpoint was made for"),
        }
        .into()),
    }
}

fn open_words(folder: &Path, spec: &ModelSpec) -> Result<Words> {
    let mut tokenizer = Tokenizer::open(folder)?;
    if let Some(vision) = &spec.config.vision
        && let Some(image_token) = tokenizer.token_text(vision.image_token_id)
    {
        tokenizer = tokenizer.with_control_token(&image_token)?;
    }
    let chat_template = ChatTemplate::open(folder)?;
    let named = TEMPLATES.iter().flat_map(ConversationTemplate::texts);
    let mut formats: Vec<&str> = named.collect();
    formats.extend(chat_template.as_ref().map(ChatTemplate::source));
    tokenizer = tokenizer.with_control_tokens_of(&formats)?;
    Ok(Words {
        tokenizer,
        chat_template,
    })
}

/// Reads how pictures are prepared, and checks that this gives what the encoder reads.
fn open_preprocess(folder: &Path, vision: &VisionConfig) -> Result<PreprocessConfig> {
    const PROCESSOR: &str = "processor_config.json";
    let image_size = vision.encoder.image_size;
    let mut config = None;
    for name in ["preprocessor_config.json", PROCESSOR] {
        if let Some(bytes) = read_config(folder, name)? {
            match PreprocessConfig::from_json(&folder.join(name), &bytes) {
                Ok(found) => config = Some(found),
                // Older processors keep nothing about pictures in their own file.
                Err(Error::Config(ConfigError::Missing { .. })) if name == PROCESSOR => {}
                Err(error) => return Err(error),
            }
        }
        if config.is_some() {
            break;
        }
    }
    let config = match config {
        Some(config) => config,
        None => {
            log::warn!(
                "{}: no file says how pictures are prepared; CLIP's way is taken",
                folder.display()
            );
            PreprocessConfig::clip(image_size)?
        }
    };
    let found = config.output_size();
    match found.is_some_and(|size| [size.height, size.width] == [image_size; 2]) {
        true => Ok(config),
        false => Err(ConfigError::OutOfRange {
            field: "crop_size".to_string(),
            found: found.map_or("unset".to_string(), |s| {
                format!("{} x {}", s.height, s.width)
            }),
            expected: format!("{image_size} x {image_size}, the encoder's image_size"),
        }
        .into()),
    }
}

fn load_weights<B: VlmBackend>(
    checkpoint: &Checkpoint,
    spec: &ModelSpec,
    device: &B::Device,
    options: &LoadOptions,
) -> Result<(VisionLanguageModel<B>, LoadReport)> {
    let weights = WeightOptions::default()
        .with_matrices(options.weights)
        .with_strictness(options.strictness);
    let model = spec.config.init::<B>(device);
    let Some(progress) = &options.progress else {
        return load_module(model, checkpoint, &spec.config.key_map, weights);
    };
    let mut progress = |step: crate::weights::LoadProgress<'_>| progress(step);
    load_module(
        model,
        checkpoint,
        &spec.config.key_map,
        weights.with_progress(&mut progress),
    )
}
