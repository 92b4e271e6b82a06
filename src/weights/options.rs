//! How a module is filled.

use std::fmt;

use super::element::WeightType;

/// What counts as a checkpoint that fits its model.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Strictness {
    /// Every parameter has a tensor of its shape, and every tensor a parameter.
    #[default]
    Strict,
    /// Every parameter has a tensor of its shape; tensors may be left over.
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

/// How a module is filled. The default: f32, strict, silent.
#[derive(Default)]
pub struct WeightOptions<'a> {
    pub(super) matrices: WeightType,
    pub(super) strictness: Strictness,
    pub(super) progress: Option<&'a mut ProgressCallback<'a>>,
}

impl<'a> WeightOptions<'a> {
    /// The type of linear and embedding weights, which are nearly all of a model. Everything else
    /// (norms, biases, convolutions) is f32: small, and it decides precision.
    #[must_use]
    pub fn with_matrices(mut self, matrices: WeightType) -> Self {
        self.matrices = matrices;
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

    /// The type that a parameter is kept in.
    pub(super) fn weight_type(&self, path: &str, shape: &[usize]) -> WeightType {
        let is_weight = path.rsplit('.').next() == Some("weight");
        if is_weight && shape.len() == 2 {
            self.matrices
        } else {
            WeightType::F32
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_weights_of_two_axes_are_matrices() {
        let options = WeightOptions::default().with_matrices(WeightType::F16);
        assert_eq!(
            options.weight_type("layers.0.weight", &[4, 2]),
            WeightType::F16
        );
        for (path, shape) in [
            ("norm.weight", [4].as_slice()),
            ("conv.weight", &[4, 3, 2, 2]),
            ("query_tokens", &[32, 8]),
            ("weight.scale", &[4, 2]),
        ] {
            assert_eq!(options.weight_type(path, shape), WeightType::F32, "{path}");
        }
    }
}
