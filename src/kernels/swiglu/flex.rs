//! [`swiglu()`](super::swiglu()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{Kernel, MIN_ELEMENTS_PER_TASK, Simd, Tier, activations, answer, silu};

pub(in crate::kernels) fn run(
    gate: &FlexTensor,
    up: &FlexTensor,
) -> Result<FlexTensor, LaunchRefused> {
    let tier = Tier::best();
    let mut values = activations(gate)?.into_owned();
    let up = activations(up)?;
    let chunks = values.par_chunks_mut(MIN_ELEMENTS_PER_TASK);
    chunks
        .zip(up.par_chunks(MIN_ELEMENTS_PER_TASK))
        .for_each(|(gate, up)| tier.run(Gate { gate, up }));
    Ok(answer(values, gate.shape(), gate.dtype()))
}

struct Gate<'a> {
    gate: &'a mut [f32],
    up: &'a [f32],
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        for (gate, up) in self.gate.iter_mut().zip(self.up) {
            *gate = silu(*gate) * up;
        }
    }
}
