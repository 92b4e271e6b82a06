//! The elements of a matrix, from what is stored.

use cubecl::prelude::*;

use super::stored::{GROUP_PIECES, PIECE, Storage};
use crate::kernels::PackedType;

/// A vector of elements of a row. Packed codes are read a word at a time.
#[cube]
pub(in crate::kernels) fn read<W: Numeric, H: Numeric, M: Size, N: Size>(
    matrix: &Tensor<Vector<W, M>>,
    numbers: &ComptimeOption<Tensor<H>>,
    row: usize,
    column: usize,
    #[comptime] storage: Storage,
) -> Vector<f32, N> {
    let start = row * (matrix.stride(0) / matrix.vector_size());
    match comptime!(storage) {
        Storage::Native | Storage::Bf16Words => widen::<W, M, N>(matrix[start + column], storage),
        Storage::Packed(packed_type) => {
            let words = comptime!(packed_type.words_of_group());
            let (group, piece) = (column / GROUP_PIECES, column % GROUP_PIECES);
            let word = u32::cast_from(matrix[start + group * words + piece % words][0]);
            let first_bit = u32::cast_from(piece / words) * 4u32;
            let scale = Scale::of_group::<H>(numbers, row, group, packed_type);
            scale.times::<N>(word >> first_bit, packed_type)
        }
    }
}

/// One of the [pieces](Storage::pieces) of a stored vector.
#[cube]
pub(in crate::kernels) fn piece_of<W: Numeric, M: Size, N: Size>(
    stored: Vector<W, M>,
    scale: &Scale,
    #[comptime] piece: usize,
    #[comptime] storage: Storage,
) -> Vector<f32, N> {
    match comptime!(storage) {
        Storage::Native | Storage::Bf16Words => widen::<W, M, N>(stored, storage),
        Storage::Packed(packed_type) => {
            let words = stored.vector_size();
            let word = u32::cast_from(stored[comptime!(piece % words)]);
            let first_bit = comptime!((piece / words * 4) as u32);
            scale.times::<N>(word >> first_bit, packed_type)
        }
    }
}

/// Which vector of its row a piece of the `column`th stored vector is.
#[cube]
pub(in crate::kernels) fn column_of_piece(
    column: usize,
    #[comptime] piece: usize,
    #[comptime] words: usize,
    #[comptime] storage: Storage,
) -> usize {
    match comptime!(storage) {
        Storage::Native | Storage::Bf16Words => column,
        Storage::Packed(packed_type) => {
            let group_words = comptime!(packed_type.words_of_group());
            let loads = comptime!(group_words / words);
            let first = column / loads * GROUP_PIECES + column % loads * words;
            // The upper halves of 4 bits are the second half of the group.
            first + comptime!(piece % words + piece / words * group_words)
        }
    }
}

/// What stands for the codes of a group: `scale * code + minimum`, codes counted from zero.
#[derive(CubeType, Clone, Copy)]
pub(in crate::kernels) struct Scale {
    scale: f32,
    minimum: f32,
}

#[cube]
impl Scale {
    /// That of the `column`th stored vector of a row, of so many words; for floats nothing.
    pub(in crate::kernels) fn of_load<H: Numeric>(
        numbers: &ComptimeOption<Tensor<H>>,
        row: usize,
        column: usize,
        #[comptime] words: usize,
        #[comptime] storage: Storage,
    ) -> Scale {
        match comptime!(storage) {
            Storage::Native | Storage::Bf16Words => Scale {
                scale: 1.0f32,
                minimum: 0.0f32,
            },
            Storage::Packed(packed_type) => {
                let loads = comptime!(packed_type.words_of_group() / words);
                Scale::of_group::<H>(numbers, row, column / loads, packed_type)
            }
        }
    }

    fn of_group<H: Numeric>(
        numbers: &ComptimeOption<Tensor<H>>,
        row: usize,
        group: usize,
        #[comptime] packed_type: PackedType,
    ) -> Scale {
        let mut scale = Scale {
            scale: 1.0f32,
            minimum: 0.0f32,
        };
        #[comptime]
        match numbers {
            ComptimeOption::Some(numbers) => {
                let per_group = comptime!(packed_type.numbers_of_group());
                let at = row * numbers.stride(0) + group * per_group;
                scale.scale = f32::cast_from(numbers[at]);
                scale.minimum = match comptime!(packed_type) {
                    PackedType::Q8 => scale.scale * -128.0f32,
                    PackedType::Q4 => scale.scale * -8.0f32,
                    PackedType::Q4WithMinimum => f32::cast_from(numbers[at + 1]),
                };
            }
            ComptimeOption::None => {}
        }
        scale
    }

    /// The elements of the four codes that begin at the lowest bit of each byte of `word`.
    fn times<N: Size>(self, word: u32, #[comptime] packed_type: PackedType) -> Vector<f32, N> {
        let mask = comptime!((1u32 << packed_type.bits()) - 1);
        // The sign of 8 bits turned around: they are counted from -128 then.
        let sign = comptime!(match packed_type {
            PackedType::Q8 => 0x80u32,
            PackedType::Q4 | PackedType::Q4WithMinimum => 0u32,
        });
        let mut elements = Vector::<f32, N>::empty();
        #[unroll]
        for element in 0..PIECE {
            let code = (word >> comptime!(8 * element as u32)) & mask ^ sign;
            elements[element] = f32::cast_from(code) * self.scale + self.minimum;
        }
        elements
    }
}

/// The elements of a stored vector of floats.
#[cube]
fn widen<W: Numeric, M: Size, N: Size>(
    stored: Vector<W, M>,
    #[comptime] storage: Storage,
) -> Vector<f32, N> {
    match comptime!(storage) {
        Storage::Bf16Words => {
            let mut elements = Vector::<f32, N>::empty();
            #[unroll]
            for word in 0..stored.vector_size() {
                // A bf16 is the upper half of an f32.
                let bits = u32::cast_from(stored[word]);
                elements[2 * word] = f32::reinterpret(bits << 16u32);
                elements[2 * word + 1] = f32::reinterpret(bits & 0xFFFF_0000u32);
            }
            elements
        }
        Storage::Native | Storage::Packed(_) => Vector::<f32, N>::cast_from(stored),
    }
}
