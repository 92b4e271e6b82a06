//! Which tile, and how many of them.

use super::matrix::{self, MatrixTile};
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

/// How attention is computed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct AttentionStrategy {
    pub(super) kernel: AttentionKernel,
    pub(super) grid: Grid,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum AttentionKernel {
    MatrixUnits(MatrixTile),
    /// On the units that everything else runs on.
    Units(Tile),
}

impl AttentionStrategy {
    /// Matrix units where there are some for the type and the rows fill half of their tile; else the
    /// first of [`Tile::CANDIDATES`] that the device takes and the rows fill at least half.
    pub(super) fn choose(
        extent: Extent,
        operands: [Operand; 5],
        width: usize,
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        device.check_operands(&operands)?;
        let [query, key, ..] = operands;
        // Queries of f32 would be rounded to the type of the keys.
        let is_one_type = query.dtype == key.dtype && device.multiplies(query.dtype);
        if is_one_type && let Some(chosen) = Self::on_matrix_units(extent, width, device) {
            return Ok(chosen);
        }
        let tile = Tile::choose(extent.rows, extent.head_dim, device)?;
        let cubes = extent.rows.div_ceil(tile.rows) * extent.sequences;
        let grid = Grid::folded(cubes, tile.units() as u32, tile.shared_memory_bytes());
        Ok(Self {
            kernel: AttentionKernel::Units(tile),
            grid: grid.check(device)?,
        })
    }

    /// None where the problem or the device is not made for them.
    fn on_matrix_units(extent: Extent, width: usize, device: &DeviceProperties) -> Option<Self> {
        let is_filled = 2 * extent.rows >= matrix::ROWS;
        let tile = MatrixTile::new(extent.head_dim, width).filter(|_| is_filled)?;
        let cubes = extent.rows.div_ceil(matrix::ROWS) * extent.sequences;
        let grid = Grid::folded(cubes, tile.units() as u32, tile.shared_memory_bytes());
        Some(Self {
            kernel: AttentionKernel::MatrixUnits(tile),
            grid: grid.check(device).ok()?,
        })
    }
}

#[cfg(test)]
mod tests {
    use burn::tensor::DType;

    use super::*;
    use crate::kernels::launch::tests::{H100, LLVMPIPE, SWIFT_SHADER, WEBGPU, operand};

    const OPERANDS: [Operand; 5] = [operand(DType::F32); 5];

    fn tile(extent: [usize; 3], device: &DeviceProperties) -> Result<[usize; 3], LaunchRefused> {
        let [sequences, rows, head_dim] = extent;
        let extent = Extent {
            sequences,
            rows,
            head_dim,
        };
        let chosen = AttentionStrategy::choose(extent, OPERANDS, 4, device)?;
        match chosen.kernel {
            AttentionKernel::MatrixUnits(_) => unreachable!("none multiplies f32"),
            AttentionKernel::Units(tile) => Ok([tile.rows, tile.lanes, chosen.grid.cubes[0]]),
        }
    }

    #[test]
    fn matrix_units_are_used_for_half_precision_where_the_rows_fill_them() {
        // Sequences, rows, head_dim, width of vectors; the type of queries and of keys; cubes on matrix
        // units.
        let half = (DType::F16, DType::F16);
        let bf16 = (DType::BF16, DType::BF16);
        let table = [
            ([16, 577, 64, 8], half, &H100, Some(160)),
            ([16, 257, 88, 8], bf16, &H100, Some(80)),
            ([16, 729, 72, 8], half, &H100, Some(192)),
            ([32, 32, 128, 8], half, &H100, Some(32)),
            ([32, 31, 128, 8], half, &H100, None),
            ([16, 640, 256, 8], half, &H100, None),
            ([16, 577, 64, 1], half, &H100, None),
            ([16, 577, 64, 8], (DType::F32, DType::F16), &H100, None),
            ([16, 577, 64, 8], (DType::F32, DType::F32), &H100, None),
            ([16, 577, 64, 8], half, &LLVMPIPE, None),
        ];
        for ([sequences, rows, head_dim, width], (query, key), device, expected) in table {
            let extent = Extent {
                sequences,
                rows,
                head_dim,
            };
            let operands = [query, key, key, query, DType::U32].map(operand);
            let chosen =
                AttentionStrategy::choose(extent, operands, width, device).expect("it fits");
            let found = match chosen.kernel {
                AttentionKernel::MatrixUnits(_) => Some(chosen.grid.cubes[0]),
                AttentionKernel::Units(_) => None,
            };
            assert_eq!(found, expected, "{extent:?} {query:?} {key:?}");
        }
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
        let chosen = AttentionStrategy::choose(extent, OPERANDS, 4, &WEBGPU);
        let [x, y, z] = chosen.expect("a grid has two axes").grid.cubes;
        assert!(x.max(y) <= 65_535 && z == 1);
        assert!(x * y >= 64 * 96 * 625);
    }
}
