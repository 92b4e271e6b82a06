//! The vectors of x86-64 processors.

#![expect(unsafe_code, reason = "vector instructions")]

use std::arch::x86_64::{
    __m128, __m256, __m512, _MM_HINT_T0, _mm_add_ps, _mm_loadl_epi64, _mm_loadu_si128,
    _mm_prefetch, _mm256_and_si256, _mm256_castpd_ps, _mm256_castps_pd, _mm256_castps256_ps128,
    _mm256_castsi256_ps, _mm256_cvtepi8_epi32, _mm256_cvtepi32_ps, _mm256_cvtepu8_epi32,
    _mm256_cvtepu16_epi32, _mm256_cvtph_ps, _mm256_extractf128_ps, _mm256_fmadd_ps, _mm256_hadd_ps,
    _mm256_loadu_ps, _mm256_loadu_si256, _mm256_permute2f128_ps, _mm256_set1_epi32, _mm256_set1_ps,
    _mm256_slli_epi32, _mm256_srli_epi32, _mm256_storeu_ps, _mm256_unpackhi_pd, _mm256_unpackhi_ps,
    _mm256_unpacklo_pd, _mm256_unpacklo_ps, _mm512_add_ps, _mm512_castpd_ps, _mm512_castps_pd,
    _mm512_castps512_ps256, _mm512_castsi512_ps, _mm512_cvtepi8_epi32, _mm512_cvtepi32_ps,
    _mm512_cvtepu8_epi32, _mm512_cvtepu16_epi32, _mm512_cvtph_ps, _mm512_fmadd_ps, _mm512_loadu_ps,
    _mm512_permutexvar_ps, _mm512_set1_ps, _mm512_setr_ps, _mm512_shuffle_f32x4, _mm512_slli_epi32,
    _mm512_srli_epi32, _mm512_storeu_ps, _mm512_unpackhi_pd, _mm512_unpackhi_ps,
    _mm512_unpacklo_pd, _mm512_unpacklo_ps,
};

use half::{bf16, f16};

use super::Simd;

/// AVX2 with FMA and F16C: Haswell and Zen, and everything after.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels::cpu) struct Avx2(());

/// AVX-512F beside AVX2: Skylake-X and Zen 4, and most servers after.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels::cpu) struct Avx512(());

impl Avx2 {
    /// Callable only where the instructions exist.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c")]
    pub(in crate::kernels::cpu) fn new() -> Self {
        Self(())
    }
}

impl Avx512 {
    /// Callable only where the instructions exist.
    #[inline]
    #[target_feature(enable = "avx2,fma,f16c,avx512f")]
    pub(in crate::kernels::cpu) fn new() -> Self {
        Self(())
    }
}

// SAFETY: the only constructor has the target features.
unsafe impl Simd for Avx2 {
    type Vector = __m256;

    const LANES: usize = 8;
    const REGISTERS: usize = 16;

    #[inline(always)]
    fn splat(self, value: f32) -> __m256 {
        // SAFETY: AVX2 exists, since `self` does.
        unsafe { _mm256_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load_f32(self, source: *const f32) -> __m256 {
        // SAFETY: AVX2 exists, since `self` does; the caller vouches for eight elements.
        unsafe { _mm256_loadu_ps(source) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, source: *const f16) -> __m256 {
        // SAFETY: F16C exists, since `self` does; the caller vouches for eight elements.
        unsafe { _mm256_cvtph_ps(_mm_loadu_si128(source.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, source: *const bf16) -> __m256 {
        // SAFETY: AVX2 exists, since `self` does; the caller vouches for eight elements.
        unsafe {
            let bits = _mm256_cvtepu16_epi32(_mm_loadu_si128(source.cast()));
            _mm256_castsi256_ps(_mm256_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(self, source: *const i8) -> __m256 {
        // SAFETY: AVX2 exists, since `self` does; the caller vouches for eight bytes.
        unsafe {
            let bytes = _mm_loadl_epi64(source.cast());
            _mm256_cvtepi32_ps(_mm256_cvtepi8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn load_half_bytes(self, source: *const u8) -> [__m256; 2] {
        // SAFETY: AVX2 exists, since `self` does; the caller vouches for eight bytes.
        unsafe {
            let bytes = _mm256_cvtepu8_epi32(_mm_loadl_epi64(source.cast()));
            let lower = _mm256_and_si256(bytes, _mm256_set1_epi32(15));
            let upper = _mm256_srli_epi32::<4>(bytes);
            [_mm256_cvtepi32_ps(lower), _mm256_cvtepi32_ps(upper)]
        }
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32, vector: __m256) {
        // SAFETY: AVX2 exists, since `self` does; the caller vouches for eight elements.
        unsafe { _mm256_storeu_ps(target, vector) }
    }

    #[inline(always)]
    unsafe fn store_transposed(self, square: &[__m256], target: *mut f32, stride: usize) {
        let square = square.first_chunk::<8>().expect("as many vectors as lanes");
        // SAFETY: AVX2 exists, since `self` does; the caller vouches for eight rows of eight.
        unsafe {
            let [a, b, c, d, e, f, g, h] = *square;
            let (top, bottom) = (
                transpose_fours_256([a, b, c, d]),
                transpose_fours_256([e, f, g, h]),
            );
            let mut rows = [top[0]; 8];
            for column in 0..4 {
                let (low, high) = (top[column], bottom[column]);
                rows[column] = _mm256_permute2f128_ps::<0x20>(low, high);
                rows[column + 4] = _mm256_permute2f128_ps::<0x31>(low, high);
            }
            for (index, row) in rows.into_iter().enumerate() {
                _mm256_storeu_ps(target.add(index * stride), row);
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, place: *const u8) {
        // SAFETY: every x86-64 processor has it, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m256, b: __m256, c: __m256) -> __m256 {
        // SAFETY: FMA exists, since `self` does.
        unsafe { _mm256_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum_each(self, [a, b, c, d]: [__m256; 4]) -> [f32; 4] {
        // SAFETY: AVX2 exists, since `self` does; both types are four numbers.
        unsafe {
            let halves = _mm256_hadd_ps(_mm256_hadd_ps(a, b), _mm256_hadd_ps(c, d));
            let low = _mm256_castps256_ps128(halves);
            let sums = _mm_add_ps(low, _mm256_extractf128_ps::<1>(halves));
            std::mem::transmute::<__m128, [f32; 4]>(sums)
        }
    }
}

// SAFETY: the only constructor has the target features.
unsafe impl Simd for Avx512 {
    type Vector = __m512;

    const LANES: usize = 16;
    const REGISTERS: usize = 32;

    #[inline(always)]
    fn splat(self, value: f32) -> __m512 {
        // SAFETY: AVX-512F exists, since `self` does.
        unsafe { _mm512_set1_ps(value) }
    }

    #[inline(always)]
    unsafe fn load_f32(self, source: *const f32) -> __m512 {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 elements.
        unsafe { _mm512_loadu_ps(source) }
    }

    #[inline(always)]
    unsafe fn load_f16(self, source: *const f16) -> __m512 {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 elements.
        unsafe { _mm512_cvtph_ps(_mm256_loadu_si256(source.cast())) }
    }

    #[inline(always)]
    unsafe fn load_bf16(self, source: *const bf16) -> __m512 {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 elements.
        unsafe {
            let bits = _mm512_cvtepu16_epi32(_mm256_loadu_si256(source.cast()));
            _mm512_castsi512_ps(_mm512_slli_epi32::<16>(bits))
        }
    }

    #[inline(always)]
    unsafe fn load_i8(self, source: *const i8) -> __m512 {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 bytes.
        unsafe {
            let bytes = _mm_loadu_si128(source.cast());
            _mm512_cvtepi32_ps(_mm512_cvtepi8_epi32(bytes))
        }
    }

    #[inline(always)]
    unsafe fn load_half_bytes(self, source: *const u8) -> [__m512; 2] {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 bytes.
        unsafe {
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(source.cast()));
            let numbers = _mm512_setr_ps(
                0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0,
                15.0,
            );
            // The look-up goes by the lowest four bits and takes no conversion.
            let upper = _mm512_srli_epi32::<4>(bytes);
            [
                _mm512_permutexvar_ps(bytes, numbers),
                _mm512_permutexvar_ps(upper, numbers),
            ]
        }
    }

    #[inline(always)]
    unsafe fn load_scaled_half_bytes(
        self,
        source: *const u8,
        [scale, minimum]: [f32; 2],
    ) -> [__m512; 2] {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for sixteen bytes.
        unsafe {
            // All sixteen numbers there can be: a permutation, which reads four bits of a lane, picks.
            let numbers = _mm512_setr_ps(
                0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0, 8.0, 9.0, 10.0, 11.0, 12.0, 13.0, 14.0,
                15.0,
            );
            let (scale, minimum) = (_mm512_set1_ps(scale), _mm512_set1_ps(minimum));
            let numbers = _mm512_fmadd_ps(numbers, scale, minimum);
            let bytes = _mm512_cvtepu8_epi32(_mm_loadu_si128(source.cast()));
            [
                _mm512_permutexvar_ps(bytes, numbers),
                _mm512_permutexvar_ps(_mm512_srli_epi32::<4>(bytes), numbers),
            ]
        }
    }

    #[inline(always)]
    unsafe fn store(self, target: *mut f32, vector: __m512) {
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 elements.
        unsafe { _mm512_storeu_ps(target, vector) }
    }

    #[inline(always)]
    unsafe fn store_transposed(self, square: &[__m512], target: *mut f32, stride: usize) {
        let square = square
            .first_chunk::<16>()
            .expect("as many vectors as lanes");
        // SAFETY: AVX-512F exists, since `self` does; the caller vouches for 16 rows of 16.
        unsafe {
            let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = *square;
            let first = transpose_fours_512([a, b, c, d]);
            let second = transpose_fours_512([e, f, g, h]);
            let third = transpose_fours_512([i, j, k, l]);
            let fourth = transpose_fours_512([m, n, o, p]);
            let mut rows = [first[0]; 16];
            for column in 0..4 {
                let (a, b, c, d) = (first[column], second[column], third[column], fourth[column]);
                let even_low = _mm512_shuffle_f32x4::<0x88>(a, b);
                let even_high = _mm512_shuffle_f32x4::<0x88>(c, d);
                let odd_low = _mm512_shuffle_f32x4::<0xdd>(a, b);
                let odd_high = _mm512_shuffle_f32x4::<0xdd>(c, d);
                rows[column] = _mm512_shuffle_f32x4::<0x88>(even_low, even_high);
                rows[column + 4] = _mm512_shuffle_f32x4::<0x88>(odd_low, odd_high);
                rows[column + 8] = _mm512_shuffle_f32x4::<0xdd>(even_low, even_high);
                rows[column + 12] = _mm512_shuffle_f32x4::<0xdd>(odd_low, odd_high);
            }
            for (index, row) in rows.into_iter().enumerate() {
                _mm512_storeu_ps(target.add(index * stride), row);
            }
        }
    }

    #[inline(always)]
    fn prefetch(self, place: *const u8) {
        // SAFETY: every x86-64 processor has it, and it never faults.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(place.cast()) }
    }

    #[inline(always)]
    fn mul_add(self, a: __m512, b: __m512, c: __m512) -> __m512 {
        // SAFETY: AVX-512F exists, since `self` does.
        unsafe { _mm512_fmadd_ps(a, b, c) }
    }

    #[inline(always)]
    fn sum_each(self, [a, b, c, d]: [__m512; 4]) -> [f32; 4] {
        // SAFETY: AVX-512F exists, since `self` does; both types are four numbers.
        unsafe {
            let ab = _mm512_add_ps(_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
            let cd = _mm512_add_ps(_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
            let (ab, cd) = (_mm512_castps_pd(ab), _mm512_castps_pd(cd));
            let low = _mm512_castpd_ps(_mm512_unpacklo_pd(ab, cd));
            let high = _mm512_castpd_ps(_mm512_unpackhi_pd(ab, cd));
            let quarters = _mm512_add_ps(low, high);
            let swapped = _mm512_shuffle_f32x4::<0b01_00_11_10>(quarters, quarters);
            let halves = _mm512_castps512_ps256(_mm512_add_ps(quarters, swapped));
            let low = _mm256_castps256_ps128(halves);
            let sums = _mm_add_ps(low, _mm256_extractf128_ps::<1>(halves));
            std::mem::transmute::<__m128, [f32; 4]>(sums)
        }
    }
}

/// Transposes the square of four by four in each quarter of four vectors.
///
/// # Safety
/// AVX2 must exist.
#[inline(always)]
unsafe fn transpose_fours_256([a, b, c, d]: [__m256; 4]) -> [__m256; 4] {
    // SAFETY: by the contract.
    unsafe {
        let ab = (_mm256_unpacklo_ps(a, b), _mm256_unpackhi_ps(a, b));
        let cd = (_mm256_unpacklo_ps(c, d), _mm256_unpackhi_ps(c, d));
        let (ab_low, ab_high) = (_mm256_castps_pd(ab.0), _mm256_castps_pd(ab.1));
        let (cd_low, cd_high) = (_mm256_castps_pd(cd.0), _mm256_castps_pd(cd.1));
        [
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab_low, cd_low)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab_low, cd_low)),
            _mm256_castpd_ps(_mm256_unpacklo_pd(ab_high, cd_high)),
            _mm256_castpd_ps(_mm256_unpackhi_pd(ab_high, cd_high)),
        ]
    }
}

/// As [`transpose_fours_256`].
///
/// # Safety
/// AVX-512F must exist.
#[inline(always)]
unsafe fn transpose_fours_512([a, b, c, d]: [__m512; 4]) -> [__m512; 4] {
    // SAFETY: by the contract.
    unsafe {
        let ab = (_mm512_unpacklo_ps(a, b), _mm512_unpackhi_ps(a, b));
        let cd = (_mm512_unpacklo_ps(c, d), _mm512_unpackhi_ps(c, d));
        let (ab_low, ab_high) = (_mm512_castps_pd(ab.0), _mm512_castps_pd(ab.1));
        let (cd_low, cd_high) = (_mm512_castps_pd(cd.0), _mm512_castps_pd(cd.1));
        [
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab_low, cd_low)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab_low, cd_low)),
            _mm512_castpd_ps(_mm512_unpacklo_pd(ab_high, cd_high)),
            _mm512_castpd_ps(_mm512_unpackhi_pd(ab_high, cd_high)),
        ]
    }
}
