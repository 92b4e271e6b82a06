//! What a parameter is kept in on the device.

use std::fmt;

use super::element::WeightType;
use crate::kernels::PackedType;

/// What a parameter is kept in on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum KeptType {
    /// As floats, one by one.
    Floats(WeightType),
    /// As codes of a few bits, with a scale for some of them together.
    Packed(PackedType),
}

impl KeptType {
    /// The lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Floats(weight_type) => weight_type.name(),
            Self::Packed(packed_type) => packed_type.name(),
        }
    }
}

impl From<WeightType> for KeptType {
    fn from(weight_type: WeightType) -> Self {
        Self::Floats(weight_type)
    }
}

impl From<PackedType> for KeptType {
    fn from(packed_type: PackedType) -> Self {
        Self::Packed(packed_type)
    }
}

impl fmt::Display for KeptType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
