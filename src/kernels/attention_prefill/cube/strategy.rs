//! Which tile, and how many of them.

use super::tile::Tile;
use crate::kernels::LaunchRefused;
use crate::kernels::launch::{DeviceProperties, Grid, Operand};

/// How much attention there is to compute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// Key-value heads of all rows of the batch.
    pub(super) sequences: usize,
    /// Queries of each, those of the heads that share it together.
    pub(super) rows: usize,
    pub(super) head_dim: usize,
}

/// How the kernel is launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttentionStrategy {
    pub(super) tile: Tile,
    pub(super) grid: Grid,
}

impl AttentionStrategy {
    /// The first of [`Tile::CANDIDATES`] that the device takes and the rows fill at least half.
    pub(super) fn choose(
        extent: Extent,
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        device.check_operands(operands)?;
        let tile = Tile::choose(extent.rows, extent.head_dim, device)?;
        let cubes = extent.rows.div_ceil(tile.rows) * extent.sequences;
        let grid = Grid::folded(cubes, tile.units() as u32, tile.shared_memory_bytes());
        Ok(Self {
            tile,
            grid: grid.check(device)?,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::tests::{H100, LLVMPIPE, SWIFT_SHADER, WEBGPU, operands};

    fn tile(extent: [usize; 3], device: &DeviceProperties) -> Result<[usize; 3], LaunchRefused> {
        let [sequences, rows, head_dim] = extent;
        let extent = Extent {
            sequences,
            rows,
            head_dim,
        };
        let chosen = AttentionStrategy::choose(extent, &operands(5), device)?;
        Ok([chosen.tile.rows, chosen.tile.lanes, chosen.grid.cubes[0]])
    }

    #[test]
    fn tiles_follow_shared_memory_and_the_rows_there_are() {
        // Sequences, rows, head_dim; rows and keys of the tile, cubes.
        let table = [
            ([3, 3, 64], &H100, [8, 32, 3]),
            ([3, 15_000, 64], &H100, [16, 32, 2814]),
            ([3, 15_000, 64], &LLVMPIPE, [16, 32, 2814]),
            ([32, 1, 128], &H100, [8, 32, 32]),
            // 48 rows of 129 numbers and the scores are some bytes under 32 KiB.
            ([32, 640, 128], &SWIFT_SHADER, [16, 32, 1280]),
            ([32, 640, 128], &WEBGPU, [8, 16, 2560]),
            ([16, 577, 64], &WEBGPU, [8, 32, 1168]),
            ([3, 3, 256], &LLVMPIPE, [8, 16, 3]),
        ];
        for (extent, device, expected) in table {
            assert_eq!(tile(extent, device), Ok(expected), "{extent:?} {device:?}");
        }
    }

    #[test]
    fn a_head_that_no_tile_holds_is_refused() {
        let refused = LaunchRefused::HeadTooLarge {
            head_dim: 256,
            max_bytes: 16 << 10,
        };
        assert_eq!(tile([1, 1, 256], &WEBGPU), Err(refused));
    }

    #[test]
    fn more_tiles_than_an_axis_has_cubes_are_folded() {
        let extent = Extent {
            sequences: 64 * 96,
            rows: 5000,
            head_dim: 64,
        };
        let chosen = AttentionStrategy::choose(extent, &operands(5), &WEBGPU);
        let [x, y, z] = chosen.expect("a grid has two axes").grid.cubes;
        assert!(x.max(y) <= 65_535 && z == 1);
        assert!(x * y >= 64 * 96 * 625);
    }
}
