//! What every CubeCL launcher needs: it checks a launch against the device before it happens.
//!
//! A device stores a refused launch and goes on with stale numbers, so nothing may be launched that
//! the device's properties do not allow.

use burn::tensor::{DType, Shape, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::kernel::into_contiguous;
use burn_cubecl::ops::numeric::empty_device_contiguous_dtype;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::ComputeClient;
use cubecl::features::{Plane, TypeUsage};
use cubecl::ir::AddressType;
use cubecl::prelude::{CubeCount, CubeDim, SequenceArg};

use super::cube::reduce::{Exchange, Team};
use super::{KvRow, LaunchRefused};

/// Rows of a batch that one launch takes: their slots and lengths travel as scalars, which cost no
/// upload but a comparison each.
const MAX_ROWS: usize = 16;

/// The size of a launch, and what it takes from the device.
#[derive(Debug, Clone, Copy)]
pub(in crate::kernels) struct Grid {
    /// Cubes in x, y and z.
    pub(in crate::kernels) cubes: [usize; 3],
    /// Units of each cube, along x.
    pub(in crate::kernels) units: u32,
    /// Shared memory of each cube.
    pub(in crate::kernels) shared_memory_bytes: usize,
}

impl Grid {
    /// Enough cubes for `work_items` units that do not talk to each other; the kernel must drop
    /// the units beyond them.
    pub(in crate::kernels) fn elementwise(work_items: usize) -> Self {
        // 256 is the least that a device offers on all runtimes, SwiftShader included. Both factors
        // stay below the 65 535 cubes that WebGPU allows along an axis.
        let units = 256;
        let cubes = work_items.div_ceil(units as usize);
        let cubes_y = cubes.div_ceil(1 << 15).max(1);
        Self {
            cubes: [cubes.div_ceil(cubes_y), cubes_y, 1],
            units,
            shared_memory_bytes: 0,
        }
    }

    /// One cube for each of `rows`, whose units share the `items` of the row; a power of two of
    /// units, as [`sum_cube`](super::cube::reduce::sum_cube) wants them.
    pub(in crate::kernels) fn row_wise(rows: usize, items: usize) -> Self {
        let units = items.next_power_of_two().clamp(32, 256) as u32;
        let shared_memory_bytes = units as usize * size_of::<f32>();
        Self {
            cubes: [rows, 1, 1],
            units,
            shared_memory_bytes,
        }
    }

    /// The units of a cube, and how they can exchange sums on this device.
    pub(in crate::kernels) fn team<R: CubeRuntime>(self, client: &ComputeClient<R>) -> Team {
        let Self { units, .. } = self;
        let exchange = if has_planes(client, units) {
            Exchange::Planes
        } else {
            Exchange::SharedMemory
        };
        Team { units, exchange }
    }

    /// The launch of this grid over `tensors`, all that the kernel reads and writes.
    ///
    /// # Errors
    /// If the device cannot take it.
    pub(in crate::kernels) fn check<R: CubeRuntime>(
        self,
        tensors: &[&CubeTensor<R>],
    ) -> Result<(CubeCount, CubeDim), LaunchRefused> {
        let Some(first) = tensors.first() else {
            return refuse("a kernel without tensors");
        };
        self.check_size(&first.client)?;
        check_tensors(&first.client, tensors)?;
        let [x, y, z] = self.cubes.map(|cubes| cubes as u32);
        Ok((CubeCount::Static(x, y, z), CubeDim::new_1d(self.units)))
    }

    fn check_size<R: CubeRuntime>(self, client: &ComputeClient<R>) -> Result<(), LaunchRefused> {
        let hardware = &client.properties().hardware;
        let (max_x, max_y, max_z) = hardware.max_cube_count;
        if self.cubes.contains(&0) {
            return refuse("nothing to compute");
        }
        if self
            .cubes
            .iter()
            .zip([max_x, max_y, max_z])
            .any(|(cubes, max)| *cubes > max as usize)
        {
            return refuse(format!(
                "{:?} cubes, the device launches {max_x}",
                self.cubes
            ));
        }
        let max_units = hardware.max_units_per_cube.min(hardware.max_cube_dim.0);
        if self.units > max_units {
            return refuse(format!(
                "{} units a cube, the device has {max_units}",
                self.units
            ));
        }
        let max_bytes = hardware.max_shared_memory_size;
        if self.shared_memory_bytes > max_bytes {
            let bytes = self.shared_memory_bytes;
            return refuse(format!(
                "{bytes} bytes of shared memory, the device has {max_bytes}"
            ));
        }
        Ok(())
    }
}

fn check_tensors<R: CubeRuntime>(
    client: &ComputeClient<R>,
    tensors: &[&CubeTensor<R>],
) -> Result<(), LaunchRefused> {
    // Shapes, strides and scalars take one more.
    let (bindings, max_bindings) = (
        tensors.len() + 1,
        client.properties().hardware.max_bindings as usize,
    );
    if bindings > max_bindings {
        return refuse(format!(
            "{bindings} bindings, the device has {max_bindings}"
        ));
    }
    for tensor in tensors {
        if !supports(client, tensor.dtype) {
            return refuse(format!(
                "the device does not compute in {}",
                tensor.dtype.name()
            ));
        }
        if tensor.required_address_type() != AddressType::U32 {
            return refuse("a tensor of more than 2^32 elements");
        }
    }
    Ok(())
}

/// Says that a launch is not possible, and why.
pub(in crate::kernels) fn refuse<T>(reason: impl Into<String>) -> Result<T, LaunchRefused> {
    Err(LaunchRefused {
        reason: reason.into(),
    })
}

/// Whether the device stores `dtype` and computes in it.
pub(in crate::kernels) fn supports<R: CubeRuntime>(
    client: &ComputeClient<R>,
    dtype: DType,
) -> bool {
    let needed = TypeUsage::Buffer | TypeUsage::Conversion | TypeUsage::Arithmetic;
    client
        .properties()
        .type_usage(dtype.into())
        .is_superset(needed)
}

/// The widest vector that `tensors` can all be read in, their last axis being `extent` long.
pub(in crate::kernels) fn vector_width<R: CubeRuntime>(
    tensors: &[&CubeTensor<R>],
    extent: usize,
) -> usize {
    let widest = |tensor: &&CubeTensor<R>| {
        let sizes = tensor.client.io_optimized_vector_sizes(tensor.dtype.size());
        sizes
            .filter(|width| extent.is_multiple_of(*width))
            .max()
            .unwrap_or(1)
    };
    tensors.iter().map(widest).min().unwrap_or(1)
}

/// `tensor`, or a copy of it if vectors of `width` along its last axis would not lie in one piece.
///
/// A pitched tensor is read as it is: the kernels take strides.
pub(in crate::kernels) fn in_vectors<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    width: usize,
) -> CubeTensor<R> {
    let reads = match tensor.meta.strides().split_last() {
        Some((1, outer)) => outer.iter().all(|stride| stride.is_multiple_of(width)),
        Some(_) | None => false,
    };
    if reads {
        tensor.clone()
    } else {
        into_contiguous(tensor.clone())
    }
}

/// A new contiguous tensor of the shape and type of `tensor`.
pub(in crate::kernels) fn output_like<R: CubeRuntime>(tensor: &CubeTensor<R>) -> CubeTensor<R> {
    output(tensor, tensor.shape(), tensor.dtype)
}

/// A new contiguous tensor on the device of `tensor`.
pub(in crate::kernels) fn output<R: CubeRuntime>(
    tensor: &CubeTensor<R>,
    shape: Shape,
    dtype: DType,
) -> CubeTensor<R> {
    empty_device_contiguous_dtype(tensor.client.clone(), tensor.device.clone(), shape, dtype)
}

/// Whether the units of a cube can be reduced plane by plane.
///
/// A device whose planes vary in width gives no fixed number of partial sums.
fn has_planes<R: CubeRuntime>(client: &ComputeClient<R>, units: u32) -> bool {
    let properties = client.properties();
    let width = properties.hardware.plane_size_max;
    let is_fixed = properties.hardware.plane_size_min == width;
    properties.features.plane.contains(Plane::Ops) && is_fixed && units.is_multiple_of(width)
}

/// A part of the batch, as scalars for one launch.
pub(in crate::kernels) struct RowChunk<'a> {
    /// Where in the batch the part begins.
    pub(in crate::kernels) first: usize,
    rows: &'a [KvRow],
}

/// `rows` in parts that one launch takes.
pub(in crate::kernels) fn row_chunks(rows: &[KvRow]) -> impl Iterator<Item = RowChunk<'_>> {
    let starts = (0..rows.len()).step_by(MAX_ROWS);
    rows.chunks(MAX_ROWS)
        .zip(starts)
        .map(|(rows, first)| RowChunk { first, rows })
}

impl RowChunk<'_> {
    /// How many rows there are.
    pub(in crate::kernels) fn count(&self) -> usize {
        self.rows.len()
    }

    /// The slot of each row.
    pub(in crate::kernels) fn slots<R: CubeRuntime>(&self) -> SequenceArg<R, u32> {
        self.rows.iter().map(|row| row.slot as u32).collect()
    }

    /// The length of each row.
    pub(in crate::kernels) fn lens<R: CubeRuntime>(&self) -> SequenceArg<R, u32> {
        self.rows.iter().map(|row| row.len as u32).collect()
    }
}
