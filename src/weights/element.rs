//! Element types: what a file may store, and what a parameter is kept in.

use std::fmt;

use burn::tensor::DType;

use super::blocks::BlockType;

/// What the elements of a stored tensor are.
///
/// Only [`F32`](Self::F32), [`F16`](Self::F16), [`BF16`](Self::BF16) and [`Blocks`](Self::Blocks)
/// can fill a parameter; the others are listed, so that a buffer of another type does not make a
/// checkpoint unreadable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ElementType {
    /// One byte, zero or one.
    Bool,
    /// Unsigned, 8 bits.
    U8,
    /// Signed, 8 bits.
    I8,
    /// Float of 8 bits, 5 of them exponent.
    F8E5M2,
    /// Float of 8 bits, 4 of them exponent.
    F8E4M3,
    /// Unsigned, 16 bits.
    U16,
    /// Signed, 16 bits.
    I16,
    /// IEEE half precision.
    F16,
    /// The upper half of an [`F32`](Self::F32).
    BF16,
    /// Unsigned, 32 bits.
    U32,
    /// Signed, 32 bits.
    I32,
    /// IEEE single precision.
    F32,
    /// Two single precision floats.
    C64,
    /// Unsigned, 64 bits.
    U64,
    /// Signed, 64 bits.
    I64,
    /// IEEE double precision.
    F64,
    /// Blocks of elements that share a scale.
    Blocks(BlockType),
}

/// What the floats of a tensor are stored in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoredType {
    /// One by one.
    Floats(WeightType),
    /// In blocks.
    Blocks(BlockType),
}

impl StoredType {
    /// The type that holds the elements where they are kept as floats: f16 for blocks, whose scales
    /// are f16 too.
    pub(super) fn float_type(self) -> WeightType {
        match self {
            Self::Floats(weight_type) => weight_type,
            Self::Blocks(_) => WeightType::F16,
        }
    }
}

/// Every type with its name in safetensors files.
const NAMES: [(ElementType, &str); 16] = [
    (ElementType::Bool, "BOOL"),
    (ElementType::U8, "U8"),
    (ElementType::I8, "I8"),
    (ElementType::F8E5M2, "F8_E5M2"),
    (ElementType::F8E4M3, "F8_E4M3"),
    (ElementType::U16, "U16"),
    (ElementType::I16, "I16"),
    (ElementType::F16, "F16"),
    (ElementType::BF16, "BF16"),
    (ElementType::U32, "U32"),
    (ElementType::I32, "I32"),
    (ElementType::F32, "F32"),
    (ElementType::C64, "C64"),
    (ElementType::U64, "U64"),
    (ElementType::I64, "I64"),
    (ElementType::F64, "F64"),
];

impl ElementType {
    /// The type that a safetensors header calls `name`.
    pub(super) fn from_name(name: &str) -> Option<Self> {
        NAMES
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(element, _)| *element)
    }

    /// The name that safetensors headers use, or ggml for blocks.
    #[must_use]
    pub fn name(self) -> &'static str {
        if let Self::Blocks(block_type) = self {
            return block_type.name();
        }
        let entry = NAMES.iter().find(|(element, _)| *element == self);
        entry.expect("the table names every type but blocks").1
    }

    /// Elements that are stored together: one, but for blocks.
    #[must_use]
    pub fn block_len(self) -> usize {
        match self {
            Self::Blocks(block_type) => block_type.block_len(),
            _ => 1,
        }
    }

    /// Bytes of what is stored together: one element, or a block of them.
    #[must_use]
    pub fn size_bytes(self) -> usize {
        match self {
            Self::Bool | Self::U8 | Self::I8 | Self::F8E5M2 | Self::F8E4M3 => 1,
            Self::U16 | Self::I16 | Self::F16 | Self::BF16 => 2,
            Self::U32 | Self::I32 | Self::F32 => 4,
            Self::C64 | Self::U64 | Self::I64 | Self::F64 => 8,
            Self::Blocks(block_type) => block_type.size_bytes(),
        }
    }

    /// Bytes of `shape`, or `None` if that is no number, or if its rows are no whole blocks.
    pub(super) fn len_bytes(self, shape: &[usize]) -> Option<usize> {
        let columns = shape.last().copied().unwrap_or(1);
        let num_blocks = num_elements(shape)? / self.block_len();
        let is_whole = columns.is_multiple_of(self.block_len());
        num_blocks
            .checked_mul(self.size_bytes())
            .filter(|_| is_whole)
    }

    /// What floats are stored in, if these are floats that a parameter takes.
    pub(super) fn as_stored_type(self) -> Option<StoredType> {
        if let Self::Blocks(block_type) = self {
            return Some(StoredType::Blocks(block_type));
        }
        WeightType::ALL
            .into_iter()
            .find(|weight_type| weight_type.element_type() == self)
            .map(StoredType::Floats)
    }
}

impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Elements of `shape`, or `None` if that is no number.
pub(super) fn num_elements(shape: &[usize]) -> Option<usize> {
    shape
        .iter()
        .try_fold(1usize, |product, axis| product.checked_mul(*axis))
}

/// What the elements of a parameter are kept in on the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum WeightType {
    /// Single precision: exact for every checkpoint, four bytes an element.
    F32,
    /// Half precision: two bytes an element, range 65504.
    F16,
    /// The upper half of an f32: two bytes an element, the range of f32.
    BF16,
}

impl WeightType {
    pub(super) const ALL: [Self; 3] = [Self::F32, Self::F16, Self::BF16];

    /// The stored type that needs no conversion.
    #[must_use]
    pub fn element_type(self) -> ElementType {
        match self {
            Self::F32 => ElementType::F32,
            Self::F16 => ElementType::F16,
            Self::BF16 => ElementType::BF16,
        }
    }

    /// Burn's name of this type.
    #[must_use]
    pub fn dtype(self) -> DType {
        match self {
            Self::F32 => DType::F32,
            Self::F16 => DType::F16,
            Self::BF16 => DType::BF16,
        }
    }

    /// The lower-case name: `f32`, `f16` or `bf16`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::F32 => "f32",
            Self::F16 => "f16",
            Self::BF16 => "bf16",
        }
    }

    /// The narrowest type that holds every value of both: what is made of parts of several types
    /// is kept in it.
    #[must_use]
    pub fn widest(self, other: Self) -> Self {
        if self == other { self } else { Self::F32 }
    }
}

impl fmt::Display for WeightType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_element_type_is_found_again_by_its_name() {
        for (element, name) in NAMES {
            assert_eq!(ElementType::from_name(name), Some(element));
            assert_eq!(element.name(), name);
        }
        assert_eq!(ElementType::from_name("F4"), None);
    }

    #[test]
    fn the_two_half_precisions_meet_in_f32() {
        use WeightType::{BF16, F16, F32};
        for (left, right, widest) in [(F16, F16, F16), (BF16, F32, F32), (F16, BF16, F32)] {
            assert_eq!(left.widest(right), widest);
            assert_eq!(right.widest(left), widest);
        }
    }

    #[test]
    fn sizes_that_overflow_are_no_sizes() {
        assert_eq!(ElementType::F32.len_bytes(&[2, 3]), Some(24));
        assert_eq!(ElementType::F32.len_bytes(&[]), Some(4));
        assert_eq!(ElementType::F32.len_bytes(&[usize::MAX / 2]), None);
        assert_eq!(ElementType::U8.len_bytes(&[1 << 33, 1 << 33]), None);
        let blocks = ElementType::Blocks(BlockType::Q4K);
        assert_eq!(blocks.len_bytes(&[1 << 33, 1 << 33]), None);
    }

    #[test]
    fn rows_that_are_no_whole_blocks_have_no_size() {
        let blocks = ElementType::Blocks(BlockType::Q8_0);
        assert_eq!(blocks.len_bytes(&[3, 64]), Some(3 * 2 * 34));
        assert_eq!(blocks.len_bytes(&[64, 3]), None);
        assert_eq!(blocks.len_bytes(&[]), None);
    }
}
