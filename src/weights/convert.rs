//! From stored floats to kept floats, a chunk at a time, so that one host copy is the most there is.

use burn::tensor::{Element, TensorData, bf16, f16};
use bytemuck::{Pod, Zeroable};
use half::slice::HalfFloatSliceExt;

use super::element::WeightType;
use crate::error::Result;

const _: () = assert!(
    cfg!(target_endian = "little"),
    "checkpoints are read as little-endian memory"
);

/// Elements converted at once: large enough for the disk, small enough for the second-level cache.
const CHUNK_ELEMENTS: usize = 1 << 17;

/// What to convert: `len` elements, `from` one type `to` another.
#[derive(Clone, Copy, Debug)]
pub(super) struct Conversion {
    pub(super) from: WeightType,
    pub(super) to: WeightType,
    pub(super) len: usize,
}

/// Why a conversion stopped.
#[derive(Debug)]
pub(super) enum ConvertError {
    /// A finite value has no finite counterpart in the target type.
    Overflow(f32),
    /// The source could not be read.
    Read(crate::error::Error),
}

/// Fills the buffer with the source's bytes from an offset that counts from the tensor's start.
pub(super) type ReadAt<'a> = dyn Fn(u64, &mut [u8]) -> Result<()> + 'a;

/// Reads and converts a whole tensor into one buffer of the target type, as a vector.
///
/// Rounds to the nearest value, ties to even. NaN and infinities stay what they are.
pub(super) fn convert(plan: Conversion, read_at: &ReadAt) -> Result<TensorData, ConvertError> {
    match plan.from {
        WeightType::F32 => convert_from::<f32>(plan, read_at),
        WeightType::F16 => convert_from::<f16>(plan, read_at),
        WeightType::BF16 => convert_from::<bf16>(plan, read_at),
    }
}

fn convert_from<S: Weight>(plan: Conversion, read_at: &ReadAt) -> Result<TensorData, ConvertError> {
    match (plan.to == plan.from, plan.to) {
        (true, _) => read_unchanged::<S>(plan.len, read_at).map(one_axis),
        (false, WeightType::F32) => convert_chunks::<S, f32>(plan.len, read_at).map(one_axis),
        (false, WeightType::F16) => convert_chunks::<S, f16>(plan.len, read_at).map(one_axis),
        (false, WeightType::BF16) => convert_chunks::<S, bf16>(plan.len, read_at).map(one_axis),
    }
}

fn one_axis<T: Weight>(values: Vec<T>) -> TensorData {
    let shape = [values.len()];
    TensorData::new(values, shape)
}

fn read_unchanged<T: Weight>(len: usize, read_at: &ReadAt) -> Result<Vec<T>, ConvertError> {
    let mut values = vec![T::zeroed(); len];
    read_at(0, bytemuck::cast_slice_mut(&mut values)).map_err(ConvertError::Read)?;
    Ok(values)
}

fn convert_chunks<S: Weight, T: Weight>(
    len: usize,
    read_at: &ReadAt,
) -> Result<Vec<T>, ConvertError> {
    let mut converted = vec![T::zeroed(); len];
    let chunk_len = len.min(CHUNK_ELEMENTS);
    let (mut stored, mut wide) = (vec![S::zeroed(); chunk_len], vec![0f32; chunk_len]);
    let mut offset = 0;
    for target in converted.chunks_mut(CHUNK_ELEMENTS) {
        let (stored, wide) = (&mut stored[..target.len()], &mut wide[..target.len()]);
        read_at(offset, bytemuck::cast_slice_mut(stored)).map_err(ConvertError::Read)?;
        S::widen(stored, wide);
        T::narrow(wide, target);
        let overflow = wide
            .iter()
            .zip(&*target)
            .find(|(w, t)| w.is_finite() && !t.is_finite());
        if let Some((value, _)) = overflow {
            return Err(ConvertError::Overflow(*value));
        }
        offset += size_of_val(stored) as u64;
    }
    Ok(converted)
}

/// A float that weights are stored or kept in.
trait Weight: Pod + Zeroable + Element {
    /// Exact.
    fn widen(stored: &[Self], wide: &mut [f32]);
    /// To the nearest value, ties to even; infinite beyond the range.
    fn narrow(wide: &[f32], narrow: &mut [Self]);
    fn is_finite(&self) -> bool;
}

impl Weight for f32 {
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

    fn run<S: Pod, T: Element>(
        from: WeightType,
        to: WeightType,
        stored: &[S],
    ) -> Result<Vec<T>, ConvertError> {
        let bytes: &[u8] = bytemuck::cast_slice(stored);
        let read_at = |offset: u64, buffer: &mut [u8]| {
            buffer.copy_from_slice(&bytes[offset as usize..][..buffer.len()]);
            Ok(())
        };
        convert(
            Conversion {
                from,
                to,
                len: stored.len(),
            },
            &read_at,
        )
        .map(|data| data.into_vec::<T>().unwrap())
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
        let narrow: Vec<f16> = run(WeightType::F32, WeightType::F16, &wide).unwrap();
        let bits: Vec<u16> = narrow.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0x3c00, 0x3c02, 0x3c01, 0x8000, 0x0000, 0x7bff]);

        let wide = [
            f32::from_bits(0x3f80_8000),
            f32::from_bits(0x3f81_8000),
            f32::from_bits(0x3f80_8001),
        ];
        let narrow: Vec<bf16> = run(WeightType::F32, WeightType::BF16, &wide).unwrap();
        let bits: Vec<u16> = narrow.iter().map(|value| value.to_bits()).collect();
        assert_eq!(bits, [0x3f80, 0x3f82, 0x3f81]);
    }

    #[test]
    fn a_value_that_would_become_infinite_stops_the_conversion() {
        let wide = [1.0f32, -65520.0, 2.0];
        let result = run::<f32, f16>(WeightType::F32, WeightType::F16, &wide);
        assert!(matches!(result, Err(ConvertError::Overflow(-65520.0))));
        let result = run::<bf16, f16>(WeightType::BF16, WeightType::F16, &[bf16::from_f32(1e6)]);
        assert!(matches!(result, Err(ConvertError::Overflow(_))));
        let result = run::<f32, bf16>(WeightType::F32, WeightType::BF16, &[f32::MAX]);
        assert!(matches!(result, Err(ConvertError::Overflow(f32::MAX))));
    }

    #[test]
    fn what_is_not_finite_already_stays_as_it_is() {
        let wide = [f32::INFINITY, f32::NEG_INFINITY, f32::NAN];
        let narrow: Vec<f16> = run(WeightType::F32, WeightType::F16, &wide).unwrap();
        assert_eq!(narrow[..2], [f16::INFINITY, f16::NEG_INFINITY]);
        assert!(narrow[2].is_nan());
    }

    #[test]
    fn every_half_precision_value_survives_the_way_to_f32_and_back() {
        let all: Vec<f16> = (0..=u16::MAX)
            .map(f16::from_bits)
            .filter(|v| !v.is_nan())
            .collect();
        let wide: Vec<f32> = run(WeightType::F16, WeightType::F32, &all).unwrap();
        assert_eq!(
            run::<f32, f16>(WeightType::F32, WeightType::F16, &wide).unwrap(),
            all
        );

        let all: Vec<bf16> = (0..=u16::MAX)
            .map(bf16::from_bits)
            .filter(|v| !v.is_nan())
            .collect();
        let wide: Vec<f32> = run(WeightType::BF16, WeightType::F32, &all).unwrap();
        assert_eq!(
            run::<f32, bf16>(WeightType::F32, WeightType::BF16, &wide).unwrap(),
            all
        );
    }

    #[test]
    fn chunks_join_without_a_seam() {
        let wide: Vec<f32> = (0..2 * CHUNK_ELEMENTS + 3)
            .map(|index| (index % 2039) as f32)
            .collect();
        let narrow: Vec<f16> = run(WeightType::F32, WeightType::F16, &wide).unwrap();
        assert!(
            narrow
                .iter()
                .zip(&wide)
                .all(|(narrow, wide)| narrow.to_f32() == *wide)
        );
    }
}
