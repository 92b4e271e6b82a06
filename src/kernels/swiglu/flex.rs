//! [`swiglu()`](super::swiglu()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;
use rayon::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{
    Buffer, Kernel, MIN_ELEMENTS_PER_TASK, Simd, Tier, activations, float_tensor, silu,
};

pub(in crate::kernels) fn run(gate_up: &FlexTensor) -> Result<FlexTensor, LaunchRefused> {
    let tier = Tier::best();
    let [rows, size] = gate_up.shape().dims();
    let intermediate_size = size / 2;
    let values = activations(gate_up)?;
    let mut gated = Buffer::of_len(rows * intermediate_size);
    let task_rows = MIN_ELEMENTS_PER_TASK.div_ceil(intermediate_size.max(1));
    let tasks = gated.par_chunks_mut((task_rows * intermediate_size).max(1));
    tasks
        .zip(values.par_chunks((task_rows * size).max(1)))
        .for_each(|(gated, gate_up)| {
            tier.run(Gate {
                gated,
                gate_up,
                intermediate_size,
            });
        });
    let shape = [rows, intermediate_size];
    Ok(float_tensor(gated, shape, gate_up.dtype()))
}

/// Some of the rows.
struct Gate<'a> {
    gated: &'a mut [f32],
    gate_up: &'a [f32],
    intermediate_size: usize,
}

impl Kernel for Gate<'_> {
    type Output = ();

    #[inline(always)]
    fn run<S: Simd>(self, _simd: S) {
        let rows = self.gate_up.chunks_exact(2 * self.intermediate_size);
        let gated = self.gated.chunks_exact_mut(self.intermediate_size);
        for (gated, row) in gated.zip(rows) {
            let (gate, up) = row.split_at(self.intermediate_size);
            for ((gated, gate), up) in gated.iter_mut().zip(gate).zip(up) {
                *gated = silu(*gate) * up;
            }
        }
    }
}
