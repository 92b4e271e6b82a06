//! What the processor can do.

use super::simd::{Scalar, Simd};

#[cfg(target_arch = "x86_64")]
use super::simd::{Avx2, Avx512};

/// A set of instructions that this processor has.
///
/// The inner value is private: whoever holds a tier knows that it was detected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Tier(Instructions);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Instructions {
    Portable,
    #[cfg(target_arch = "x86_64")]
    Avx2,
    #[cfg(target_arch = "x86_64")]
    Avx512,
}

/// Work that is compiled once a tier.
pub(in crate::kernels) trait Kernel {
    /// What it computes.
    type Output;

    /// Does the work. Implementations are `#[inline(always)]`, down to every function that takes
    /// `simd`: only what is inlined is compiled with the instructions of the tier.
    fn run<S: Simd>(self, simd: S) -> Self::Output;
}

impl Tier {
    /// The fastest of this processor. Detection is cached by the standard library.
    pub(in crate::kernels) fn best() -> Self {
        #[cfg(target_arch = "x86_64")]
        {
            if is_x86_feature_detected!("avx512f") && has_avx2() {
                return Self(Instructions::Avx512);
            }
            if has_avx2() {
                return Self(Instructions::Avx2);
            }
        }
        Self(Instructions::Portable)
    }

    /// Every tier of this processor, the slowest first.
    #[cfg(test)]
    pub(in crate::kernels) fn all() -> Vec<Self> {
        let best = Self::best();
        let mut tiers = vec![Self(Instructions::Portable)];
        #[cfg(target_arch = "x86_64")]
        if best != tiers[0] {
            tiers.push(Self(Instructions::Avx2));
        }
        if !tiers.contains(&best) {
            tiers.push(best);
        }
        tiers
    }

    /// Runs `kernel` with the instructions of this tier.
    #[inline]
    #[cfg_attr(
        target_arch = "x86_64",
        expect(
            unsafe_code,
            reason = "functions compiled for instructions that were detected"
        )
    )]
    pub(in crate::kernels) fn run<K: Kernel>(self, kernel: K) -> K::Output {
        match self.0 {
            Instructions::Portable => kernel.run(Scalar),
            // SAFETY: `best` makes this tier only after it detected the three features.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx2 => unsafe { run_avx2(kernel) },
            // SAFETY: as above, and AVX-512F.
            #[cfg(target_arch = "x86_64")]
            Instructions::Avx512 => unsafe { run_avx512(kernel) },
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    is_x86_feature_detected!("avx2")
        && is_x86_feature_detected!("fma")
        && is_x86_feature_detected!("f16c")
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c")]
fn run_avx2<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx2::new())
}

#[cfg(target_arch = "x86_64")]
#[target_feature(enable = "avx2,fma,f16c,avx512f")]
fn run_avx512<K: Kernel>(kernel: K) -> K::Output {
    kernel.run(Avx512::new())
}
