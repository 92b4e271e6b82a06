//! Which of the two kernels, and how the work is cut.

use super::{few_rows, tiled};
use crate::kernels::LaunchRefused;
use crate::kernels::launch::{DeviceProperties, Grid};

/// How a product is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LinearStrategy {
    pub(super) kernel: LinearKernel,
    pub(super) grid: Grid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum LinearKernel {
    /// The weights stream past all rows at once.
    FewRows {
        /// Rows that the kernel is compiled for: one for each power of two.
        kernel_rows: usize,
    },
    /// Tiles of both operands meet in shared memory.
    Tiled,
}

impl LinearStrategy {
    /// Few rows stream; more are tiled.
    pub(super) fn choose(
        [rows, out_features]: [usize; 2],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        let (kernel, grid) = if rows <= few_rows::MAX_ROWS {
            let kernel_rows = rows.next_power_of_two();
            let grid = few_rows::grid(kernel_rows, out_features);
            (LinearKernel::FewRows { kernel_rows }, grid)
        } else {
            (LinearKernel::Tiled, tiled::grid([rows, out_features]))
        };
        let grid = grid.check(device)?;
        Ok(Self { kernel, grid })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::tests::{H100, LLVMPIPE, SWIFT_SHADER, WEBGPU};

    #[test]
    fn a_few_rows_stream_and_more_are_tiled_on_every_device() {
        let few = |kernel_rows| LinearKernel::FewRows { kernel_rows };
        // Rows and output features; the kernel and its cubes.
        let table = [
            ([1, 576], few(1), [72, 1, 1]),
            ([3, 577], few(4), [73, 1, 1]),
            ([8, 128_256], few(8), [16_032, 1, 1]),
            ([8, 300_000], few(8), [18_750, 2, 1]),
            ([9, 576], LinearKernel::Tiled, [9, 1, 1]),
            ([577, 4096], LinearKernel::Tiled, [640, 1, 1]),
            ([5000, 128_256], LinearKernel::Tiled, [31_664, 5, 1]),
        ];
        for device in [H100, LLVMPIPE, SWIFT_SHADER, WEBGPU] {
            for (sizes, kernel, cubes) in table {
                let chosen = LinearStrategy::choose(sizes, &device).expect("it fits every device");
                let found = (chosen.kernel, chosen.grid.cubes);
                assert_eq!(found, (kernel, cubes), "{sizes:?}");
            }
        }
    }

    #[test]
    fn a_device_of_small_cubes_is_refused_by_name() {
        let device = DeviceProperties {
            max_units: 128,
            ..WEBGPU
        };
        let refused = LaunchRefused::TooManyUnits {
            units: 256,
            max_units: 128,
        };
        let chosen = LinearStrategy::choose([1, 64], &device);
        assert_eq!(chosen, Err(refused));
    }
}
