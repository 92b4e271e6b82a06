//! From stored floats to kept floats, a chunk at a time, so that one host copy is the most there is.

use burn::tensor::{Element, bf16, f16};
use bytemuck::{Pod, Zeroable};
use half::slice::HalfFloatSliceExt;

use super::blocks::BlockType;
use super::element::{StoredType, WeightType};
use super::low_rank::Update;
use crate::error::{CheckpointError, Result};

const _: () = assert!(
    cfg!(target_endian = "little"),
    "checkpoints are read as little-endian memory"
);

/// Elements converted at once: large enough for the disk, small enough for the second-level cache.
const CHUNK_ELEMENTS: usize = 1 << 17;

/// As many zeros for the tensor `name`.
///
/// # Errors
///
/// [`CheckpointError::OutOfMemory`]: how many there are a file decides.
pub(super) fn zeros<T: Zeroable>(name: &str, len: usize) -> Result<Vec<T>> {
    bytemuck::allocation::try_zeroed_vec(len).map_err(|()| {
        let tensor = name.to_string();
        let len_bytes = (len as u64).saturating_mul(size_of::<T>() as u64);
        CheckpointError::OutOfMemory { tensor, len_bytes }.into()
    })
}

/// Floats on their way into a parameter.
pub(super) struct Stored<'a> {
    /// What they are stored in.
    pub(super) from: StoredType,
    pub(super) read_at: &'a ReadAt<'a>,
    /// What is added to them, before they are rounded.
    pub(super) update: Option<&'a Update>,
}

/// Why a conversion stopped.
#[derive(Debug)]
pub(super) enum ConvertError {
    /// A finite value has no finite counterpart in the target type.
    Overflow { value: f32, target: &'static str },
    /// The source could not be read.
    Read(crate::error::Error),
}

/// Fills the buffer with the source's bytes from an offset that counts from the tensor's start.
pub(super) type ReadAt<'a> = dyn Fn(u64, &mut [u8]) -> Result<()> + 'a;

/// Takes a chunk of elements: the place of the first, and all of them.
pub(super) type TakeChunk<'a> = dyn FnMut(usize, &[f32]) -> Result<(), ConvertError> + 'a;

/// Reads floats from the first on and converts them until `target` is full.
///
/// Rounds to the nearest value, ties to even. NaN and infinities stay what they are.
pub(super) fn convert<T: Weight>(stored: &Stored, target: &mut [T]) -> Result<(), ConvertError> {
    let is_same = matches!(stored.from, StoredType::Floats(from) if from.dtype() == T::dtype());
    if is_same && stored.update.is_none() {
        let bytes = bytemuck::cast_slice_mut(target);
        return (stored.read_at)(0, bytes).map_err(ConvertError::Read);
    }
    in_chunks(stored, target.len(), &mut |first, wide| {
        let target = &mut target[first..][..wide.len()];
        T::narrow(wide, target);
        require_finite(wide, target)
    })
}

/// Reads the first `len` floats and hands them on, whole groups and rows at a time.
pub(super) fn in_chunks(
    stored: &Stored,
    len: usize,
    take: &mut TakeChunk,
) -> Result<(), ConvertError> {
    match stored.from {
        StoredType::Floats(WeightType::F32) => floats_in_chunks::<f32>(stored, len, take),
        StoredType::Floats(WeightType::F16) => floats_in_chunks::<f16>(stored, len, take),
        StoredType::Floats(WeightType::BF16) => floats_in_chunks::<bf16>(stored, len, take),
        StoredType::Blocks(block_type) => blocks_in_chunks(block_type, stored, len, take),
    }
}

fn floats_in_chunks<S: Weight>(
    stored: &Stored,
    len: usize,
    take: &mut TakeChunk,
) -> Result<(), ConvertError> {
    let mut narrow = vec![S::zeroed(); len.min(stored.chunk_len())];
    widened_chunks(stored, len, take, |first, wide| {
        let narrow = &mut narrow[..wide.len()];
        let offset = (first * size_of::<S>()) as u64;
        (stored.read_at)(offset, bytemuck::cast_slice_mut(narrow))?;
        S::widen(narrow, wide);
        Ok(())
    })
}

fn blocks_in_chunks(
    block_type: BlockType,
    stored: &Stored,
    len: usize,
    take: &mut TakeChunk,
) -> Result<(), ConvertError> {
    // Rows are whole blocks, and a chunk is whole rows or a multiple of every block.
    let bytes_of = |elements: usize| elements / block_type.block_len() * block_type.size_bytes();
    let mut blocks = vec![0; bytes_of(len.min(stored.chunk_len()))];
    widened_chunks(stored, len, take, |first, wide| {
        let blocks = &mut blocks[..bytes_of(wide.len())];
        (stored.read_at)(bytes_of(first) as u64, blocks)?;
        block_type.dequantise(blocks, wide);
        Ok(())
    })
}

/// `fill` is given the first element of a chunk and the room for it.
fn widened_chunks(
    stored: &Stored,
    len: usize,
    take: &mut TakeChunk,
    mut fill: impl FnMut(usize, &mut [f32]) -> Result<()>,
) -> Result<(), ConvertError> {
    let chunk_len = stored.chunk_len();
    let mut wide = vec![0f32; len.min(chunk_len)];
    for first in (0..len).step_by(chunk_len) {
        let wide = &mut wide[..chunk_len.min(len - first)];
        fill(first, wide).map_err(ConvertError::Read)?;
        if let Some(update) = stored.update {
            update.add_to(first, wide);
        }
        take(first, wide)?;
    }
    Ok(())
}

impl Stored<'_> {
    /// Elements converted at once; whole rows where something is added to them.
    fn chunk_len(&self) -> usize {
        match self.update {
            Some(update) => update.whole_rows(CHUNK_ELEMENTS),
            None => CHUNK_ELEMENTS,
        }
    }
}

/// What is finite must stay so.
fn require_finite<T: Weight>(wide: &[f32], narrow: &[T]) -> Result<(), ConvertError> {
    let mut pairs = wide.iter().zip(narrow);
    match pairs.find(|(wide, narrow)| wide.is_finite() && !narrow.is_finite()) {
        Some((value, _)) => Err(ConvertError::Overflow {
            value: *value,
            target: T::NAME,
        }),
        None => Ok(()),
    }
}

/// A float that weights are stored or kept in.
pub(super) trait Weight: Pod + Zeroable + Element {
    /// What errors call it.
    const NAME: &'static str;
    /// Exact.
    fn widen(stored: &[Self], wide: &mut [f32]);
    /// To the nearest value, ties to even; infinite beyond the range.
    fn narrow(wide: &[f32], narrow: &mut [Self]);
    fn is_finite(&self) -> bool;
}

impl Weight for f32 {
    const NAME: &'static str = WeightType::F32.name();

    fn widen(stored: &[Self], wide: &mut [f32]) {
        wide.copy_from_slice(stored);
    }

    fn narrow(wide: &[f32], narrow: &mut [Self]) {
        narrow.copy_from_slice(wide);
    }

    fn is_finite(&self) -> bool {
        f32::is_finite(*self)
    }
}

impl Weight for f16 {
    const NAME: &'static str = WeightType::F16.name();

    fn widen(stored: &[Self], wide: &mut [f32]) {
        stored.convert_to_f32_slice(wide);
    }

    fn narrow(wide: &[f32], narrow: &mut [Self]) {
        narrow.convert_from_f32_slice(wide);
    }

    fn is_finite(&self) -> bool {
        f16::is_finite(*self)
    }
}

impl Weight for bf16 {
    const NAME: &'static str = WeightType::BF16.name();

    fn widen(stored: &[Self], wide: &mut [f32]) {
        stored.convert_to_f32_slice(wide);
    }

    fn narrow(wide: &[f32], narrow: &mut [Self]) {
        narrow.convert_from_f32_slice(wide);
    }

    fn is_finite(&self) -> bool {
        bf16::is_finite(*self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run<S: Pod, T: Weight>(from: WeightType, stored: &[S]) -> Result<Vec<T>, ConvertError> {
        let bytes: &[u8] = bytemuck::cast_slice(stored);
        let read_at = |offset: u64, buffer: &mut [u8]| {
            buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
            Ok(())
        };
        let mut converted = vec![T::zeroed(); stored.len()];
        let stored = Stored {
            from: StoredType::Floats(from),
            read_at: &read_at,
            update: None,
        };
        convert(&stored, &mut converted).map(|()| converted)
    }

    #[test]
    fn narrowing_rounds_to_nearest_and_ties_to_even() {
        let wide = [
            1.0f32 + 1.0 / 2048.0,
            1.0 + 3.0 / 2048.0,
            1.0 + 1.01 / 2048.0,
            -0.0,
            1e-8,
            65519.0,
        ];
        let narrow: Vec<f16> = run(WeightType::F32, &wide).unwrap();
        let bits: Vec<u16> = narrow.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0x3c00, 0x3c02, 0x3c01, 0x8000, 0x0000, 0x7bff]);

        let wide = [
            f32::from_bits(0x3f80_8000),
            f32::from_bits(0x3f81_8000),
            f32::from_bits(0x3f80_8001),
        ];
        let narrow: Vec<bf16> = run(WeightType::F32, &wide).unwrap();
        let bits: Vec<u16> = narrow.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0x3f80, 0x3f82, 0x3f81]);
    }

    #[test]
    fn a_value_that_would_become_infinite_stops_the_conversion() {
        let wide = [1.0f32, -65520.0, 2.0];
        let result = run::<f32, f16>(WeightType::F32, &wide);
        assert!(matches!(
            result,
            Err(ConvertError::Overflow {
                value: -65520.0,
                ..
            })
        ));
        let result = run::<bf16, f16>(WeightType::BF16, &[bf16::from_f32(1e6)]);
        assert!(matches!(result, Err(ConvertError::Overflow { .. })));
        let result = run::<f32, bf16>(WeightType::F32, &[f32::MAX]);
        assert!(matches!(
            result,
            Err(ConvertError::Overflow {
                value: f32::MAX,
                ..
            })
        ));
    }

    #[test]
    fn what_is_not_finite_already_stays_as_it_is() {
        let wide = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let narrow: Vec<f16> = run(WeightType::F32, &wide).unwrap();
        assert_eq!(narrow[..2], [f16::INFINITY, f16::NEG_INFINITY]);
        assert!(narrow[2].is_nan());
    }

    #[test]
    fn every_half_precision_value_survives_the_way_to_f32_and_back() {
        let all: Vec<f16> = (0..=u16::MAX)
            .map(f16::from_bits)
            .filter(|v| !v.is_nan())
            .collect();
        let wide: Vec<f32> = run(WeightType::F16, &all).unwrap();
        assert_eq!(run::<f32, f16>(WeightType::F32, &wide).unwrap(), all);

        let all: Vec<bf16> = (0..=u16::MAX)
            .map(bf16::from_bits)
            .filter(|v| !v.is_nan())
            .collect();
        let wide: Vec<f32> = run(WeightType::BF16, &all).unwrap();
        assert_eq!(run::<f32, bf16>(WeightType::F32, &wide).unwrap(), all);
    }

    #[test]
    fn what_is_added_is_rounded_once_and_checked_like_the_rest() {
        let bytes: Vec<u8> = [1.0f32; 2].into_iter().flat_map(f32::to_le_bytes).collect();
        let read_at = |_: u64, buffer: &mut [u8]| {
            buffer.copy_from_slice(&bytes);
            Ok(())
        };
        let sum = |factor: f32| {
            let update = Update::new(vec![factor, factor], vec![1.0].into(), 1, 1.0);
            let stored = Stored {
                from: StoredType::Floats(WeightType::F32),
                read_at: &read_at,
                update: Some(&update),
            };
            let mut sum = [f16::ZERO; 2];
            convert(&stored, &mut sum).map(|()| sum)
        };
        // The product alone would round up, and then the sum up again.
        let just_below_the_tie = 0.000_488_2;
        assert_eq!(sum(just_below_the_tie).unwrap(), [f16::ONE; 2]);
        assert!(matches!(
            sum(1e6),
            Err(ConvertError::Overflow {
                value: 1_000_001.0,
                target: "f16"
            })
        ));
    }

    #[test]
    fn what_does_not_fit_into_memory_is_an_error() {
        let error = zeros::<f32>("table", usize::MAX / 16).unwrap_err();
        assert!(error.to_string().contains("`table` needs"), "{error}");
        assert_eq!(zeros::<f32>("table", 3).unwrap(), [0.0; 3]);
    }

    #[test]
    fn chunks_join_without_a_seam() {
        let wide: Vec<f32> = (0..2 * CHUNK_ELEMENTS + 3)
            .map(|index| (index % 2039) as f32)
            .collect();
        let narrow: Vec<f16> = run(WeightType::F32, &wide).unwrap();
        assert!(
            narrow
                .iter()
                .zip(&wide)
                .all(|(narrow, wide)| narrow.to_f32() == *wide)
        );
    }
}
