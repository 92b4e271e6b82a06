//! Weights in blocks: a few bits an element, and a scale that the elements of a block share.
//!
//! The layouts and the order of operations are those of ggml
//! (<https://github.com/ggml-org/ggml/blob/master/src/ggml-quants.c>), so that every element is
//! the same f32 to the bit.

use half::f16;

use crate::kernels::PackedType;

/// Elements of a block of the older types.
const SMALL: usize = 32;
/// Elements of a block of the K types.
const LARGE: usize = 256;

/// How a block of elements is stored. The names are ggml's.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum BlockType {
    /// 4 bits and a scale for 32.
    Q4_0,
    /// 4 bits, a scale and a minimum for 32.
    Q4_1,
    /// 5 bits and a scale for 32.
    Q5_0,
    /// 5 bits, a scale and a minimum for 32.
    Q5_1,
    /// 8 bits and a scale for 32.
    Q8_0,
    /// 4 bits, for 32 a scale and a minimum of 6 bits.
    Q4K,
    /// 5 bits, for 32 a scale and a minimum of 6 bits.
    Q5K,
    /// 6 bits, for 16 a scale of 8 bits.
    Q6K,
    /// As [`Q4_0`](Self::Q4_0) until May 2023: the scale is f32, and neighbours share a byte.
    FirstQ4_0,
    /// As [`Q4_1`](Self::Q4_1) until May 2023.
    FirstQ4_1,
}

impl BlockType {
    /// The name that ggml gives it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Q4_0 => "Q4_0",
            Self::Q4_1 => "Q4_1",
            Self::Q5_0 => "Q5_0",
            Self::Q5_1 => "Q5_1",
            Self::Q8_0 => "Q8_0",
            Self::Q4K => "Q4_K",
            Self::Q5K => "Q5_K",
            Self::Q6K => "Q6_K",
            Self::FirstQ4_0 => "Q4_0 of GGJT v1",
            Self::FirstQ4_1 => "Q4_1 of GGJT v1",
        }
    }

    /// Elements of a block.
    #[must_use]
    pub const fn block_len(self) -> usize {
        match self {
            Self::Q4K | Self::Q5K | Self::Q6K => LARGE,
            Self::Q4_0
            | Self::Q4_1
            | Self::Q5_0
            | Self::Q5_1
            | Self::Q8_0
            | Self::FirstQ4_0
            | Self::FirstQ4_1 => SMALL,
        }
    }

    /// Bytes of a block.
    #[must_use]
    pub const fn size_bytes(self) -> usize {
        match self {
            Self::Q4_0 => 18,
            Self::Q4_1 | Self::FirstQ4_0 => 20,
            Self::Q5_0 => 22,
            Self::Q5_1 | Self::FirstQ4_1 => 24,
            Self::Q8_0 => 34,
            Self::Q4K => 144,
            Self::Q5K => 176,
            Self::Q6K => 210,
        }
    }

    /// The type that packs the same codes and scales, if there is one.
    pub(super) const fn packed_type(self) -> Option<PackedType> {
        match self {
            Self::Q8_0 => Some(PackedType::Q8),
            Self::Q4_0 => Some(PackedType::Q4),
            Self::Q4_1 => Some(PackedType::Q4WithMinimum),
            Self::Q5_0
            | Self::Q5_1
            | Self::Q4K
            | Self::Q5K
            | Self::Q6K
            | Self::FirstQ4_0
            | Self::FirstQ4_1 => None,
        }
    }

    /// The elements of whole blocks.
    pub(super) fn dequantise(self, stored: &[u8], wide: &mut [f32]) {
        let blocks = stored.chunks_exact(self.size_bytes());
        for (block, wide) in blocks.zip(wide.chunks_exact_mut(self.block_len())) {
            match self {
                Self::Q4_0 => {
                    let d = scale(block, 0);
                    halves(&block[2..], wide, |q| d * (f32::from(q) - 8.0));
                }
                Self::Q4_1 => {
                    let (d, m) = (scale(block, 0), scale(block, 2));
                    halves(&block[4..], wide, |q| d * f32::from(q) + m);
                }
                Self::Q5_0 => {
                    let d = scale(block, 0);
                    five_bits(&block[2..], wide, |q| d * (f32::from(q) - 16.0));
                }
                Self::Q5_1 => {
                    let (d, m) = (scale(block, 0), scale(block, 2));
                    five_bits(&block[4..], wide, |q| d * f32::from(q) + m);
                }
                Self::Q8_0 => q8_0(block, wide),
                Self::Q4K => q4_k(block, wide),
                Self::Q5K => q5_k(block, wide),
                Self::Q6K => q6_k(block, wide),
                Self::FirstQ4_0 => {
                    let d = wide_scale(block, 0);
                    neighbours(&block[4..], wide, |q| d * (f32::from(q) - 8.0));
                }
                Self::FirstQ4_1 => {
                    let (d, m) = (wide_scale(block, 0), wide_scale(block, 4));
                    neighbours(&block[8..], wide, |q| d * f32::from(q) + m);
                }
            }
        }
    }
}

fn scale(block: &[u8], at: usize) -> f32 {
    f16::from_le_bytes([block[at], block[at + 1]]).to_f32()
}

fn wide_scale(block: &[u8], at: usize) -> f32 {
    f32::from_le_bytes([block[at], block[at + 1], block[at + 2], block[at + 3]])
}

/// Low halves of the bytes are the first half of the elements, high halves the second.
fn halves(bytes: &[u8], wide: &mut [f32], element: impl Fn(u8) -> f32) {
    let (low, high) = wide.split_at_mut(wide.len() / 2);
    for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
        *low = element(byte & 15);
        *high = element(byte >> 4);
    }
}

/// The two halves of a byte are neighbours.
fn neighbours(bytes: &[u8], wide: &mut [f32], element: impl Fn(u8) -> f32) {
    for (byte, pair) in bytes.iter().zip(wide.chunks_exact_mut(2)) {
        pair[0] = element(byte & 15);
        pair[1] = element(byte >> 4);
    }
}

/// The fifth bit of each element, then the lower four as in [`halves`].
fn five_bits(bytes: &[u8], wide: &mut [f32], element: impl Fn(u8) -> f32) {
    let (fifths, bytes) = bytes.split_at(4);
    let fifth = |index: usize| (fifths[index / 8] >> (index % 8) & 1) << 4;
    for (index, byte) in bytes.iter().enumerate() {
        wide[index] = element(byte & 15 | fifth(index));
        wide[index + SMALL / 2] = element(byte >> 4 | fifth(index + SMALL / 2));
    }
}

fn q8_0(block: &[u8], wide: &mut [f32]) {
    let d = scale(block, 0);
    for (byte, wide) in block[2..].iter().zip(wide) {
        *wide = f32::from(byte.cast_signed()) * d;
    }
}

/// Scale and minimum of each of the eight parts of a K block, whose 12 bytes at 4 pack them in six
/// bits each.
fn six_bit_scales(block: &[u8]) -> [(f32, f32); 8] {
    let (d, d_min) = (scale(block, 0), scale(block, 2));
    let packed = &block[4..16];
    std::array::from_fn(|part| {
        let (scale, minimum) = match part {
            0..4 => (packed[part] & 63, packed[part + 4] & 63),
            _ => {
                let (low, high) = (packed[part + 4], [packed[part - 4], packed[part]]);
                (
                    low & 15 | high[0] >> 2 & 0x30,
                    low >> 4 | high[1] >> 2 & 0x30,
                )
            }
        };
        (d * f32::from(scale), d_min * f32::from(minimum))
    })
}

fn q4_k(block: &[u8], wide: &mut [f32]) {
    let scales = six_bit_scales(block);
    let pairs = block[16..].chunks_exact(32).zip(scales.chunks_exact(2));
    for ((bytes, scales), wide) in pairs.zip(wide.chunks_exact_mut(64)) {
        let [(d_low, m_low), (d_high, m_high)] = [scales[0], scales[1]];
        let (low, high) = wide.split_at_mut(32);
        for ((byte, low), high) in bytes.iter().zip(low).zip(high) {
            *low = d_low * f32::from(byte & 15) - m_low;
            *high = d_high * f32::from(byte >> 4) - m_high;
        }
    }
}

fn q5_k(block: &[u8], wide: &mut [f32]) {
    let scales = six_bit_scales(block);
    let (fifths, bytes) = block[16..].split_at(32);
    for (part, wide) in wide.chunks_exact_mut(32).enumerate() {
        let (d, m) = scales[part];
        let bytes = &bytes[part / 2 * 32..][..32];
        for ((byte, fifth), wide) in bytes.iter().zip(fifths).zip(wide) {
            let low = byte >> (part % 2 * 4) & 15;
            *wide = d * f32::from(low | (fifth >> part & 1) << 4) - m;
        }
    }
}

fn q6_k(block: &[u8], wide: &mut [f32]) {
    let (lower, rest) = block.split_at(128);
    let (upper, rest) = rest.split_at(64);
    let (scales, d) = rest.split_at(16);
    let d = scale(d, 0);
    for (part, wide) in wide.chunks_exact_mut(32).enumerate() {
        let (half, row) = (part / 4, part % 4);
        let lower = &lower[half * 64 + row % 2 * 32..][..32];
        let upper = &upper[half * 32..][..32];
        for (index, wide) in wide.iter_mut().enumerate() {
            let low = lower[index] >> (row / 2 * 4) & 15;
            let high = upper[index] >> (row * 2) & 3;
            let scale = scales[part * 2 + index / 16].cast_signed();
            *wide = d * f32::from(scale) * (f32::from(low | high << 4) - 32.0);
        }
    }
}
