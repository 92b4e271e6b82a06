//! How a cube cuts its part of the keys.

use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::kv::VIEW_SIZE;
use crate::kernels::launch::DeviceProperties;

/// Units of a cube, unless more share a key.
pub(super) const UNITS: usize = 128;
/// Units that look for the largest score of a head and sum its weights.
pub(super) const HEAD_UNITS: usize = 16;
/// Query heads that a cube answers at once: more would not leave a unit registers for its loads.
pub(super) const MAX_HEADS: usize = UNITS / HEAD_UNITS;
/// One more, against conflicts of banks.
pub(super) const HEAD_PITCH: usize = HEAD_UNITS + 1;
/// Keys of a part where the device does not say how many cubes it runs side by side: a second
/// launch costs more than such a part.
const KEYS_ON_UNKNOWN_DEVICE: usize = 128;

/// How a cube cuts its part, known when the kernel is compiled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Tile {
    pub(super) head_dim: usize,
    /// Elements of a vector of keys or values.
    pub(super) width: usize,
    /// Query heads.
    pub(super) heads: usize,
    pub(super) units: usize,
    /// Rows that a unit asks for at once.
    pub(super) loads: usize,
    /// Keys of a part: a multiple of the fewest, up to the most.
    pub(super) min_keys: usize,
    pub(super) max_keys: usize,
    /// Whether every row is one part, which gives the answer.
    pub(super) is_whole: bool,
}

impl Tile {
    /// As many loads at once as shared memory has room for the products of.
    pub(super) fn choose(
        head_dim: usize,
        width: usize,
        heads: usize,
        device: &DeviceProperties,
    ) -> Result<Self, LaunchRefused> {
        let [min_keys, max_keys] = match device.multiprocessors {
            Some(_) => [32, 256],
            None => [KEYS_ON_UNKNOWN_DEVICE; 2],
        };
        // Where there is more, it is better used by further cubes.
        let max_bytes = device.max_shared_memory_bytes.min(32 << 10);
        let mut tiles = [4, 2, 1].into_iter().map(|loads| Self {
            head_dim,
            width,
            heads,
            units: UNITS.max((head_dim / width).next_power_of_two()),
            loads,
            min_keys,
            max_keys,
            is_whole: false,
        });
        let fits = tiles.find(|tile| tile.shared_memory_bytes() <= max_bytes);
        fits.ok_or(LaunchRefused::HeadTooLarge {
            head_dim,
            max_bytes,
        })
    }

    /// Units that share a key.
    pub(super) fn lanes(self) -> usize {
        self.head_dim / self.width
    }

    /// Rows of lanes.
    pub(super) fn rows(self) -> usize {
        self.units / self.lanes()
    }

    /// Keys that all units together ask for at once.
    pub(super) fn keys(self) -> usize {
        self.rows() * self.loads
    }

    /// The lanes' products of one key, an odd number against conflicts of banks.
    pub(super) fn pitch(self) -> usize {
        self.lanes() | 1
    }

    fn products(self) -> usize {
        self.keys() * self.heads * self.pitch()
    }

    /// Heads whose sums share the memory of the products.
    pub(super) fn heads_at_once(self) -> usize {
        let of_head = self.rows() * self.head_dim;
        (self.products() / of_head).clamp(1, self.heads)
    }

    /// Numbers of the memory that holds products, then sums.
    pub(super) fn scratch(self) -> usize {
        let sums = self.heads_at_once() * self.rows() * self.head_dim;
        self.products().max(sums)
    }

    /// A score of each key and head.
    pub(super) fn scores(self) -> usize {
        self.max_keys * self.heads
    }

    pub(super) fn shared_memory_bytes(self) -> usize {
        let pieces = 2 * self.heads * HEAD_PITCH;
        (self.scratch() + self.scores() + pieces + VIEW_SIZE) * size_of::<f32>()
    }
}

/// Keys of each part of a row of which `seen` are seen.
///
/// The host counts the parts by it and a kernel finds its own: one function, or they would disagree.
#[cube]
pub(super) fn keys_of_part(seen: usize, wanted_parts: usize, #[comptime] tile: Tile) -> usize {
    let step = comptime!(tile.min_keys);
    let even = seen.div_ceil(wanted_parts).div_ceil(step) * step;
    max(min(even, comptime!(tile.max_keys)), step)
}
