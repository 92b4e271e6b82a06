//! Pictures for a pipeline whose backend is chosen at run time.

use std::any::Any;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use crate::error::{RequestError, Result};
use crate::image::ImageInput;
use crate::kernels::{GoOn, KernelReport, VlmBackend};
use crate::models::ImageLayout;
use crate::pipeline::encoded_image::{EncodedImage, RequestImage};
use crate::pipeline::multimodal::MultimodalPipeline;
use crate::pipeline::request::AskRequest;

/// A picture in a request to an [`AnyPipeline`](super::AnyPipeline).
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum AnyImage {
    /// Encoded for this request.
    Input(ImageInput),
    /// Encoded before.
    Encoded(AnyEncodedImage),
}

/// An [`EncodedImage`] of some backend. Clones share its rows.
#[derive(Debug, Clone)]
pub struct AnyEncodedImage {
    image: Arc<dyn ErasedImage>,
}

trait ErasedImage: Any + Debug + Send + Sync {
    fn num_rows(&self) -> usize;
    fn layout(&self) -> &ImageLayout;
    fn image_time(&self) -> Duration;
    fn encode_time(&self) -> Duration;
    fn kernels(&self) -> &KernelReport;
}

impl<B: VlmBackend> ErasedImage for EncodedImage<B> {
    fn num_rows(&self) -> usize {
        self.num_rows()
    }

    fn layout(&self) -> &ImageLayout {
        self.layout()
    }

    fn image_time(&self) -> Duration {
        self.image_time()
    }

    fn encode_time(&self) -> Duration {
        self.encode_time()
    }

    fn kernels(&self) -> &KernelReport {
        self.kernels()
    }
}

impl AnyEncodedImage {
    /// Tokens that the picture takes in a prompt.
    pub fn num_rows(&self) -> usize {
        self.image.num_rows()
    }

    /// How it was cut, and what stands for it in a prompt.
    pub fn layout(&self) -> &ImageLayout {
        self.image.layout()
    }

    /// Time taken to prepare its pixels.
    pub fn image_time(&self) -> Duration {
        self.image.image_time()
    }

    /// Time taken to encode and project it.
    pub fn encode_time(&self) -> Duration {
        self.image.encode_time()
    }

    /// Which kernels encoded and projected it.
    pub fn kernels(&self) -> &KernelReport {
        self.image.kernels()
    }

    /// The picture as its backend's pipeline takes it.
    fn typed<B: VlmBackend>(&self) -> Result<&EncodedImage<B>> {
        let image: &dyn Any = &*self.image;
        let image = image.downcast_ref();
        image.ok_or_else(|| RequestError::ForeignImage.into())
    }
}

impl AnyImage {
    /// The picture as a pipeline of the backend `B` takes it.
    fn typed<B: VlmBackend>(&self) -> Result<&dyn RequestImage<B>> {
        Ok(match self {
            Self::Input(image) => image,
            Self::Encoded(image) => image.typed::<B>()?,
        })
    }

    /// The same request over pictures of either kind.
    pub(super) fn request<I: Clone + Into<Self>>(request: &AskRequest<I>) -> AskRequest<Self> {
        request.map_images(|image| image.clone().into())
    }
}

impl<B: VlmBackend> From<EncodedImage<B>> for AnyEncodedImage {
    fn from(image: EncodedImage<B>) -> Self {
        Self {
            image: Arc::new(image),
        }
    }
}

impl From<ImageInput> for AnyImage {
    fn from(image: ImageInput) -> Self {
        Self::Input(image)
    }
}

impl From<AnyEncodedImage> for AnyImage {
    fn from(image: AnyEncodedImage) -> Self {
        Self::Encoded(image)
    }
}

impl<B: VlmBackend> RequestImage<B> for AnyImage {
    fn plan(&self, pipeline: &MultimodalPipeline<B>) -> Result<ImageLayout> {
        self.typed()?.plan(pipeline)
    }

    fn encoded(
        &self,
        pipeline: &MultimodalPipeline<B>,
        go_on: GoOn<'_>,
    ) -> Result<Option<EncodedImage<B>>> {
        self.typed()?.encoded(pipeline, go_on)
    }
}
