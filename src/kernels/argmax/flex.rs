//! [`argmax()`](super::argmax()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{Kernel, MAX_LANES, Simd, Tier, activations, token_ids};

pub(in crate::kernels) fn run(logits: &FlexTensor) -> Result<FlexTensor, LaunchRefused> {
    let [_, vocab_size] = logits.shape().dims();
    let tier = Tier::best();
    let values = activations(logits)?;
    let rows = values.par_chunks(vocab_size.max(1));
    let ids = rows.map(|logits| {
        tier.run(Largest { logits })
            .map_or(vocab_size, |(id, _)| id)
    });
    Ok(token_ids(ids.collect()))
}

/// Logits that are compared at once: as many as two of the widest registers hold.
const LANES: usize = 2 * MAX_LANES;

/// Id and logit of the most likely token; none of a row from which none can be chosen.
pub(in crate::kernels) struct Largest<'a> {
    pub(in crate::kernels) logits: &'a [f32],
}

impl Kernel for Largest<'_> {
    type Output = Option<(usize, f32)>;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Option<(usize, f32)> {
        // Two passes that vectorise are faster than one that carries the place along.
        let (chunks, rest) = self.logits.as_chunks::<LANES>();
        let mut lanes = Lanes {
            largest: [f32::NEG_INFINITY; LANES],
            are_infinite: [0; LANES],
        };
        chunks.iter().for_each(|chunk| lanes.see(chunk));
        lanes.see(rest);
        let largest = lanes.largest.into_iter().fold(f32::NEG_INFINITY, f32::max);
        if lanes.are_infinite != [0; LANES] || largest == f32::NEG_INFINITY {
            return None;
        }
        let has_it = |chunk: &[f32]| {
            chunk
                .iter()
                .fold(false, |has, logit| has | (*logit == largest))
        };
        let without = chunks.iter().take_while(|chunk| !has_it(&chunk[..]));
        let before = without.count() * LANES;
        let mut rest = self.logits[before..].iter();
        let id = rest.position(|logit| *logit == largest)?;
        Some((before + id, largest))
    }
}

/// What has been seen of every logit that is a multiple of `LANES` behind the first few.
struct Lanes {
    largest: [f32; LANES],
    /// 1 where one was infinite, or no number; as wide as a logit, so that both fit one kind of register.
    are_infinite: [u32; LANES],
}

impl Lanes {
    #[inline(always)]
    fn see(&mut self, logits: &[f32]) {
        let lanes = self.largest.iter_mut().zip(&mut self.are_infinite);
        for ((largest, is_infinite), &logit) in lanes.zip(logits) {
            *largest = if logit > *largest { logit } else { *largest };
            // NaN too is not below.
            let is_finite = logit < f32::INFINITY;
            *is_infinite |= u32::from(!is_finite);
        }
    }
}
