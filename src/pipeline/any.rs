//! A pipeline whose backend is chosen at run time.

use std::path::Path;

use super::answer::Answer;
use super::device::DeviceName;
use super::encoded_image::{EncodedImage, RequestImage};
use super::load_options::LoadOptions;
use super::multimodal::MultimodalPipeline;
use super::request::AskRequest;
use super::session::{Session, SessionStream};
use super::stream::AnswerStream;
#[cfg(feature = "flex")]
use crate::backend::Cpu;
#[cfg(feature = "cuda")]
use crate::backend::Cuda;
#[cfg(feature = "wgpu")]
use crate::backend::Wgpu;
use crate::error::{CheckpointError, DeviceError, Error, RequestError, Result};
use crate::generation::FinishReason;
use crate::image::ImageInput;
use crate::kernels::VlmBackend;

/// One value of each backend that is compiled in.
macro_rules! each_backend {
    ($(#[$doc:meta])* $visibility:vis enum $name:ident$(<$lifetime:lifetime>)? of $inner:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        #[allow(
            clippy::large_enum_variant,
            reason = "there is one of them in a program"
        )]
        $visibility enum $name$(<$lifetime>)? {
            #[cfg(feature = "flex")]
            Cpu($inner<$($lifetime,)? Cpu>),
            #[cfg(feature = "wgpu")]
            Wgpu($inner<$($lifetime,)? Wgpu>),
            #[cfg(feature = "cuda")]
            Cuda($inner<$($lifetime,)? Cuda>),
        }
    };
}

/// The same expression for whichever backend a value is of.
macro_rules! on_backend {
    ($enum:ident: $value:expr, $inner:ident => $body:expr) => {
        match $value {
            #[cfg(feature = "flex")]
            $enum::Cpu($inner) => $body,
            #[cfg(feature = "wgpu")]
            $enum::Wgpu($inner) => $body,
            #[cfg(feature = "cuda")]
            $enum::Cuda($inner) => $body,
        }
    };
}

/// The same expression for whichever backend a value is of, wrapped as another value of it.
macro_rules! map_backend {
    ($enum:ident: $value:expr, $inner:ident => $to:ident: $body:expr) => {
        match $value {
            #[cfg(feature = "flex")]
            $enum::Cpu($inner) => $to::Cpu($body),
            #[cfg(feature = "wgpu")]
            $enum::Wgpu($inner) => $to::Wgpu($body),
            #[cfg(feature = "cuda")]
            $enum::Cuda($inner) => $to::Cuda($body),
        }
    };
}

each_backend! {
    /// The pipeline itself.
    enum Backend of MultimodalPipeline
}
each_backend! {
    enum BackendSession of Session
}
each_backend! {
    enum BackendStream<'a> of AnswerStreamOf
}
each_backend! {
    enum BackendSessionStream<'a> of SessionStream
}
type AnswerStreamOf<'a, B> = AnswerStream<'a, B>;

/// Answers questions about pictures on a device that is named when the program runs.
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
#[derive(Debug)]
pub struct AnyPipeline {
    backend: Backend,
    chosen: DeviceName,
    passed_over: Vec<String>,
}

/// A picture for an [`AnyPipeline`].
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AnyImage {
    /// Not encoded yet.
    Input(ImageInput),
    /// Encoded on the CPU.
    #[cfg(feature = "flex")]
    Cpu(EncodedImage<Cpu>),
    /// Encoded through `wgpu`.
    #[cfg(feature = "wgpu")]
    Wgpu(EncodedImage<Wgpu>),
    /// Encoded on a CUDA device.
    #[cfg(feature = "cuda")]
    Cuda(EncodedImage<Cuda>),
}

impl From<ImageInput> for AnyImage {
    fn from(image: ImageInput) -> Self {
        Self::Input(image)
    }
}

/// What [`AnyPipeline::visit`] runs: code that is generic over the backend.
pub trait PipelineVisitor {
    /// What it returns.
    type Output;

    /// Runs over the pipeline of whichever backend was chosen.
    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> Self::Output;
}

impl AnyPipeline {
    /// Opens the model in a folder on the first of the devices that `device` names, that is there
    /// and that takes the weights. A model that is damaged is an error at once: another device
    /// would not help.
    ///
    /// # Errors
    ///
    /// [`DeviceError::Unavailable`] when no device is there, with what was tried; otherwise as
    /// [`MultimodalPipeline::open`].
    pub fn open(
        folder: impl AsRef<Path>,
        device: DeviceName,
        options: &LoadOptions,
    ) -> Result<Self> {
        let is_fallback = device == DeviceName::Auto;
        let mut passed_over = Vec::new();
        for candidate in device.candidates() {
            if let Err(reason) = available(candidate, is_fallback) {
                passed_over.push(format!("{candidate}: {reason}"));
                continue;
            }
            match open_backend(folder.as_ref(), candidate, options) {
                Ok(backend) => {
                    return Ok(Self {
                        backend,
                        chosen: candidate,
                        passed_over,
                    });
                }
                Err(error) if is_fallback && is_of_the_device(&error) => {
                    passed_over.push(format!("{candidate}: {error}"));
                }
                Err(error) => return Err(error),
            }
        }
        Err(DeviceError::Unavailable { tried: passed_over }.into())
    }

    /// The device that was chosen.
    pub fn device(&self) -> DeviceName {
        self.chosen
    }

    /// The devices that would have come first, each with the reason it was passed over.
    pub fn passed_over(&self) -> &[String] {
        &self.passed_over
    }

    /// The backend and the device, in words.
    pub fn device_name(&self) -> String {
        on_backend!(Backend: &self.backend, pipeline => pipeline.device_name())
    }

    /// Encodes a picture, for any number of questions. See [`MultimodalPipeline::encode`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn encode(&self, image: &ImageInput) -> Result<AnyImage> {
        Ok(map_backend!(Backend: &self.backend, pipeline => AnyImage: pipeline.encode(image)?))
    }

    /// Answers a question about one picture, greedily.
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn ask(&self, image: &AnyImage, question: &str) -> Result<Answer> {
        self.answer(&AskRequest::new().image(image.clone()).user(question))
    }

    /// Answers a request. See [`MultimodalPipeline::answer`].
    ///
    /// # Errors
    ///
    /// As there.
    pub fn answer<I: Clone + Into<AnyImage>>(&self, request: &AskRequest<I>) -> Result<Answer> {
        self.stream(request)?.finish()
    }

    /// Answers a request piece by piece. See [`MultimodalPipeline::stream`].
    ///
    /// # Errors
    ///
    /// As [`answer`](Self::answer).
    pub fn stream<I: Clone + Into<AnyImage>>(
        &self,
        request: &AskRequest<I>,
    ) -> Result<AnyAnswerStream<'_>> {
        let request = any_request(request);
        let stream = map_backend!(
            Backend: &self.backend, pipeline => BackendStream: pipeline.stream(&request)?
        );
        Ok(AnyAnswerStream {
            stream: Stream::Answer(stream),
        })
    }

    /// Starts a conversation that keeps its cache from turn to turn.
    pub fn session(&self) -> AnySession {
        AnySession {
            session: map_backend!(
                Backend: &self.backend, pipeline => BackendSession: pipeline.session()
            ),
        }
    }

    /// Runs code that is generic over the backend.
    pub fn visit<V: PipelineVisitor>(&self, visitor: V) -> V::Output {
        on_backend!(Backend: &self.backend, pipeline => visitor.visit(pipeline))
    }
}

/// A conversation on an [`AnyPipeline`]. See [`Session`].
#[derive(Debug)]
pub struct AnySession {
    session: BackendSession,
}

impl AnySession {
    /// Asks one more question, greedily.
    ///
    /// # Errors
    ///
    /// As [`Session::turn`].
    pub fn ask(&mut self, question: &str) -> Result<Answer> {
        self.turn(&AskRequest::text(question))
    }

    /// Adds the request's messages to the conversation and answers.
    ///
    /// # Errors
    ///
    /// As [`Session::turn`].
    pub fn turn<I: Clone + Into<AnyImage>>(&mut self, request: &AskRequest<I>) -> Result<Answer> {
        self.stream(request)?.finish()
    }

    /// As [`turn`](Self::turn), piece by piece.
    ///
    /// # Errors
    ///
    /// As [`Session::stream`].
    pub fn stream<I: Clone + Into<AnyImage>>(
        &mut self,
        request: &AskRequest<I>,
    ) -> Result<AnyAnswerStream<'_>> {
        let request = any_request(request);
        let stream = map_backend!(
            BackendSession: &mut self.session,
            session => BackendSessionStream: session.stream(&request)?
        );
        Ok(AnyAnswerStream {
            stream: Stream::Session(stream),
        })
    }

    /// Takes the last question and its answer back; returns whether there was one.
    pub fn undo(&mut self) -> bool {
        on_backend!(BackendSession: &mut self.session, session => session.undo())
    }

    /// What was said so far.
    pub fn messages(&self) -> &[crate::text::Message] {
        on_backend!(BackendSession: &self.session, session => session.messages())
    }
}

/// The answer of an [`AnyPipeline`] or an [`AnySession`], piece by piece.
#[derive(Debug)]
pub struct AnyAnswerStream<'a> {
    stream: Stream<'a>,
}

#[derive(Debug)]
#[allow(
    clippy::large_enum_variant,
    reason = "there is one of them in an answer"
)]
enum Stream<'a> {
    Answer(BackendStream<'a>),
    Session(BackendSessionStream<'a>),
}

impl AnyAnswerStream<'_> {
    /// Generates what is left and returns the whole answer.
    ///
    /// # Errors
    ///
    /// As [`MultimodalPipeline::answer`].
    pub fn finish(self) -> Result<Answer> {
        match self.stream {
            Stream::Answer(stream) => {
                on_backend!(BackendStream: stream, stream => stream.finish())
            }
            Stream::Session(stream) => {
                on_backend!(BackendSessionStream: stream, stream => stream.finish())
            }
        }
    }

    /// The text so far.
    pub fn text(&self) -> &str {
        match &self.stream {
            Stream::Answer(stream) => on_backend!(BackendStream: stream, stream => stream.text()),
            Stream::Session(stream) => {
                on_backend!(BackendSessionStream: stream, stream => stream.text())
            }
        }
    }

    /// Why the answer ended, once it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        match &self.stream {
            Stream::Answer(stream) => {
                on_backend!(BackendStream: stream, stream => stream.finish_reason())
            }
            Stream::Session(stream) => {
                on_backend!(BackendSessionStream: stream, stream => stream.finish_reason())
            }
        }
    }
}

impl Iterator for AnyAnswerStream<'_> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        match &mut self.stream {
            Stream::Answer(stream) => on_backend!(BackendStream: stream, stream => stream.next()),
            Stream::Session(stream) => {
                on_backend!(BackendSessionStream: stream, stream => stream.next())
            }
        }
    }
}

fn any_request<I: Clone + Into<AnyImage>>(request: &AskRequest<I>) -> AskRequest<AnyImage> {
    request.map_images(request.images.iter().cloned().map(Into::into).collect())
}

/// Whether another device may take what this one refused.
fn is_of_the_device(error: &Error) -> bool {
    matches!(
        error,
        Error::Device(_) | Error::Checkpoint(CheckpointError::WeightType { .. })
    )
}

/// Whether a device is there and, for a fallback, worth using.
fn available(device: DeviceName, is_fallback: bool) -> Result<(), String> {
    let not_built = |feature: &str| Err(format!("built without the feature `{feature}`"));
    match device {
        DeviceName::Auto => Err("names no single device".to_string()),
        DeviceName::Cpu if cfg!(feature = "flex") => Ok(()),
        DeviceName::Cpu => not_built("flex"),
        DeviceName::Vulkan if !cfg!(feature = "vulkan") => not_built("vulkan"),
        DeviceName::Metal if !cfg!(feature = "metal") => not_built("metal"),
        DeviceName::Wgpu | DeviceName::Vulkan | DeviceName::Metal => {
            wgpu_available(device, is_fallback)
        }
        DeviceName::Cuda(index) => cuda_available(index),
    }
}

#[cfg(feature = "wgpu")]
fn wgpu_available(device: DeviceName, is_fallback: bool) -> Result<(), String> {
    let adapter = crate::backend::probe::wgpu_adapter()?;
    let named = [DeviceName::Vulkan, DeviceName::Metal].contains(&device);
    if named && adapter.api != device.to_string() {
        return Err(format!("`wgpu` uses {} on this system", adapter.api));
    }
    match is_fallback && adapter.is_software {
        true => Err(format!("{} is a software device", adapter.name)),
        false => Ok(()),
    }
}

#[cfg(not(feature = "wgpu"))]
fn wgpu_available(_: DeviceName, _: bool) -> Result<(), String> {
    Err("built without the feature `wgpu`".to_string())
}

#[cfg(feature = "cuda")]
fn cuda_available(index: usize) -> Result<(), String> {
    let count = crate::backend::probe::cuda_devices()?;
    match index < count {
        true => Ok(()),
        false => Err(format!("the CUDA driver sees {count} device(s)")),
    }
}

#[cfg(not(feature = "cuda"))]
fn cuda_available(_: usize) -> Result<(), String> {
    Err("built without the feature `cuda`".to_string())
}

fn open_backend(folder: &Path, device: DeviceName, options: &LoadOptions) -> Result<Backend> {
    match device {
        #[cfg(feature = "flex")]
        DeviceName::Cpu => MultimodalPipeline::open(folder, options).map(Backend::Cpu),
        #[cfg(feature = "wgpu")]
        DeviceName::Wgpu | DeviceName::Vulkan | DeviceName::Metal => {
            MultimodalPipeline::open(folder, options).map(Backend::Wgpu)
        }
        #[cfg(feature = "cuda")]
        DeviceName::Cuda(index) => {
            let device = cubecl::cuda::CudaDevice { index };
            MultimodalPipeline::open_on(folder, &device, options).map(Backend::Cuda)
        }
        #[allow(
            unreachable_patterns,
            reason = "with every backend built, only `auto` is left"
        )]
        other => Err(DeviceError::Unavailable {
            tried: vec![other.to_string()],
        }
        .into()),
    }
}

macro_rules! any_image_on {
    ($feature:literal, $backend:ident) => {
        #[cfg(feature = $feature)]
        impl RequestImage<$backend> for AnyImage {
            fn encoded(
                &self,
                pipeline: &MultimodalPipeline<$backend>,
            ) -> Result<EncodedImage<$backend>> {
                #[allow(unreachable_patterns, reason = "with one backend there is no other")]
                match self {
                    Self::Input(image) => pipeline.encode(image),
                    Self::$backend(image) => Ok(image.clone()),
                    _ => Err(RequestError::ForeignImage.into()),
                }
            }
        }
    };
}
any_image_on!("flex", Cpu);
any_image_on!("wgpu", Wgpu);
any_image_on!("cuda", Cuda);
