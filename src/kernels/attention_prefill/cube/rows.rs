//! The rows of a cube, and the keys that they see.

use cubecl::prelude::*;

use crate::kernels::AttentionMask;
use crate::kernels::cube::view::{load_view, num_keys, window};

/// The rows of a cube: query `row / heads` of head `row % heads` of the key-value head.
#[derive(CubeType)]
pub(super) struct Rows {
    batch: usize,
    pub(super) kv_head: usize,
    /// Query heads that share the key-value head.
    heads: usize,
    /// The first row of the tile.
    pub(super) first: usize,
    /// Rows of the key-value head, all tiles together.
    pub(super) count: usize,
    seq_q: usize,
    /// Keys of the view.
    num_keys: usize,
    /// Keys that a row sees at most.
    pub(super) window: usize,
    pub(super) view: SharedMemory<u32>,
}

/// The rows of this cube, at most `tile_rows`; every unit of the cube must call it.
#[cube]
pub(super) fn rows_of_cube<E: CubePrimitive, C: CubePrimitive>(
    query: &Tensor<E>,
    key: &Tensor<C>,
    views: &Tensor<u32>,
    #[comptime] tile_rows: usize,
) -> Rows {
    let heads = query.shape(1) / key.shape(1);
    let count = heads * query.shape(2);
    let tiles = count.div_ceil(tile_rows);
    // The grid is folded; a cube beyond the last tile answers that tile once more.
    let cube = min(CUBE_POS, query.shape(0) * key.shape(1) * tiles - 1);
    let batch = cube / (key.shape(1) * tiles);
    let view = load_view(views, batch);
    Rows {
        batch,
        kv_head: cube / tiles % key.shape(1),
        heads,
        first: cube % tiles * tile_rows,
        count,
        seq_q: query.shape(2),
        num_keys: num_keys(&view),
        window: window(&view),
        view,
    }
}

/// Where a row of the tile begins in `query`; a row beyond the last is that one.
#[cube]
pub(super) fn start_of_query<E: CubePrimitive>(
    query: &Tensor<E>,
    rows: &Rows,
    row: usize,
) -> usize {
    let row = min(rows.first + row, rows.count - 1);
    let head = rows.kv_head * rows.heads + row % rows.heads;
    rows.batch * query.stride(0) + head * query.stride(1) + row / rows.heads * query.stride(2)
}

/// Where the answer of a row of the key-value head begins.
#[cube]
pub(super) fn start_of_answer<E: CubePrimitive>(
    answer: &Tensor<E>,
    rows: &Rows,
    row: usize,
) -> usize {
    let head = rows.kv_head * rows.heads + row % rows.heads;
    let token = rows.batch * rows.seq_q + row / rows.heads;
    (token * answer.shape(2) + head) * answer.shape(3)
}

/// The first key that a row of the tile sees, and the key behind the last.
#[cube]
pub(super) fn keys_of_tile(
    rows: &Rows,
    #[comptime] tile_rows: usize,
    #[comptime] mask: AttentionMask,
) -> (usize, usize) {
    // No row of the tile sees more than its last, or keys before those of its first.
    let end = visible(min(rows.first + tile_rows, rows.count) - 1, rows, mask);
    let seen = visible(rows.first, rows, mask);
    (seen - min(seen, rows.window), end)
}

/// The key behind the last that a row sees.
#[cube]
pub(super) fn visible(row: usize, rows: &Rows, #[comptime] mask: AttentionMask) -> usize {
    match comptime!(mask) {
        AttentionMask::Bidirectional => rows.num_keys,
        AttentionMask::Causal => {
            // `num_keys - seq_q` were there before the first query, which also sees itself.
            let sum = rows.num_keys + row / rows.heads + 1;
            select(sum > rows.seq_q, sum - rows.seq_q, 0usize)
        }
    }
}

/// Whether a row sees `key`, which is one of the view, `seen` as [`visible()`] says.
#[cube]
pub(super) fn is_seen(key: usize, seen: usize, window: usize) -> bool {
    key < seen && key + window >= seen
}
