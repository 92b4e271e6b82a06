//! How a model is opened.

use std::fmt;
use std::sync::Arc;

use crate::nn::RopePrecision;
use crate::weights::{LoadProgress, Strictness, WeightType};

/// How a model is opened. The default: f32 weights, the checkpoint's own context, strict.
///
/// # Examples
/// ```
/// use burn_vlm::LoadOptions;
/// use burn_vlm::weights::WeightType;
///
/// let options = LoadOptions::new().with_weights(WeightType::BF16).with_context_length(2048);
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct LoadOptions {
    pub(super) weights: WeightType,
    pub(super) context_length: Option<usize>,
    pub(super) strictness: Strictness,
    pub(super) kernels: KernelPolicy,
    pub(super) rope_precision: RopePrecision,
    pub(super) progress: Option<Arc<Progress>>,
}

type Progress = dyn Fn(LoadProgress<'_>) + Send + Sync;

/// What happens where the device has no kernel for an operation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum KernelPolicy {
    /// The reference body answers, and the answer's report says so.
    #[default]
    Fallback,
    /// The request fails with [`DeviceError::KernelRefused`](crate::DeviceError::KernelRefused).
    Strict,
}

impl LoadOptions {
    /// The defaults.
    pub fn new() -> Self {
        Self::default()
    }

    /// What linear and embedding weights are kept in. Activations, norms and sums are f32.
    #[must_use]
    pub fn with_weights(mut self, weights: WeightType) -> Self {
        self.weights = weights;
        self
    }

    /// Tokens that a prompt and its answer may have together: at most what the checkpoint was made
    /// for. Less takes less memory in a session.
    #[must_use]
    pub fn with_context_length(mut self, tokens: usize) -> Self {
        self.context_length = Some(tokens);
        self
    }

    /// What counts as a checkpoint that fits the model.
    #[must_use]
    pub fn with_strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }

    /// What the rotary frequencies are rounded to. Only to compare with a reference that rounded
    /// them too.
    #[must_use]
    pub fn with_rope_precision(mut self, precision: RopePrecision) -> Self {
        self.rope_precision = precision;
        self
    }

    /// What happens where the device has no kernel for an operation.
    #[must_use]
    pub fn with_kernels(mut self, kernels: KernelPolicy) -> Self {
        self.kernels = kernels;
        self
    }

    /// Calls `progress` after every tensor that was loaded.
    #[must_use]
    pub fn with_progress(
        mut self,
        progress: impl Fn(LoadProgress<'_>) + Send + Sync + 'static,
    ) -> Self {
        self.progress = Some(Arc::new(progress));
        self
    }
}

impl fmt::Debug for LoadOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoadOptions")
            .field("weights", &self.weights)
            .field("context_length", &self.context_length)
            .field("strictness", &self.strictness)
            .field("kernels", &self.kernels)
            .field("rope_precision", &self.rope_precision)
            .field("has_progress", &self.progress.is_some())
            .finish()
    }
}
