//! What launchers know of a device.

use burn::tensor::DType;
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::client::ComputeClient;
use cubecl::features::{MmaConfig, Plane, TypeUsage};
use cubecl::ir::AddressType;

use crate::kernels::LaunchRefused;

/// The properties of a device that strategies are chosen by: plain numbers, so that a test can ask
/// what is chosen on a device that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct DeviceProperties {
    /// Shared memory of a cube.
    pub(in crate::kernels) max_shared_memory_bytes: usize,
    /// Units of a cube, along x.
    pub(in crate::kernels) max_units: u32,
    /// Cubes of a launch in x, y and z.
    pub(in crate::kernels) max_cubes: [usize; 3],
    /// Buffers of a kernel.
    pub(in crate::kernels) max_bindings: usize,
    /// Units of a plane, where planes can sum and all are of one width.
    pub(in crate::kernels) plane_units: Option<u32>,
    /// How many cubes run side by side at the least, where the device says so.
    pub(in crate::kernels) multiprocessors: Option<usize>,
    /// The widest load, by its bytes and by its elements.
    pub(in crate::kernels) max_vector_bytes: usize,
    pub(in crate::kernels) max_vector_elements: usize,
    pub(in crate::kernels) has_f16: bool,
    pub(in crate::kernels) has_bf16: bool,
    /// Whether planes of 32 units multiply tiles of 16 by 16 of this type, with sums in f32.
    pub(in crate::kernels) multiplies_f16: bool,
    pub(in crate::kernels) multiplies_bf16: bool,
}

/// What a strategy is chosen by of a tensor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Operand {
    pub(in crate::kernels) dtype: DType,
    /// Whether 32 bits count its elements.
    pub(in crate::kernels) is_addressable: bool,
}

impl<R: CubeRuntime> From<&CubeTensor<R>> for Operand {
    fn from(tensor: &CubeTensor<R>) -> Self {
        Self {
            dtype: tensor.dtype,
            is_addressable: tensor.required_address_type() == AddressType::U32,
        }
    }
}

impl DeviceProperties {
    /// Those of the device behind a client.
    pub(in crate::kernels) fn of<R: CubeRuntime>(client: &ComputeClient<R>) -> Self {
        let properties = client.properties();
        let hardware = &properties.hardware;
        let (max_x, max_y, max_z) = hardware.max_cube_count;
        let plane_units = hardware.plane_size_max;
        let can_sum = properties.features.plane.contains(Plane::Ops);
        // A device whose planes vary in width gives no fixed number of partial sums.
        let is_fixed = hardware.plane_size_min == plane_units;
        let needed = TypeUsage::Buffer | TypeUsage::Conversion | TypeUsage::Arithmetic;
        let has = |dtype: DType| properties.type_usage(dtype.into()).is_superset(needed);
        Self {
            max_shared_memory_bytes: hardware.max_shared_memory_size,
            max_units: hardware.max_units_per_cube.min(hardware.max_cube_dim.0),
            max_cubes: [max_x, max_y, max_z].map(|max| max as usize),
            max_bindings: hardware.max_bindings as usize,
            plane_units: (can_sum && is_fixed).then_some(plane_units),
            multiprocessors: hardware
                .num_streaming_multiprocessors
                .filter(|count| *count > 0)
                .map(|count| count as usize),
            max_vector_bytes: hardware.load_width as usize / 8,
            max_vector_elements: hardware.max_vector_size,
            has_f16: has(DType::F16),
            has_bf16: has(DType::BF16),
            multiplies_f16: multiplies(client, DType::F16),
            multiplies_bf16: multiplies(client, DType::BF16),
        }
    }

    /// Whether the device stores `dtype`, computes in it, and our kernels read it.
    pub(in crate::kernels) fn computes(&self, dtype: DType) -> bool {
        match dtype {
            DType::F32 | DType::I32 | DType::U32 => true,
            DType::F16 => self.has_f16,
            DType::BF16 => self.has_bf16,
            _ => false,
        }
    }

    /// Whether the device has matrix units for `dtype` that our kernels use.
    pub(in crate::kernels) fn multiplies(&self, dtype: DType) -> bool {
        match dtype {
            DType::F16 => self.multiplies_f16,
            DType::BF16 => self.multiplies_bf16,
            _ => false,
        }
    }

    /// The widest vector in which rows of `extent` elements of each of the types can be read.
    pub(in crate::kernels) fn vector_width(
        &self,
        dtypes: impl IntoIterator<Item = DType>,
        extent: usize,
    ) -> usize {
        let widest = dtypes.into_iter().map(|dtype| {
            let fits = self.max_vector_bytes / dtype.size();
            fits.min(self.max_vector_elements).max(1).ilog2()
        });
        let widest = widest.min().unwrap_or(0);
        1 << widest.min(extent.trailing_zeros())
    }

    /// # Errors
    /// If a kernel cannot read or write such tensors here.
    pub(in crate::kernels) fn check_operands(
        &self,
        operands: &[Operand],
    ) -> Result<(), LaunchRefused> {
        // Shapes, strides and scalars take one more.
        let bindings = operands.len() + 1;
        if bindings > self.max_bindings {
            return Err(LaunchRefused::TooManyBindings {
                bindings,
                max_bindings: self.max_bindings,
            });
        }
        for operand in operands {
            if !self.computes(operand.dtype) {
                return Err(LaunchRefused::NotComputed(operand.dtype));
            }
            if !operand.is_addressable {
                return Err(LaunchRefused::TooManyElements);
            }
        }
        Ok(())
    }
}

/// Whether planes of 32 units multiply tiles of 16 by 16 of `dtype`, with sums in f32, and find them
/// in shared memory where they want them. The latter leaves out Vulkan, where nothing has run our
/// kernels on matrix units yet.
fn multiplies<R: CubeRuntime>(client: &ComputeClient<R>, dtype: DType) -> bool {
    let config = MmaConfig {
        a_type: dtype.into(),
        b_type: dtype.into(),
        cd_type: DType::F32.into(),
        m: 16,
        n: 16,
        k: 16,
    };
    let properties = client.properties();
    let features = &properties.features;
    features.matmul.cmma.contains(&config)
        && features.alignment
        && features.plane.contains(Plane::Ops)
        && features.plane.contains(Plane::Sync)
        && properties.hardware.plane_size_min == 32
        && properties.hardware.plane_size_max == 32
}
