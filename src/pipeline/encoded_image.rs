//! A picture as the decoder reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::image_rows::ImageContent;
use super::multimodal::MultimodalPipeline;
use crate::error::{RequestError, Result};
use crate::image::ImageInput;
use crate::kernels::{GoOn, KernelReport, VlmBackend};
use crate::models::ImageLayout;

/// Tells one opened pipeline from another. Its clones share it.
pub(super) type Identity = Arc<()>;

/// A picture that was encoded, on the device: its rows of the decoder's width, or, for a model that
/// reads the question into them, the features they are made of.
///
/// Encoding is the same whatever is asked, so keep this and ask again, the pipeline that encoded it
/// or a clone of that. Clones share the tensors.
#[derive(Debug, Clone)]
pub struct EncodedImage<B: VlmBackend> {
    inner: Arc<Inner<B>>,
}

#[derive(Debug)]
struct Inner<B: VlmBackend> {
    key: u64,
    /// The pipeline that encoded it.
    owner: Identity,
    layout: ImageLayout,
    content: ImageContent<B>,
    cost: Cost,
}

/// A number that was never given before.
///
/// A cache may outlive the pictures it was read from, so a key is never given twice; an address would
/// be.
pub(super) fn next_key() -> u64 {
    static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
    NEXT_KEY.fetch_add(1, Ordering::Relaxed)
}

/// What encoding a picture took.
#[derive(Debug)]
pub(super) struct Cost {
    pub(super) image_time: Duration,
    pub(super) encode_time: Duration,
    pub(super) kernels: KernelReport,
}

impl<B: VlmBackend> EncodedImage<B> {
    pub(super) fn new(
        owner: Identity,
        layout: ImageLayout,
        content: ImageContent<B>,
        cost: Cost,
    ) -> Self {
        Self {
            inner: Arc::new(Inner {
                key: next_key(),
                owner,
                layout,
                content,
                cost,
            }),
        }
    }

    /// Tokens that the picture takes in a prompt.
    pub fn num_rows(&self) -> usize {
        self.inner.layout.num_rows()
    }

    /// How it was cut, and what stands for it in a prompt.
    pub fn layout(&self) -> &ImageLayout {
        &self.inner.layout
    }

    /// Time taken to prepare its pixels.
    pub fn image_time(&self) -> Duration {
        self.inner.cost.image_time
    }

    /// Time taken to encode and project it.
    pub fn encode_time(&self) -> Duration {
        self.inner.cost.encode_time
    }

    /// Which kernels encoded and projected it.
    pub fn kernels(&self) -> &KernelReport {
        &self.inner.cost.kernels
    }

    /// # Errors
    /// [`RequestError::ForeignImage`] if another pipeline encoded it.
    pub(super) fn require_owner(&self, pipeline: &MultimodalPipeline<B>) -> Result<()> {
        match Arc::ptr_eq(&self.inner.owner, pipeline.identity()) {
            true => Ok(()),
            false => Err(RequestError::ForeignImage.into()),
        }
    }

    pub(super) fn content(&self) -> &ImageContent<B> {
        &self.inner.content
    }

    /// Tells this picture from every other, also from those that are gone.
    pub(super) fn key(&self) -> u64 {
        self.inner.key
    }
}

/// What can stand as a picture in a request to a [`MultimodalPipeline`].
pub trait RequestImage<B: VlmBackend> {
    /// How the picture is cut and what stands for it in a prompt; nothing is encoded for it.
    ///
    /// # Errors
    /// If it does not belong to this pipeline, or the model reads text only.
    fn plan(&self, pipeline: &MultimodalPipeline<B>) -> Result<ImageLayout>;

    /// The picture as the decoder reads it; `None` where `go_on` broke while it was encoded.
    ///
    /// # Errors
    /// If it has to be encoded and cannot be.
    fn encoded(
        &self,
        pipeline: &MultimodalPipeline<B>,
        go_on: GoOn<'_>,
    ) -> Result<Option<EncodedImage<B>>>;
}

impl<B: VlmBackend> RequestImage<B> for EncodedImage<B> {
    fn plan(&self, pipeline: &MultimodalPipeline<B>) -> Result<ImageLayout> {
        self.require_owner(pipeline)?;
        Ok(self.inner.layout.clone())
    }

    fn encoded(
        &self,
        pipeline: &MultimodalPipeline<B>,
        _: GoOn<'_>,
    ) -> Result<Option<EncodedImage<B>>> {
        self.require_owner(pipeline)?;
        Ok(Some(self.clone()))
    }
}

impl<B: VlmBackend> RequestImage<B> for ImageInput {
    fn plan(&self, pipeline: &MultimodalPipeline<B>) -> Result<ImageLayout> {
        pipeline.layout(self.size())
    }

    fn encoded(
        &self,
        pipeline: &MultimodalPipeline<B>,
        go_on: GoOn<'_>,
    ) -> Result<Option<EncodedImage<B>>> {
        pipeline.encode_while(self, go_on)
    }
}
