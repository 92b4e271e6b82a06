use super::element::WeightType;
use super::parameters::Role;
use crate::error::CheckpointError;

/// What the matrices of a model (the weights of linear layers and the tables of embeddings, which
/// are nearly all of it) are kept in on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MatrixType {
    /// Each in the type that it is stored in; in f32 where the device's kernels cannot read that.
    /// Exact either way, but for blocks of a few bits an element: they are kept in f16.
    #[default]
    AsStored,
    /// See [`WeightType::F32`].
    F32,
    /// See [`WeightType::F16`].
    F16,
    /// See [`WeightType::BF16`].
    BF16,
}

impl MatrixType {
    /// The one type that all are to be kept in, if there is one.
    #[must_use]
    pub fn weight_type(self) -> Option<WeightType> {
        match self {
            Self::AsStored => None,
            Self::F32 => Some(WeightType::F32),
            Self::F16 => Some(WeightType::F16),
            Self::BF16 => Some(WeightType::BF16),
        }
    }

    /// The type that a parameter is kept in, whose tensor is `stored` so; `is_read` tells whether
    /// the kernels of the device read the parameter in a type.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::WeightType`] if they do not read the type that was asked for.
    pub(super) fn kept(
        self,
        role: Role,
        stored: WeightType,
        is_read: impl Fn(WeightType) -> bool,
    ) -> Result<WeightType, CheckpointError> {
        match (role, self.weight_type()) {
            (Role::Precise, _) => Ok(WeightType::F32),
            (Role::Matrix, None) if is_read(stored) => Ok(stored),
            (Role::Matrix, None) => Ok(WeightType::F32),
            (Role::Matrix, Some(asked)) if is_read(asked) => Ok(asked),
            (Role::Matrix, Some(asked)) => Err(CheckpointError::WeightType {
                weight_type: asked.name(),
            }),
        }
    }
}

impl From<WeightType> for MatrixType {
    fn from(weight_type: WeightType) -> Self {
        match weight_type {
            WeightType::F32 => Self::F32,
            WeightType::F16 => Self::F16,
            WeightType::BF16 => Self::BF16,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_matrix_stays_as_it_is_stored_where_the_device_reads_it() {
        for stored in WeightType::ALL {
            let kept = |is_read: bool| {
                MatrixType::AsStored
                    .kept(Role::Matrix, stored, |_| is_read)
                    .unwrap()
            };
            assert_eq!(kept(true), stored);
            assert_eq!(kept(false), WeightType::F32);
        }
    }

    #[test]
    fn a_type_that_is_asked_for_is_taken_or_refused() {
        for asked in WeightType::ALL {
            let matrices = MatrixType::from(asked);
            let kept = |is_read| matrices.kept(Role::Matrix, WeightType::F16, |_| is_read);
            assert_eq!(kept(true).unwrap(), asked);
            let error = kept(false).unwrap_err();
            assert!(
                matches!(error, CheckpointError::WeightType { weight_type } if weight_type == asked.name()),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_matrix_is_f32_whatever_is_asked_for() {
        for matrices in [MatrixType::AsStored, MatrixType::F16] {
            let kept = matrices.kept(Role::Precise, WeightType::BF16, |_| true);
            assert_eq!(kept.unwrap(), WeightType::F32);
        }
    }
}
