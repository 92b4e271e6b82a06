//! How the keys of a row are cut into parts.

use super::tile::{MAX_HEADS, Tile, UNITS, keys_of_part};
use crate::kernels::LaunchRefused;
use crate::kernels::launch::{DeviceProperties, Grid, Operand};

/// Cubes that a multiprocessor holds at once: so many loads in flight hide the memory's latency.
const CUBES_OF_MULTIPROCESSOR: usize = 3;

/// What is attended with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    pub(super) num_heads: usize,
    pub(super) num_kv_heads: usize,
    pub(super) head_dim: usize,
}

/// How the kernels are launched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DecodeStrategy {
    pub(super) tile: Tile,
    /// Parts of the longest row.
    pub(super) parts: usize,
    /// Parts that a row is cut into if it has the keys for them.
    pub(super) wanted_parts: usize,
    pub(super) grid: Grid,
    /// Of the launch that puts the parts together, where there is more than one.
    pub(super) combine: Option<Grid>,
}

impl DecodeStrategy {
    /// Cuts every row by its own length, so that it has the same parts whatever is beside it.
    pub(super) fn choose(
        extent: Extent,
        seen: impl Iterator<Item = usize> + Clone,
        width: usize,
        operands: &[Operand],
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        device.check_operands(operands)?;
        let Extent {
            num_heads,
            num_kv_heads,
            head_dim,
        } = extent;
        let elements = seen.clone().count() * num_heads * head_dim;
        if elements == 0 {
            return Err(LaunchRefused::NothingToCompute);
        }
        let group = num_heads / num_kv_heads;
        let blocks = group.div_ceil(MAX_HEADS);
        let mut tile = Tile::choose(head_dim, width, group.div_ceil(blocks), device)?;
        let wanted_parts = wanted_parts(num_kv_heads * blocks, device);
        let cubes_of_part = seen.clone().count() * num_kv_heads * blocks;
        let parts = seen.map(|seen| seen.div_ceil(keys_of_part(seen, wanted_parts, tile)));
        let parts = parts.max().unwrap_or(0).max(1);
        tile.is_whole = parts == 1;
        let shared_memory_bytes = tile.shared_memory_bytes();
        let grid = Grid::folded(
            cubes_of_part * parts,
            tile.units as u32,
            shared_memory_bytes,
        );
        let combine = Grid::folded(elements.div_ceil(UNITS), UNITS as u32, 0);
        Ok(Self {
            tile,
            parts,
            wanted_parts,
            grid: grid.check(device)?,
            combine: match tile.is_whole {
                true => None,
                false => Some(combine.check(device)?),
            },
        })
    }
}

/// Parts of one row alone that give every multiprocessor its cubes.
fn wanted_parts(cubes_of_part: usize, device: &DeviceProperties) -> usize {
    let cubes = device
        .multiprocessors
        .map(|count| CUBES_OF_MULTIPROCESSOR * count);
    cubes.map_or(1, |cubes| cubes.div_ceil(cubes_of_part))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::launch::tests::{H100, LLVMPIPE, SWIFT_SHADER, WEBGPU, operands};

    const VICUNA: [usize; 3] = [32, 32, 128];
    const LLAMA_3: [usize; 3] = [32, 8, 128];
    const SMOLLM: [usize; 3] = [9, 3, 64];

    fn choose(
        [num_heads, num_kv_heads, head_dim]: [usize; 3],
        seen: &[usize],
        width: usize,
        device: &DeviceProperties,
    ) -> Result<DecodeStrategy, LaunchRefused> {
        let extent = Extent {
            num_heads,
            num_kv_heads,
            head_dim,
        };
        DecodeStrategy::choose(extent, seen.iter().copied(), width, &operands(5), device)
    }

    #[test]
    fn parts_follow_the_lengths_the_heads_and_the_device() {
        // Heads and lengths; parts of the longest row, cubes of the first launch and of the second.
        let table = [
            (VICUNA, vec![1], &H100, (1, 32, None)),
            (VICUNA, vec![32], &H100, (1, 32, None)),
            (VICUNA, vec![33], &H100, (2, 64, Some(32))),
            (VICUNA, vec![256], &H100, (8, 256, Some(32))),
            (VICUNA, vec![2048], &H100, (13, 416, Some(32))),
            (VICUNA, vec![8192], &H100, (32, 1024, Some(32))),
            (LLAMA_3, vec![8192], &H100, (43, 344, Some(32))),
            (SMOLLM, vec![2048], &H100, (64, 192, Some(5))),
            (SMOLLM, vec![2048], &LLVMPIPE, (16, 48, Some(5))),
            (SMOLLM, vec![128], &WEBGPU, (1, 3, None)),
            (SMOLLM, vec![129, 1, 0], &SWIFT_SHADER, (2, 18, Some(14))),
            (SMOLLM, vec![0], &H100, (1, 3, None)),
        ];
        for (heads, seen, device, expected) in table {
            let chosen = choose(heads, &seen, 4, device).expect("it fits");
            let combine = chosen.combine.map(|grid| grid.cubes[0]);
            let found = (chosen.parts, chosen.grid.cubes[0], combine);
            assert_eq!(found, expected, "{heads:?} {seen:?}");
        }
    }

    #[test]
    fn a_row_is_cut_alike_whatever_is_beside_it() {
        let alone = choose(LLAMA_3, &[777], 8, &H100).expect("it fits");
        let beside = choose(LLAMA_3, &[777, 5, 4000], 8, &H100).expect("it fits");
        let keys = |chosen: DecodeStrategy| keys_of_part(777, chosen.wanted_parts, chosen.tile);
        assert_eq!(keys(alone), keys(beside));
    }

    #[test]
    fn tiles_follow_shared_memory_and_the_width_of_vectors() {
        // Heads, elements of a vector; heads and units of a cube, loads of a unit.
        let table = [
            (VICUNA, 8, &H100, (1, 128, 4)),
            ([64, 8, 128], 8, &H100, (8, 128, 4)),
            // Twelve heads share one: two cubes of six.
            ([12, 1, 128], 8, &H100, (6, 128, 4)),
            ([64, 8, 128], 4, &WEBGPU, (8, 128, 2)),
            ([64, 8, 256], 4, &LLVMPIPE, (8, 128, 4)),
            ([16, 16, 88], 4, &SWIFT_SHADER, (1, 128, 4)),
            ([1, 1, 255], 1, &H100, (1, 256, 4)),
        ];
        for (heads, width, device, expected) in table {
            let tile = choose(heads, &[500], width, device).expect("it fits").tile;
            assert_eq!((tile.heads, tile.units, tile.loads), expected, "{heads:?}");
        }
    }

    #[test]
    fn what_no_tile_holds_is_refused_by_name() {
        let refused = LaunchRefused::TooManyUnits {
            units: 512,
            max_units: 256,
        };
        assert_eq!(
            choose([1, 1, 257], &[5], 1, &WEBGPU).map(|_| ()),
            Err(refused)
        );
        let refused = LaunchRefused::HeadTooLarge {
            head_dim: 2048,
            max_bytes: 16 << 10,
        };
        assert_eq!(
            choose([8, 1, 2048], &[5], 4, &WEBGPU).map(|_| ()),
            Err(refused)
        );
        for (heads, seen) in [(SMOLLM, &[][..]), ([9, 3, 0], &[5]), ([0, 0, 64], &[5])] {
            let refused = LaunchRefused::NothingToCompute;
            assert_eq!(choose(heads, seen, 4, &H100).map(|_| ()), Err(refused));
        }
    }
}
