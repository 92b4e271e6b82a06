//! [`swiglu()`](super::swiglu()) on the CPU.

use burn::tensor::TensorMetadata;
use burn_flex::FlexTensor;

use crate::kernels::LaunchRefused;
use crate::kernels::cpu::{
    Buffer, RowKernel, Simd, Tier, activations, float_tensor, for_each_row, silu,
};

pub(in crate::kernels) fn run(gate_up: &FlexTensor) -> Result<FlexTensor, LaunchRefused> {
    let [rows, size] = gate_up.shape().dims();
    let intermediate_size = size / 2;
    let values = activations(gate_up)?;
    let mut gated = Buffer::of_len(rows * intermediate_size);
    let kernel = Gate { gate_up: &values };
    for_each_row(Tier::best(), &mut gated, intermediate_size, &kernel);
    let shape = [rows, intermediate_size];
    Ok(float_tensor(gated, shape, gate_up.dtype()))
}

struct Gate<'a> {
    /// Of each row the gates, then the numbers they let through.
    gate_up: &'a [f32],
}

impl RowKernel for Gate<'_> {
    #[inline(always)]
    fn row<S: Simd>(&self, _: S, index: usize, row: &mut [f32]) {
        let size = row.len();
        let (gate, up) = self.gate_up[index * 2 * size..][..2 * size].split_at(size);
        for ((gated, gate), up) in row.iter_mut().zip(gate).zip(up) {
            *gated = silu(*gate) * up;
        }
    }
}
