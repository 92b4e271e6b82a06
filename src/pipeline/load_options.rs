//! How a model is opened.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use burn::tensor::DType;

use crate::files::FolderLinks;
use crate::nn::RopePrecision;
use crate::weights::{LoadProgress, MatrixType, Strictness};

/// How a model is opened. The default: weights as stored, the checkpoint's own context.
///
/// # Examples
/// ```
/// use burn_vlm::LoadOptions;
/// use burn_vlm::WeightType;
///
/// let options = LoadOptions::new().with_weights(WeightType::BF16).with_context_length(2048);
/// # let _ = options;
/// ```
#[derive(Clone, Default)]
pub struct LoadOptions {
    pub(super) weights: MatrixType,
    pub(super) context_length: Option<usize>,
    pub(super) strictness: Strictness,
    pub(super) links: FolderLinks,
    pub(super) size_allowance: SizeAllowance,
    pub(super) kernels: KernelPolicy,
    pub(super) compute: ComputeType,
    pub(super) cache: Option<ComputeType>,
    pub(super) rope_precision: RopePrecision,
    pub(super) adapters: Vec<PathBuf>,
    pub(super) named_adapters: Vec<(String, PathBuf)>,
    pub(super) eyes: Option<PathBuf>,
    pub(super) saved_weights: Option<PathBuf>,
    pub(super) progress: Option<Arc<Progress>>,
}

type Progress = dyn Fn(LoadProgress<'_>) + Send + Sync;

/// What activations, or cached keys and values, are kept in.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum ComputeType {
    /// Single precision: answers as `transformers` gives them in f32.
    #[default]
    F32,
    /// Half precision: half the memory, and rounding after every layer.
    F16,
    /// The upper half of an f32.
    BF16,
}

impl ComputeType {
    /// Burn's name of this type.
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }
}

/// How many times the usual limits the sizes of a model may be.
#[derive(Debug, Clone, Copy)]
pub(super) struct SizeAllowance(pub(super) f64);

impl Default for SizeAllowance {
    fn default() -> Self {
        Self(1.0)
    }
}

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
    ///
    /// As stored, a model takes the memory of its file, and gives the numbers that it gives in f32.
    /// [`MatrixType::Q8`] and [`MatrixType::Q4`] round the decoder to 8.5 and 4.5 bits an element.
    #[must_use]
    pub fn with_weights(mut self, weights: impl Into<MatrixType>) -> Self {
        self.weights = weights.into();
        self
    }

    /// Tokens that a prompt and its answer may have together: at most what the checkpoint was made
    /// for. Less takes less memory in a session.
    #[must_use]
    pub fn with_context_length(mut self, tokens: usize) -> Self {
        self.context_length = Some(tokens);
        self
    }

    /// Merges a low-rank adapter into the weights while they are loaded: a folder with PEFT's
    /// `adapter_config.json` and `adapter_model.safetensors` or `.bin`. Called more than once, all of
    /// them are added. A matrix that an adapter changes is kept in the wider of the two stored types,
    /// unless [`with_weights`](Self::with_weights) names one.
    #[must_use]
    pub fn with_adapter(mut self, folder: impl Into<PathBuf>) -> Self {
        self.adapters.push(folder.into());
        self
    }

    /// Loads a low-rank adapter beside the weights, for requests that
    /// [name it](crate::AskRequest::adapter): a folder as in [`with_adapter`](Self::with_adapter), of
    /// an adapter that changes the decoder alone. Its two thin matrices are multiplied with what each
    /// layer reads; requests that name none are answered as if it were not there.
    #[must_use]
    pub fn with_named_adapter(
        mut self,
        name: impl Into<String>,
        folder: impl Into<PathBuf>,
    ) -> Self {
        self.named_adapters.push((name.into(), folder.into()));
        self
    }

    /// What counts as a checkpoint that fits the model.
    #[must_use]
    pub fn with_strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }

    /// Where the links in the model folder may lead: anywhere, unless this says otherwise.
    #[must_use]
    pub fn with_links(mut self, links: FolderLinks) -> Self {
        self.links = links;
        self
    }

    /// Lets sizes in `config.json` multiply to so many times the work and memory that a model of as
    /// many parameters may usually take for a picture, an answer and a full context. The limits are
    /// above every model that was published; they keep a file of a megabyte from asking for hours.
    #[must_use]
    pub fn with_size_allowance(mut self, times: f64) -> Self {
        self.size_allowance = SizeAllowance(times);
        self
    }

    /// What activations are computed in between kernels. Sums, norms, softmax, rotations and logits
    /// are f32 whatever it is.
    #[must_use]
    pub fn with_compute(mut self, compute: ComputeType) -> Self {
        self.compute = compute;
        self
    }

    /// What keys and values are kept in; the type that is computed in unless this says otherwise.
    #[must_use]
    pub fn with_cache(mut self, cache: ComputeType) -> Self {
        self.cache = Some(cache);
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

    /// The file with the eyes of a model in GGUF (`mmproj`), where it is not beside the model or one
    /// of several there.
    #[must_use]
    pub fn with_mmproj(mut self, path: impl Into<PathBuf>) -> Self {
        self.eyes = Some(path.into());
        self
    }

    /// Reads the weights from a file that
    /// [`save_weights`](crate::MultimodalPipeline::save_weights) wrote, in place of those in the model's
    /// folder, which may be absent then. It must be the same model: only shapes and names are compared.
    /// Unless [`with_weights`](Self::with_weights) asks for something else, they are kept as they were,
    /// and nothing is rounded again; a backend without kernels for packed matrices keeps these in f16.
    #[must_use]
    pub fn with_saved_weights(mut self, file: impl Into<PathBuf>) -> Self {
        self.saved_weights = Some(file.into());
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
            .field("links", &self.links)
            .field("size_allowance", &self.size_allowance.0)
            .field("kernels", &self.kernels)
            .field("compute", &self.compute)
            .field("cache", &self.cache)
            .field("rope_precision", &self.rope_precision)
            .field("adapters", &self.adapters)
            .field("named_adapters", &self.named_adapters)
            .field("mmproj", &self.eyes)
            .field("saved_weights", &self.saved_weights)
            .field("has_progress", &self.progress.is_some())
            .finish()
    }
}
