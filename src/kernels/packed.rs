//! Matrices of a few bits an element: groups of [`GROUP_LEN`] codes that share a scale.
//!
//! A row is whole groups, one behind another. Codes lie in u32 words, which every device reads,
//! little-endian and in the order of ggml's blocks, so that a block of theirs is a group of ours:
//!
//! | type | a group | element |
//! |---|---|---|
//! | [`Q8`](PackedType::Q8) | 32 signed bytes, one scale | `scale * code` |
//! | [`Q4`](PackedType::Q4) | 16 bytes, one scale | `scale * (code - 8)` |
//! | [`Q4WithMinimum`](PackedType::Q4WithMinimum) | 16 bytes, a scale and a minimum | `scale * code + minimum` |
//!
//! The lower half of byte `i` of a group of 4 bits is element `i`, the upper half element `16 + i`:
//! what a vector unpacks from one load are neighbours. Scales are f16, in a matrix of their own.

mod quantise;

use std::fmt;

use burn::tensor::backend::Backend;
use burn::tensor::{DType, ElementConversion, Int, Tensor, TensorMetadata};

pub(crate) use quantise::{better_type, quantise};

/// Elements that share a scale.
pub const GROUP_LEN: usize = 32;

/// Bytes of a word of codes.
const WORD_BYTES: usize = size_of::<u32>();

/// How the elements of a packed matrix are coded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum PackedType {
    /// 8 bits an element and a scale for 32.
    Q8,
    /// 4 bits an element and a scale for 32.
    Q4,
    /// 4 bits an element, a scale and a minimum for 32: what some files store.
    Q4WithMinimum,
}

impl PackedType {
    const ALL: [Self; 3] = [Self::Q8, Self::Q4, Self::Q4WithMinimum];

    /// The lower-case name: `q8`, `q4` or `q4 with minimum`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q8 => "q8",
            Self::Q4 => "q4",
            Self::Q4WithMinimum => "q4 with minimum",
        }
    }

    /// Bits of a code.
    #[must_use]
    pub const fn bits(self) -> usize {
        match self {
            Self::Q8 => 8,
            Self::Q4 | Self::Q4WithMinimum => 4,
        }
    }

    /// Words of the codes of a group.
    #[must_use]
    pub const fn words_of_group(self) -> usize {
        GROUP_LEN * self.bits() / (8 * WORD_BYTES)
    }

    /// Numbers that go with a group: its scale, and its minimum if it has one.
    #[must_use]
    pub const fn numbers_of_group(self) -> usize {
        match self {
            Self::Q8 | Self::Q4 => 1,
            Self::Q4WithMinimum => 2,
        }
    }

    /// The type that holds groups of both as they are, if one does.
    pub(crate) fn holding(self, other: Self) -> Option<Self> {
        match (self, other) {
            (Self::Q4, Self::Q4WithMinimum) | (Self::Q4WithMinimum, Self::Q4) => {
                Some(Self::Q4WithMinimum)
            }
            _ => (self == other).then_some(self),
        }
    }

    /// The type whose rows have so many words and numbers.
    pub(crate) fn of_row(words: usize, numbers: usize) -> Option<Self> {
        Self::ALL.into_iter().find(|known| {
            let groups = numbers / known.numbers_of_group();
            numbers.is_multiple_of(known.numbers_of_group())
                && words == groups * known.words_of_group()
        })
    }
}

impl fmt::Display for PackedType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A packed matrix: what its elements are coded in, the shapes of its two parts tell.
///
/// # Shapes
/// With `groups` of a row, which has `groups * 32` columns:
/// - `codes`: `[rows, groups * words_of_group]`, u32
/// - `numbers`: `[rows, groups * numbers_of_group]`, those of a group side by side
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct PackedMatrix<T, I> {
    /// The codes, in words.
    pub codes: I,
    /// The scales, and minimums.
    pub numbers: T,
}

impl<T, I> PackedMatrix<T, I> {
    /// A matrix of these codes and numbers.
    pub fn new(codes: I, numbers: T) -> Self {
        Self { codes, numbers }
    }
}

impl<T: TensorMetadata, I: TensorMetadata> PackedMatrix<T, I> {
    /// What the elements are coded in.
    ///
    /// # Panics
    /// If codes and numbers are not those of one matrix.
    pub fn packed_type(&self) -> PackedType {
        let ([rows, words], [numbers_rows, numbers]) =
            (self.codes.shape().dims(), self.numbers.shape().dims());
        let packed_type = PackedType::of_row(words, numbers).filter(|_| rows == numbers_rows);
        packed_type.unwrap_or_else(|| {
            panic!("codes {rows} x {words} with numbers {numbers_rows} x {numbers}")
        })
    }

    /// Rows and columns.
    ///
    /// # Panics
    /// As [`packed_type`](Self::packed_type).
    pub fn dims(&self) -> [usize; 2] {
        let [rows, words] = self.codes.shape().dims();
        [
            rows,
            words / self.packed_type().words_of_group() * GROUP_LEN,
        ]
    }
}

/// The elements of a packed matrix, in f32, which is exact.
///
/// # Shapes
/// As [`PackedMatrix`] says; output: `[rows, columns]`
pub(super) fn unpack<B: Backend>(codes: Tensor<B, 2, Int>, numbers: Tensor<B, 2>) -> Tensor<B, 2> {
    let ([rows, words], [_, per_row]) = (codes.dims(), numbers.dims());
    let packed_type = PackedType::of_row(words, per_row).expect("codes and numbers of one matrix");
    let groups = words / packed_type.words_of_group();
    let numbers = numbers.cast(DType::F32);
    let numbers = numbers.reshape([rows, groups, packed_type.numbers_of_group()]);
    let scale = numbers.clone().slice_dim(2, 0..1);
    let elements = match packed_type {
        PackedType::Q8 => signed_bytes(codes, groups) * scale,
        PackedType::Q4 => half_bytes(codes, groups).sub_scalar(8) * scale,
        PackedType::Q4WithMinimum => half_bytes(codes, groups) * scale + numbers.slice_dim(2, 1..2),
    };
    elements.reshape([rows, groups * GROUP_LEN])
}

/// `[rows, groups, 32]` of what the bytes mean as signed numbers.
fn signed_bytes<B: Backend>(codes: Tensor<B, 2, Int>, groups: usize) -> Tensor<B, 3> {
    let bytes = fields(codes, groups, [0, 1, 2, 3], 8).cast(DType::F32);
    // The upper half of the bytes are the negative numbers.
    let is_negative = bytes.clone().greater_equal_elem(128);
    bytes.clone().mask_where(is_negative, bytes.sub_scalar(256))
}

/// `[rows, groups, 32]` of the codes of 4 bits.
fn half_bytes<B: Backend>(codes: Tensor<B, 2, Int>, groups: usize) -> Tensor<B, 3> {
    let lower = fields(codes.clone(), groups, [0, 2, 4, 6], 4);
    let upper = fields(codes, groups, [1, 3, 5, 7], 4);
    Tensor::cat(vec![lower, upper], 2)
}

/// `[rows, groups, 4 * words_of_group]`: four of the fields of `bits` bits that each word has.
fn fields<B: Backend>(
    words: Tensor<B, 2, Int>,
    groups: usize,
    fields: [u32; 4],
    bits: u32,
) -> Tensor<B, 3> {
    let [rows, num_words] = words.dims();
    let mask = (1_u32 << bits) - 1;
    let fields = fields.map(|field| {
        let first_bit = (field * bits).elem();
        let shifted = words.clone().bitwise_right_shift_scalar(first_bit);
        shifted.bitwise_and_scalar(mask.elem()).float()
    });
    let values: Tensor<B, 3> = Tensor::stack(fields.into(), 2); // [rows, words, fields]
    values.reshape([rows, groups, 4 * num_words / groups.max(1)])
}
