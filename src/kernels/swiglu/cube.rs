//! One vector of the output a unit.

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::launch::{DeviceProperties, Elementwise, Operand, in_vectors, output};

#[cube(launch)]
fn swiglu_kernel<E: Float, N: Size>(
    gate_up: &Tensor<Vector<E, N>>,
    output: &mut Tensor<Vector<E, N>>,
    #[define(E)] _dtype: StorageType,
) {
    let width = output.vector_size();
    let columns = output.shape(1) / width;
    if ABSOLUTE_POS < output.shape(0) * columns {
        let (row, column) = (ABSOLUTE_POS / columns, ABSOLUTE_POS % columns);
        let gate_at = row * (gate_up.stride(0) / width) + column;
        let gate = Vector::<f32, N>::cast_from(gate_up[gate_at]);
        let up = Vector::<f32, N>::cast_from(gate_up[gate_at + columns]);
        // The vectors of the CUDA that CubeCL writes have no unary minus.
        let negated = gate * Vector::new(-1.0);
        let silu = gate / (Vector::new(1.0) + negated.exp());
        output[ABSOLUTE_POS] = Vector::cast_from(silu * up);
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    gate_up: &CubeTensor<R>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let [rows, size] = gate_up.shape().dims();
    let intermediate_size = size / 2;
    let output = output(gate_up, [rows, intermediate_size].into(), gate_up.dtype);
    // Of one half: the other then begins with a whole vector too.
    let Elementwise { width, grid } = Elementwise::in_vectors(
        rows * intermediate_size,
        intermediate_size,
        &[gate_up, &output].map(Operand::from),
        &DeviceProperties::of(&gate_up.client),
    )?;
    let (cubes, units) = grid.size();
    swiglu_kernel::launch::<R>(
        &gate_up.client,
        cubes,
        units,
        width,
        in_vectors(gate_up, width).into_tensor_arg(),
        output.clone().into_tensor_arg(),
        gate_up.dtype.into(),
    );
    Ok(output)
}
