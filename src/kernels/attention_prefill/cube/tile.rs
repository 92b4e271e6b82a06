//! How the work is cut to the shared memory of a device.

use crate::kernels::LaunchRefused;
use crate::kernels::kv::VIEW_SIZE;
use crate::kernels::launch::DeviceProperties;

/// How a cube cuts the problem, known when the kernel is compiled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    /// Rows, that is queries of one key-value head.
    pub(super) rows: usize,
    /// Keys of a tile, and lanes of a group.
    pub(super) lanes: usize,
    /// Groups of lanes in a cube.
    pub(super) groups: usize,
    pub(super) head_dim: usize,
}

impl Tile {
    /// Rows, lanes and groups, from the largest on. The smallest fits 16 KiB of shared memory, what
    /// WebGPU guarantees, up to a head of 128. With more than two rows for a group, NVIDIA's compiler
    /// runs out of registers.
    pub(super) const CANDIDATES: [(usize, usize, usize); 4] =
        [(16, 32, 8), (8, 32, 8), (8, 16, 8), (8, 8, 8)];

    const FEWEST_ROWS: usize = 8;

    /// The largest tile that the device takes and `rows` fill at least half.
    pub(super) fn choose(
        rows: usize,
        head_dim: usize,
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        // Where there is more, it is better used by a second cube.
        let max_bytes = device.max_shared_memory_bytes.min(32 << 10);
        let mut tiles = Self::CANDIDATES
            .map(|(rows, lanes, groups)| Self {
                rows,
                lanes,
                groups,
                head_dim,
            })
            .into_iter()
            .filter(|tile| tile.shared_memory_bytes() <= max_bytes);
        let filled = tiles.find(|tile| tile.rows < 2 * rows || tile.rows == Self::FEWEST_ROWS);
        filled.ok_or(LaunchRefused::HeadTooLarge {
            head_dim,
            max_bytes,
        })
    }

    pub(super) fn units(self) -> usize {
        self.lanes * self.groups
    }

    /// A row of shared memory. One more than the head, so that the lanes, a key each, do not meet in
    /// one bank.
    pub(super) fn pitch(self) -> usize {
        self.head_dim + 1
    }

    pub(super) fn rows_of_group(self) -> usize {
        self.rows / self.groups
    }

    pub(super) fn columns_of_lane(self) -> usize {
        self.head_dim.div_ceil(self.lanes)
    }

    pub(super) fn shared_memory_bytes(self) -> usize {
        let queries = self.rows * self.pitch();
        let keys = self.lanes * self.pitch();
        let scores = 2 * self.rows * self.lanes;
        (queries + keys + scores + VIEW_SIZE) * size_of::<f32>()
    }
}
