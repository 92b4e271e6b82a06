//! How work is cut into cubes.

use cubecl::prelude::{CubeCount, CubeDim};

use super::{DeviceProperties, Operand};
use crate::kernels::LaunchRefused;
use crate::kernels::cube::reduce::{Exchange, Team};

/// Cubes along x before more go to y: both axes stay below the 65 535 that WebGPU allows.
const MAX_CUBES_X: usize = 1 << 15;

/// The size of a launch, and what it takes from the device.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Grid {
    /// Cubes in x, y and z.
    pub(in crate::kernels) cubes: [usize; 3],
    /// Units of each cube, along x.
    pub(in crate::kernels) units: u32,
    /// Shared memory of each cube.
    pub(in crate::kernels) shared_memory_bytes: usize,
}

impl Grid {
    /// At least `cubes`, folded over two axes. `CUBE_POS` counts them in one row; the kernel must do
    /// nothing new in those beyond `cubes`.
    pub(in crate::kernels) fn folded(cubes: usize, units: u32, shared_memory_bytes: usize) -> Self {
        let cubes_y = cubes.div_ceil(MAX_CUBES_X).max(1);
        Self {
            cubes: [cubes.div_ceil(cubes_y), cubes_y, 1],
            units,
            shared_memory_bytes,
        }
    }

    /// # Errors
    /// If the device does not launch a grid of this size.
    pub(in crate::kernels) fn check(
        self,
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        let DeviceProperties {
            max_cubes,
            max_units,
            max_shared_memory_bytes: max_bytes,
            ..
        } = *device;
        let Self {
            cubes,
            units,
            shared_memory_bytes: bytes,
        } = self;
        if cubes.contains(&0) {
            return Err(LaunchRefused::NothingToCompute);
        }
        if cubes.iter().zip(max_cubes).any(|(cubes, max)| *cubes > max) {
            return Err(LaunchRefused::TooManyCubes { cubes, max_cubes });
        }
        if units > max_units {
            return Err(LaunchRefused::TooManyUnits { units, max_units });
        }
        if bytes > max_bytes {
            return Err(LaunchRefused::TooMuchSharedMemory { bytes, max_bytes });
        }
        Ok(self)
    }

    /// As a launch wants it.
    pub(in crate::kernels) fn size(self) -> (CubeCount, CubeDim) {
        let [x, y, z] = self.cubes.map(|cubes| cubes as u32);
        (CubeCount::Static(x, y, z), CubeDim::new_1d(self.units))
    }
}

/// Units that do not talk to each other; the kernel must drop those beyond the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct Elementwise {
    /// Elements of a unit.
    pub(in crate::kernels) width: usize,
    pub(in crate::kernels) grid: Grid,
}

impl Elementwise {
    /// 256 is the most that every device offers, SwiftShader included.
    const UNITS: u32 = 256;

    /// A unit for each vector of `elements`, which lie in rows of `extent`.
    pub(in crate::kernels) fn in_vectors(
        elements: usize,
        extent: usize,
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        let width = device.vector_width(operands.iter().map(|operand| operand.dtype), extent);
        Self::of_width(elements, width, operands, device)
    }

    /// A unit for each `width` of `elements`.
    pub(in crate::kernels) fn of_width(
        elements: usize,
        width: usize,
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        device.check_operands(operands)?;
        let cubes = (elements / width).div_ceil(Self::UNITS as usize);
        let grid = Grid::folded(cubes, Self::UNITS, 0).check(device)?;
        Ok(Self { width, grid })
    }
}

/// A cube for each row, whose units share the row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::kernels) struct RowWise {
    /// Elements that a unit reads at a time.
    pub(in crate::kernels) width: usize,
    pub(in crate::kernels) team: Team,
    pub(in crate::kernels) grid: Grid,
}

impl RowWise {
    /// Rows of `extent` elements, read in vectors, over which one number at a time is summed.
    pub(in crate::kernels) fn in_vectors(
        [rows, extent]: [usize; 2],
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        let width = device.vector_width(operands.iter().map(|operand| operand.dtype), extent);
        Self::of_width([rows, extent], width, size_of::<f32>(), operands, device)
    }

    /// Rows read in vectors of `width`; each unit shares `bytes` with the others.
    pub(in crate::kernels) fn of_width(
        [rows, extent]: [usize; 2],
        width: usize,
        bytes: usize,
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        Self::of_units([rows, extent], width, 256, bytes, operands, device)
    }

    /// Rows shared by up to `max_units`, or as many as the device has.
    pub(in crate::kernels) fn of_units(
        [rows, extent]: [usize; 2],
        width: usize,
        max_units: u32,
        bytes: usize,
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        device.check_operands(operands)?;
        let max_units = max_units.min(device.max_units).max(32) as usize;
        // A power of two, as [`sum_cube`](crate::kernels::cube::reduce::sum_cube) wants them.
        let max_units = 1 << max_units.ilog2();
        let units = (extent / width).next_power_of_two().clamp(32, max_units) as u32;
        let grid = Grid::folded(rows, units, units as usize * bytes).check(device)?;
        let exchange = match device.plane_units {
            Some(plane) if units.is_multiple_of(plane) => Exchange::Planes,
            Some(_) | None => Exchange::SharedMemory,
        };
        Ok(Self {
            width,
            team: Team { units, exchange },
            grid,
        })
    }
}
