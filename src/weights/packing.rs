//! From stored floats to packed matrices: copied where a block holds the same codes, else rounded.

use burn::tensor::f16;

use super::blocks::BlockType;
use super::convert::{ConvertError, Stored, in_chunks};
use super::element::StoredType;
use crate::kernels::{GROUP_LEN, PackedType, quantise};

/// Blocks that are copied at once.
const CHUNK_BLOCKS: usize = 1 << 12;

/// Groups of a packed matrix, to be filled.
pub(super) struct Groups<'a> {
    pub(super) packed_type: PackedType,
    /// `[groups * words_of_group]`
    pub(super) codes: &'a mut [u32],
    /// `[groups * numbers_of_group]`
    pub(super) numbers: &'a mut [f16],
}

impl<'a> Groups<'a> {
    /// The first groups, which have so many elements, and the others.
    pub(super) fn split_at(self, elements: usize) -> [Self; 2] {
        let (packed_type, groups) = (self.packed_type, elements / GROUP_LEN);
        let (codes, other_codes) = self
            .codes
            .split_at_mut(groups * packed_type.words_of_group());
        let (numbers, other_numbers) = self
            .numbers
            .split_at_mut(groups * packed_type.numbers_of_group());
        let of = |codes, numbers| Self {
            packed_type,
            codes,
            numbers,
        };
        [of(codes, numbers), of(other_codes, other_numbers)]
    }

    fn range(&mut self, first_group: usize, groups: usize) -> Groups<'_> {
        let (words, numbers) = (
            self.packed_type.words_of_group(),
            self.packed_type.numbers_of_group(),
        );
        Groups {
            packed_type: self.packed_type,
            codes: &mut self.codes[first_group * words..][..groups * words],
            numbers: &mut self.numbers[first_group * numbers..][..groups * numbers],
        }
    }

    fn count(&self) -> usize {
        self.numbers.len() / self.packed_type.numbers_of_group()
    }
}

/// Reads floats from the first on and packs them until `target` is full.
pub(super) fn pack(stored: &Stored, target: &mut Groups) -> Result<(), ConvertError> {
    match (stored.from, stored.update) {
        (StoredType::Blocks(block_type), None) if is_copied(block_type, target.packed_type) => {
            copy_blocks(block_type, stored, target)
        }
        _ => in_chunks(stored, target.count() * GROUP_LEN, &mut |first, wide| {
            let Groups {
                packed_type,
                codes,
                numbers,
            } = target.range(first / GROUP_LEN, wide.len() / GROUP_LEN);
            quantise(packed_type, wide, codes, numbers);
            require_finite(wide, numbers)
        }),
    }
}

fn is_copied(block_type: BlockType, packed_type: PackedType) -> bool {
    block_type.packed_type() == Some(packed_type)
        || (block_type, packed_type) == (BlockType::Q4_0, PackedType::Q4WithMinimum)
}

/// A block begins with its scale, and its minimum if it has one; the codes behind it are those of a
/// group.
fn copy_blocks(
    block_type: BlockType,
    stored: &Stored,
    target: &mut Groups,
) -> Result<(), ConvertError> {
    let (size, count) = (block_type.size_bytes(), target.count());
    let mut blocks = vec![0; size * count.min(CHUNK_BLOCKS)];
    for first in (0..count).step_by(CHUNK_BLOCKS) {
        let len = CHUNK_BLOCKS.min(count - first);
        let blocks = &mut blocks[..size * len];
        let read = (stored.read_at)((first * size) as u64, blocks);
        read.map_err(ConvertError::Read)?;
        let Groups {
            packed_type,
            codes,
            numbers,
        } = target.range(first, len);
        let codes = bytemuck::cast_slice_mut::<u32, u8>(codes)
            .chunks_exact_mut(GROUP_LEN * packed_type.bits() / 8);
        let numbers = numbers.chunks_exact_mut(packed_type.numbers_of_group());
        for ((block, codes), numbers) in blocks.chunks_exact(size).zip(codes).zip(numbers) {
            let (head, stored_codes) = block.split_at(size - codes.len());
            codes.copy_from_slice(stored_codes);
            let scale = number(head, 0);
            match (numbers, block_type) {
                ([only], _) => *only = scale,
                ([first, minimum], BlockType::Q4_1) => {
                    (*first, *minimum) = (scale, number(head, 1))
                }
                ([first, minimum], _) => (*first, *minimum) = (scale, minimum_of_q4_0(scale)?),
                (numbers, _) => unreachable!("a group has no {} numbers", numbers.len()),
            }
        }
    }
    Ok(())
}

fn number(head: &[u8], index: usize) -> f16 {
    f16::from_le_bytes([head[2 * index], head[2 * index + 1]])
}

/// What `Q4_0` subtracts: exact, as long as it has a place among f16.
fn minimum_of_q4_0(scale: f16) -> Result<f16, ConvertError> {
    let minimum = -8.0 * scale.to_f32();
    let rounded = f16::from_f32(minimum);
    match minimum.is_finite() && rounded.is_infinite() {
        true => Err(overflow(minimum)),
        false => Ok(rounded),
    }
}

/// A group of finite numbers must have a finite scale.
fn require_finite(wide: &[f32], numbers: &[f16]) -> Result<(), ConvertError> {
    match numbers.iter().any(|number| number.is_infinite()) {
        true => Err(overflow(wide.iter().fold(0.0, |largest: f32, value| {
            if value.abs() > largest.abs() {
                *value
            } else {
                largest
            }
        }))),
        false => Ok(()),
    }
}

fn overflow(value: f32) -> ConvertError {
    ConvertError::Overflow {
        value,
        target: "groups with a scale in f16",
    }
}
