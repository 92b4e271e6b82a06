//! How a module is filled.

use std::fmt;

use super::matrix_type::MatrixType;

/// What counts as a checkpoint that fits its model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Every parameter has a tensor of its shape, and every tensor a parameter.
    Strict,
    /// Every parameter has a tensor of its shape; tensors may be left over, from training or from a
    /// conversion. They are in the report.
    #[default]
    AllowUnused,
}

/// How far a load has come.
#[derive(Clone, Copy, Debug)]
#[non_exhaustive]
pub struct LoadProgress<'a> {
    /// Stored bytes of the tensors that are on the device.
    pub done_bytes: u64,
    /// Stored bytes of all tensors that will be.
    pub total_bytes: u64,
    /// Name of the tensor that was finished last.
    pub tensor: &'a str,
}

/// Told about every finished tensor.
pub type ProgressCallback<'a> = dyn FnMut(LoadProgress<'_>) + 'a;

/// How a module is filled. The default: matrices as stored, unused tensors allowed, silent.
#[derive(Default)]
pub struct WeightOptions<'a> {
    pub(super) matrices: MatrixType,
    pub(super) strictness: Strictness,
    pub(super) progress: Option<&'a mut ProgressCallback<'a>>,
}

impl<'a> WeightOptions<'a> {
    /// What matrices are kept in: the parameters in a [`Weight`](crate::nn::Weight). Everything
    /// else (norms, biases, tables of positions) is f32: small, and it decides precision.
    #[must_use]
    pub fn with_matrices(mut self, matrices: impl Into<MatrixType>) -> Self {
        self.matrices = matrices.into();
        self
    }

    /// What counts as a checkpoint that fits.
    #[must_use]
    pub fn with_strictness(mut self, strictness: Strictness) -> Self {
        self.strictness = strictness;
        self
    }

    /// Calls `progress` after every tensor.
    #[must_use]
    pub fn with_progress(mut self, progress: &'a mut ProgressCallback<'a>) -> Self {
        self.progress = Some(progress);
        self
    }
}

impl fmt::Debug for WeightOptions<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WeightOptions")
            .field("matrices", &self.matrices)
            .field("strictness", &self.strictness)
            .field("has_progress", &self.progress.is_some())
            .finish()
    }
}
