//! Vectors of f32, as wide as the processor's registers.

#[cfg(target_arch = "x86_64")]
mod x86;

use half::{bf16, f16};

#[cfg(target_arch = "x86_64")]
pub(super) use x86::{Avx2, Avx512};

/// The proof that the processor has some instructions, and the operations they give.
///
/// # Safety
/// A value must exist only where the instructions do.
#[expect(unsafe_code, reason = "vector instructions")]
pub(in crate::kernels) unsafe trait Simd: Copy {
    /// A register of numbers.
    type Vector: Copy;

    /// Numbers in a register.
    const LANES: usize;

    /// Registers there are: how large a tile of sums may be.
    const REGISTERS: usize;

    /// `value` in every lane.
    fn splat(self, value: f32) -> Self::Vector;

    /// `LANES` numbers from `source` on.
    ///
    /// # Safety
    /// They must be readable. No alignment is needed beyond that of an element.
    unsafe fn load_f32(self, source: *const f32) -> Self::Vector;

    /// As [`load_f32`](Self::load_f32), widened.
    ///
    /// # Safety
    /// As there.
    unsafe fn load_f16(self, source: *const f16) -> Self::Vector;

    /// As [`load_f32`](Self::load_f32), widened.
    ///
    /// # Safety
    /// As there.
    unsafe fn load_bf16(self, source: *const bf16) -> Self::Vector;

    /// `LANES` signed bytes from `source` on, as numbers.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load_i8(self, source: *const i8) -> Self::Vector;

    /// The lower and the upper halves of `LANES` bytes from `source` on, as numbers from 0 to 15.
    ///
    /// # Safety
    /// They must be readable.
    unsafe fn load_half_bytes(self, source: *const u8) -> [Self::Vector; 2];

    /// As [`load_half_bytes`](Self::load_half_bytes), each number times `scale`, plus `minimum`.
    ///
    /// # Safety
    /// As there.
    #[inline(always)]
    unsafe fn load_scaled_half_bytes(
        self,
        source: *const u8,
        [scale, minimum]: [f32; 2],
    ) -> [Self::Vector; 2] {
        // SAFETY: the contract is the same.
        let [lower, upper] = unsafe { self.load_half_bytes(source) };
        let (scale, minimum) = (self.splat(scale), self.splat(minimum));
        [
            self.mul_add(lower, scale, minimum),
            self.mul_add(upper, scale, minimum),
        ]
    }

    /// Writes `LANES` numbers from `target` on.
    ///
    /// # Safety
    /// They must be writable.
    unsafe fn store(self, target: *mut f32, vector: Self::Vector);

    /// Writes a square transposed: lane `i` of vector `j` to `target + i * stride + j`, in the order of
    /// `i`: where rows overlap, the later one stays.
    ///
    /// # Safety
    /// `LANES` rows of `LANES` numbers, `stride` apart, must be writable.
    ///
    /// # Panics
    /// If there are fewer than `LANES` vectors.
    unsafe fn store_transposed(self, square: &[Self::Vector], target: *mut f32, stride: usize);

    /// Asks for the cache line at `place`, which need not be there.
    fn prefetch(self, place: *const u8);

    /// `a * b + c`, rounded once where the processor can.
    fn mul_add(self, a: Self::Vector, b: Self::Vector, c: Self::Vector) -> Self::Vector;

    /// The sums of the lanes of four vectors, which take hardly longer than that of one.
    fn sum_each(self, vectors: [Self::Vector; 4]) -> [f32; 4];

    /// The sum of the lanes, in the order of [`sum_each`](Self::sum_each): so a row of a batch is
    /// answered bit by bit as if it were alone.
    #[inline(always)]
    fn sum(self, vector: Self::Vector) -> f32 {
        let [sum, ..] = self.sum_each([vector; 4]);
        sum
    }
}

/// No instructions beyond the compiler's baseline.
///
/// Eight lanes: two registers of SSE2 or NEON, which the compiler finds by itself.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scalar;

// SAFETY: it needs nothing that the target lacks.
#[expect(unsafe_code, reason = "vector instructions")]
unsafe impl Simd for Scalar {
    type Vector = [f32; 8];

    const LANES: usize = 8;
    const REGISTERS: usize = 8;

    #[inline(always)]
    fn splat(self, value: f32) -> [f32; 8] {
        [value; 8]
    }

    #[inline(always)]
    unsafe fn load_f32(self, source: *const f32) -> [f32; 8] {
        // SAFETY: eight elements are readable, by the contract of this method.
        unsafe { source.cast::<[f32; 8]>().read() }
    }

    #[inline(always)]
    unsafe fn load_f16(self, source: *const f16) -> [f32; 8] {
        // SAFETY: eight elements are readable, by the contract of this method.
        let halves = unsafe { source.cast::<[f16; 8]>().read() };
        halves.map(|half| widen_f16(half.to_bits()))
    }

    #[inline(always)]
    unsafe fn load_bf16(self, source: *const bf16) -> [f32; 8] {
        // SAFETY: eight elements are readable, by the contract of this method.
        let halves = unsafe { source.cast::<[bf16; 8]>().read() };
        halves.map(|half| f32::from_bits(u32::from(half.to_bits()) << 16))
    }

    #[inline(always)]
    unsafe fn load_i8(self, source: *const i8) -> [f32; 8] {
        // SAFETY: eight bytes are readable, by the contract of this method.
        let bytes = unsafe { source.cast::<[i8; 8]>().read() };
        bytes.map(f32::from)
    }

    #[inline(always)]
    unsafe fn load_half_bytes(self, source: *const u8) -> [[f32; 8]; 2] {
        // SAFETY: eight bytes are readable, by the contract of this method.
        let bytes = unsafe { source.cast::<[u8; 8]>().read() };
        [
            bytes.map(|byte| f32::from(byte & 15)),
            bytes.map(|byte| f32::from(byte >> 4)),
        ]
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32, vector: [f32; 8]) {
        // SAFETY: eight elements are writable, by the contract of this method.
        unsafe { target.cast::<[f32; 8]>().write(vector) }
    }

    #[inline(always)]
    unsafe fn store_transposed(self, square: &[[f32; 8]], target: *mut f32, stride: usize) {
        let column = |lane: usize| std::array::from_fn::<f32, 8, _>(|vector| square[vector][lane]);
        let rows: [[f32; 8]; 8] = std::array::from_fn(column);
        for (lane, row) in rows.into_iter().enumerate() {
            // SAFETY: eight rows of eight elements are writable, by the contract of this method.
            unsafe { target.add(lane * stride).cast::<[f32; 8]>().write(row) }
        }
    }

    #[inline(always)]
    fn prefetch(self, _place: *const u8) {}

    #[inline(always)]
    fn mul_add(self, a: [f32; 8], b: [f32; 8], mut c: [f32; 8]) -> [f32; 8] {
        // Not `f32::mul_add`: without the instruction that is a library call for each lane.
        for lane in 0..8 {
            c[lane] += a[lane] * b[lane];
        }
        c
    }

    #[inline(always)]
    fn sum_each(self, vectors: [[f32; 8]; 4]) -> [f32; 4] {
        vectors.map(|[a, b, c, d, e, f, g, h]| ((a + e) + (c + g)) + ((b + f) + (d + h)))
    }
}

/// An f16, without a branch or the conversion instruction, so that it vectorises anywhere.
#[inline(always)]
pub(in crate::kernels::cpu) fn widen_f16(bits: u16) -> f32 {
    let magnitude = u32::from(bits & 0x7fff) << 13;
    // Rebiases the exponent; exact for subnormal numbers too, since the multiplier is a power of 2.
    let finite = f32::from_bits(magnitude) * f32::from_bits((127 + 112) << 23);
    let special = f32::from_bits(magnitude | 0x7f80_0000);
    let is_special = bits & 0x7c00 == 0x7c00;
    let value = if is_special { special } else { finite };
    f32::from_bits(value.to_bits() | u32::from(bits & 0x8000) << 16)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widening_is_exact_for_every_f16() {
        for bits in 0..=u16::MAX {
            let (found, expected) = (widen_f16(bits), f16::from_bits(bits).to_f32());
            assert!(
                found.to_bits() == expected.to_bits() || found.is_nan() && expected.is_nan(),
                "{bits:#06x}: {found} {expected}"
            );
        }
    }
}
