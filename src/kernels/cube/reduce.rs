//! What the units of a cube do together, for use inside kernels.

use cubecl::prelude::*;

/// How the units of a cube exchange their parts of a sum.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernels) enum Exchange {
    /// Through shared memory alone: on every device.
    SharedMemory,
    /// Within planes first.
    Planes,
}

/// The units of a cube that share a piece of work, known when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::kernels) struct Team {
    /// How many there are: a power of two.
    pub(in crate::kernels) units: u32,
    /// How they exchange sums.
    pub(in crate::kernels) exchange: Exchange,
}

/// The row of a cube where each has one; a cube beyond the last row does that row once more.
///
/// None may leave instead: the units of a cube wait for each other.
#[cube]
pub(in crate::kernels) fn row_of_cube(rows: usize) -> usize {
    min(CUBE_POS, rows - 1)
}

/// The sum of `value` over all units of the cube; every one of them must call it.
#[cube]
pub(in crate::kernels) fn sum_cube(value: f32, #[comptime] team: Team) -> f32 {
    let mut parts = new_parts(team);
    sum_parts(value, &mut parts, team)
}

/// The shared memory in which [`sum_parts`] works.
#[cube]
pub(in crate::kernels) fn new_parts(#[comptime] team: Team) -> SharedMemory<f32> {
    SharedMemory::<f32>::new(comptime!(team.units as usize))
}

/// [`sum_cube`] for kernels that need it often: each sum is made in the same `parts`.
#[cube]
pub(in crate::kernels) fn sum_parts(
    value: f32,
    parts: &mut SharedMemory<f32>,
    #[comptime] team: Team,
) -> f32 {
    let units = comptime!(team.units);
    let mut total = 0.0f32;
    match comptime!(team.exchange) {
        Exchange::Planes => {
            let part = plane_sum(value);
            if UNIT_POS_PLANE == 0 {
                parts[PLANE_POS as usize] = part;
            }
            sync_cube();
            for plane in 0..units.runtime() / PLANE_DIM {
                total += parts[plane as usize];
            }
        }
        Exchange::SharedMemory => {
            parts[UNIT_POS_X as usize] = value;
            sync_cube();
            #[unroll]
            for step in 0..comptime!(units.ilog2()) {
                let half = comptime!(units >> (step + 1));
                if UNIT_POS_X < half {
                    let other = parts[(UNIT_POS_X + half) as usize];
                    parts[UNIT_POS_X as usize] += other;
                }
                sync_cube();
            }
            total = parts[0];
        }
    }
    // The next sum may be made in this memory again.
    sync_cube();
    total
}

/// The sum of the elements of a vector.
#[cube]
pub(in crate::kernels) fn sum_vector<N: Size>(vector: Vector<f32, N>) -> f32 {
    let mut sum = 0.0f32;
    #[unroll]
    for lane in 0..vector.vector_size() {
        sum += vector[lane];
    }
    sum
}

#[cfg(all(test, feature = "wgpu"))]
mod tests {
    use burn_cubecl::tensor::CubeTensor;
    use cubecl::wgpu::WgpuRuntime;

    use super::*;

    #[cube(launch)]
    fn sums_kernel(values: &Tensor<f32>, sums: &mut Tensor<f32>, #[comptime] team: Team) {
        let sum = sum_cube(values[UNIT_POS_X as usize], team);
        // A second sum in the same kernel must not see the first.
        sums[UNIT_POS_X as usize] = sum_cube(sum, team);
    }

    fn sums(units: u32, exchange: Exchange) -> Vec<f32> {
        let client = WgpuRuntime::client(&Default::default());
        let values: Vec<f32> = (0..units).map(|unit| unit as f32).collect();
        let tensor = |values: &[f32]| {
            let handle = client.create_from_slice(bytemuck::cast_slice(values));
            let shape = [values.len()].into();
            let device = Default::default();
            CubeTensor::new_contiguous(
                client.clone(),
                device,
                shape,
                handle,
                burn::tensor::DType::F32,
            )
        };
        let (values, sums) = (tensor(&values), tensor(&vec![0.0; units as usize]));
        sums_kernel::launch::<WgpuRuntime>(
            &client,
            CubeCount::new_single(),
            CubeDim::new_1d(units),
            values.into_tensor_arg(),
            sums.clone().into_tensor_arg(),
            Team { units, exchange },
        );
        client.flush().expect("the launch is valid");
        let bytes = client.read_one(sums.handle).expect("the sums can be read");
        bytemuck::cast_slice(&bytes).to_vec()
    }

    #[test]
    fn every_unit_learns_the_same_sum_either_way() {
        for units in [32, 64, 256] {
            let total = (units * (units - 1) / 2 * units) as f32;
            for exchange in [Exchange::SharedMemory, Exchange::Planes] {
                assert_eq!(
                    sums(units, exchange),
                    vec![total; units as usize],
                    "{exchange:?}"
                );
            }
        }
    }
}
