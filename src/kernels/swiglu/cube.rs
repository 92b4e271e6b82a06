//! One vector of the output a unit.

use burn::tensor::TensorMetadata;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::launch::{Grid, in_vectors, output_like, refuse, vector_width};

#[cube(launch)]
fn swiglu_kernel<E: Float, N: Size>(
    gate: &Tensor<Vector<E, N>>,
    up: &Tensor<Vector<E, N>>,
    output: &mut Tensor<Vector<E, N>>,
    #[define(E)] _dtype: StorageType,
) {
    let width = output.vector_size();
    let columns = output.shape(1) / width;
    if ABSOLUTE_POS < output.shape(0) * columns {
        let (row, column) = (ABSOLUTE_POS / columns, ABSOLUTE_POS % columns);
        let gate_at = row * (gate.stride(0) / width) + column;
        let up_at = row * (up.stride(0) / width) + column;
        let gate = Vector::<f32, N>::cast_from(gate[gate_at]);
        let up = Vector::<f32, N>::cast_from(up[up_at]);
        // The vectors of the CUDA that CubeCL writes have no unary minus.
        let negated = gate * Vector::new(-1.0);
        let silu = gate / (Vector::new(1.0) + negated.exp());
        output[ABSOLUTE_POS] = Vector::cast_from(silu * up);
    }
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    gate: &CubeTensor<R>,
    up: &CubeTensor<R>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    if gate.dtype != up.dtype {
        return refuse("gate and up differ in type");
    }
    let [rows, intermediate_size] = gate.shape().dims();
    let width = vector_width(&[gate, up], intermediate_size);
    let output = output_like(gate);
    let grid = Grid::elementwise(rows * intermediate_size / width);
    let (cubes, units) = grid.check(&[gate, up, &output])?;
    swiglu_kernel::launch::<R>(
        &gate.client,
        cubes,
        units,
        width,
        in_vectors(gate, width).into_tensor_arg(),
        in_vectors(up, width).into_tensor_arg(),
        output.clone().into_tensor_arg(),
        gate.dtype.into(),
    );
    Ok(output)
}
