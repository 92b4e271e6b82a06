//! [`argmax()`](super::argmax()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{Kernel, Simd, Tier, activations, token_ids};

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

/// Id and logit of the most likely token; none of a row from which none can be chosen.
pub(in crate::kernels) struct Largest<'a> {
    pub(in crate::kernels) logits: &'a [f32],
}

impl Kernel for Largest<'_> {
    type Output = Option<(usize, f32)>;

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) -> Option<(usize, f32)> {
        // Two passes that vectorise are faster than one that carries the place along.
        let mut largest = f32::NEG_INFINITY;
        let mut is_finite = true;
        for &logit in self.logits {
            largest = if logit > largest { logit } else { largest };
            // False for NaN too.
            is_finite &= logit < f32::INFINITY;
        }
        if !is_finite || largest == f32::NEG_INFINITY {
            return None;
        }
        let id = self.logits.iter().position(|logit| *logit == largest)?;
        Some((id, largest))
    }
}
