//! A picture as the decoder reads it.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use burn::tensor::Tensor;

use super::multimodal::MultimodalPipeline;
use crate::error::Result;
use crate::image::ImageInput;
use crate::kernels::{KernelReport, VlmBackend};

/// Tells one opened pipeline from another. Its clones share it.
pub(super) type Identity = Arc<()>;

/// A picture that was encoded and projected: rows of the decoder's width, on the device.
///
/// Encoding is the same whatever is asked, so keep this and ask again, the pipeline that encoded it
/// or a clone of that. Clones share the rows.
#[derive(Debug, Clone)]
pub struct EncodedImage<B: VlmBackend> {
    inner: Arc<Inner<B>>,
}

#[derive(Debug)]
struct Inner<B: VlmBackend> {
    key: u64,
    /// The pipeline that encoded it.
    owner: Identity,
    rows: Tensor<B, 2>,
    image_time: Duration,
    encode_time: Duration,
    kernels: KernelReport,
}

impl<B: VlmBackend> EncodedImage<B> {
    pub(super) fn new(
        owner: Identity,
        rows: Tensor<B, 2>,
        image_time: Duration,
        encode_time: Duration,
        kernels: KernelReport,
    ) -> Self {
        // A cache may outlive the pictures it was read from, so a key is never given twice; an address
        // would be.
        static NEXT_KEY: AtomicU64 = AtomicU64::new(0);
        let key = NEXT_KEY.fetch_add(1, Ordering::Relaxed);
        Self {
            inner: Arc::new(Inner {
                key,
                owner,
                rows,
                image_time,
                encode_time,
                kernels,
            }),
        }
    }

    /// The rows.
    ///
    /// # Shapes
    /// - `[num_rows, hidden_size]`
    pub fn rows(&self) -> Tensor<B, 2> {
        self.inner.rows.clone()
    }

    /// Tokens that the picture takes in a prompt.
    pub fn num_rows(&self) -> usize {
        let [num_rows, _] = self.inner.rows.dims();
        num_rows
    }

    /// Time taken to prepare its pixels.
    pub fn image_time(&self) -> Duration {
        self.inner.image_time
    }

    /// Time taken to encode and project it.
    pub fn encode_time(&self) -> Duration {
        self.inner.encode_time
    }

    /// Which kernels encoded and projected it.
    pub fn kernels(&self) -> &KernelReport {
        &self.inner.kernels
    }

    pub(super) fn is_of(&self, pipeline: &Identity) -> bool {
        Arc::ptr_eq(&self.inner.owner, pipeline)
    }

    /// Tells this picture from every other, also from those that are gone.
    pub(super) fn key(&self) -> u64 {
        self.inner.key
    }
}

/// What can stand as a picture in a request to a [`MultimodalPipeline`].
pub trait RequestImage<B: VlmBackend> {
    /// The picture as the decoder reads it.
    ///
    /// # Errors
    /// If it has to be encoded and cannot be.
    fn encoded(&self, pipeline: &MultimodalPipeline<B>) -> Result<EncodedImage<B>>;
}

impl<B: VlmBackend> RequestImage<B> for EncodedImage<B> {
    fn encoded(&self, _: &MultimodalPipeline<B>) -> Result<EncodedImage<B>> {
        Ok(self.clone())
    }
}

impl<B: VlmBackend> RequestImage<B> for ImageInput {
    fn encoded(&self, pipeline: &MultimodalPipeline<B>) -> Result<EncodedImage<B>> {
        pipeline.encode(self)
    }
}
