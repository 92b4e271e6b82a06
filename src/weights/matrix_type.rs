use super::element::WeightType;
use super::kept_type::KeptType;
use super::parameters::{MatrixUse, Role};
use crate::error::CheckpointError;
use crate::kernels::{GROUP_LEN, PackedType};

/// What the matrices of a model (the weights of linear layers and the tables of embeddings, which
/// are nearly all of it) are kept in on the device.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum MatrixType {
    /// Each in the type that it is stored in, which is exact; in floats where the device's kernels
    /// cannot read that, which is exact but for blocks of a few bits an element: they are kept in f16.
    #[default]
    AsStored,
    /// See [`WeightType::F32`].
    F32,
    /// See [`WeightType::F16`].
    F16,
    /// See [`WeightType::BF16`].
    BF16,
    /// The matrices of the decoder in [`PackedType::Q8`], all others as stored: those of a picture's
    /// encoder are bound by arithmetic, which fewer bits do not make less.
    ///
    /// Rows that are no whole groups are kept as stored too, and what is stored in as few bits or
    /// fewer; the report names the first. A matrix of a layer that [`PackedType::Q4WithMinimum`] holds as
    /// well, such as one that was of 4 bits before its checkpoint was made, is kept in that.
    Q8,
    /// As [`Q8`](Self::Q8), with the layers of the decoder in [`PackedType::Q4`]; in
    /// [`PackedType::Q4WithMinimum`] where that halves the squared error of a matrix or better, which half a
    /// bit of an element's is worth. Its head and its table of embeddings are in [`PackedType::Q8`]: what
    /// they round goes straight into the logits.
    ///
    /// Which it is some rows of each matrix tell, before any is read whole.
    Q4,
}

/// How a device reads matrices of a type.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Reading {
    /// The kernels of the device read it.
    Kernel,
    /// The device can hold it, and reads it without a kernel.
    Slow,
    /// The device cannot hold it.
    Never,
}

impl MatrixType {
    /// The one float type that all are to be kept in, if there is one.
    #[must_use]
    pub fn weight_type(self) -> Option<WeightType> {
        match self {
            Self::AsStored | Self::Q8 | Self::Q4 => None,
            Self::F32 => Some(WeightType::F32),
            Self::F16 => Some(WeightType::F16),
            Self::BF16 => Some(WeightType::BF16),
        }
    }

    /// The lower-case name: `as stored`, `f32`, `f16`, `bf16`, `q8` or `q4`.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AsStored => "as stored",
            Self::F32 => WeightType::F32.name(),
            Self::F16 => WeightType::F16.name(),
            Self::BF16 => WeightType::BF16.name(),
            Self::Q8 => PackedType::Q8.name(),
            Self::Q4 => PackedType::Q4.name(),
        }
    }

    /// What matrices of this use are to be packed in, if they are.
    pub(super) fn packed_type(self, matrix_use: MatrixUse) -> Option<PackedType> {
        match (self, matrix_use) {
            (Self::Q8, MatrixUse::DecoderLayer | MatrixUse::Vocabulary)
            | (Self::Q4, MatrixUse::Vocabulary) => Some(PackedType::Q8),
            (Self::Q4, MatrixUse::DecoderLayer) => Some(PackedType::Q4),
            _ => None,
        }
    }

    /// The type that a parameter is kept in, with rows of so many columns, whose tensors are `stored`
    /// so; `reading` tells how the device reads the parameter in a type.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::WeightType`] if it does not read the type that was asked for.
    pub(super) fn kept(
        self,
        role: Role,
        stored: KeptType,
        columns: usize,
        reading: impl Fn(KeptType) -> Reading,
    ) -> Result<KeptType, CheckpointError> {
        let Role::Matrix(matrix_use) = role else {
            return Ok(WeightType::F32.into());
        };
        let asked = match self.weight_type() {
            Some(weight_type) => Some(weight_type.into()),
            None => self
                .packed_type(matrix_use)
                .filter(|packed| columns.is_multiple_of(GROUP_LEN) && !is_as_small(stored, *packed))
                .map(KeptType::Packed),
        };
        match asked {
            None => Ok(as_stored(stored, reading)),
            Some(asked) if reading(asked) != Reading::Never => Ok(asked),
            Some(asked) => Err(CheckpointError::WeightType {
                weight_type: asked.name(),
            }),
        }
    }
}

/// Whether packing anew would only make it worse.
fn is_as_small(stored: KeptType, asked: PackedType) -> bool {
    match stored {
        KeptType::Floats(_) => false,
        KeptType::Packed(stored) => stored.bits() <= asked.bits(),
    }
}

fn as_stored(stored: KeptType, reading: impl Fn(KeptType) -> Reading) -> KeptType {
    let in_halves = KeptType::Floats(WeightType::F16);
    match stored {
        stored if reading(stored) == Reading::Kernel => stored,
        KeptType::Packed(_) if reading(in_halves) == Reading::Kernel => in_halves,
        _ => KeptType::Floats(WeightType::F32),
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

    const Q8: KeptType = KeptType::Packed(PackedType::Q8);
    const Q4: KeptType = KeptType::Packed(PackedType::Q4);
    const BF16: KeptType = KeptType::Floats(WeightType::BF16);
    const ANY: Role = Role::Matrix(MatrixUse::Other);

    #[test]
    fn a_matrix_stays_as_it_is_stored_where_the_device_reads_it() {
        let kept = |stored, reading: fn(KeptType) -> Reading| {
            MatrixType::AsStored.kept(ANY, stored, 32, reading).unwrap()
        };
        for stored in WeightType::ALL
            .map(KeptType::Floats)
            .into_iter()
            .chain([Q8, Q4])
        {
            assert_eq!(kept(stored, |_| Reading::Kernel), stored);
            assert_eq!(kept(stored, |_| Reading::Never), WeightType::F32.into());
        }
        let slow = |kept| match kept {
            KeptType::Packed(_) => Reading::Slow,
            KeptType::Floats(_) => Reading::Kernel,
        };
        assert_eq!(kept(Q4, slow), WeightType::F16.into());
    }

    #[test]
    fn a_type_that_is_asked_for_is_taken_or_refused() {
        for asked in WeightType::ALL {
            let kept =
                |reading| MatrixType::from(asked).kept(ANY, WeightType::F16.into(), 3, |_| reading);
            assert_eq!(kept(Reading::Kernel).unwrap(), asked.into());
            let error = kept(Reading::Never).unwrap_err();
            assert!(
                matches!(error, CheckpointError::WeightType { weight_type } if weight_type == asked.name()),
                "{error}"
            );
        }
    }

    #[test]
    fn what_is_no_matrix_is_f32_whatever_is_asked_for() {
        for matrices in [MatrixType::AsStored, MatrixType::F16, MatrixType::Q4] {
            let kept = matrices.kept(Role::Precise, BF16, 32, |_| Reading::Kernel);
            assert_eq!(kept.unwrap(), WeightType::F32.into());
        }
    }

    #[test]
    fn only_the_decoder_is_packed_and_its_vocabulary_never_in_4_bits() {
        let kept = |matrices: MatrixType, matrix_use, stored| {
            let role = Role::Matrix(matrix_use);
            // Where there is no kernel it is packed too, as it was asked for.
            matrices.kept(role, stored, 64, |kept| match kept {
                KeptType::Packed(_) => Reading::Slow,
                KeptType::Floats(_) => Reading::Kernel,
            })
        };
        let (layer, vocabulary) = (MatrixUse::DecoderLayer, MatrixUse::Vocabulary);
        assert_eq!(kept(MatrixType::Q8, layer, BF16).unwrap(), Q8);
        assert_eq!(kept(MatrixType::Q8, vocabulary, BF16).unwrap(), Q8);
        assert_eq!(kept(MatrixType::Q4, layer, BF16).unwrap(), Q4);
        assert_eq!(kept(MatrixType::Q4, vocabulary, BF16).unwrap(), Q8);
        assert_eq!(kept(MatrixType::Q4, MatrixUse::Other, BF16).unwrap(), BF16);
    }

    #[test]
    fn rows_of_no_whole_groups_and_what_is_as_small_stay_as_they_are() {
        let kept = |matrices: MatrixType, stored, columns| {
            let role = Role::Matrix(MatrixUse::DecoderLayer);
            matrices
                .kept(role, stored, columns, |_| Reading::Kernel)
                .unwrap()
        };
        assert_eq!(kept(MatrixType::Q8, BF16, 48), BF16);
        let with_minimum = PackedType::Q4WithMinimum.into();
        assert_eq!(kept(MatrixType::Q4, with_minimum, 64), with_minimum);
        assert_eq!(kept(MatrixType::Q8, with_minimum, 64), with_minimum);
        assert_eq!(kept(MatrixType::Q4, Q8, 64), Q4);
    }
}
