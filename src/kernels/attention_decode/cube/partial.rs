//! The answer over a part of the keys.
//!
//! Units that share a key have one vector each of it, of the query and of the answer. Scores meet in
//! shared memory, so no device needs planes for them; values are summed in registers.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::scores::{score, weigh};
use super::strategy::DecodeStrategy;
use super::sums::{store, sum_values};
use super::tile::{HEAD_PITCH, Tile, keys_of_part};
use crate::kernels::attention_prefill::AttentionInputs;
use crate::kernels::cube::view::{load_view, num_keys, start_of_key, window};

#[cube(launch)]
fn decode_kernel<E: Float, C: Float, A: Float, N: Size>(
    query: &Tensor<E>,
    key: &Tensor<Vector<C, N>>,
    value: &Tensor<Vector<C, N>>,
    answer: &mut Tensor<A>,
    views: &Tensor<u32>,
    scale: f32,
    parts: u32,
    wanted_parts: u32,
    #[comptime] tile: Tile,
    #[define(E)] _dtype: StorageType,
    #[define(C)] _cache_dtype: StorageType,
    #[define(A)] _answer_dtype: StorageType,
) {
    let num_kv_heads = key.shape(1);
    let group = query.shape(1) / num_kv_heads;
    let blocks = group.div_ceil(comptime!(tile.heads));
    let parts = parts as usize;
    // The grid is folded; a cube beyond the last does the last once more.
    let cube = min(CUBE_POS, query.shape(0) * num_kv_heads * blocks * parts - 1);
    let batch = cube / (parts * blocks * num_kv_heads);
    let view = load_view(views, batch);
    let num_keys = num_keys(&view);
    let seen = min(num_keys, window(&view));
    let part_keys = keys_of_part(seen, wanted_parts as usize, tile);
    let first = min(num_keys - seen + cube % parts * part_keys, num_keys);
    let kv_head = cube / (parts * blocks) % num_kv_heads;
    let first_of_group = cube / parts % blocks * tile.heads;
    let work = Work {
        batch,
        kv_head,
        first_head: kv_head * group + first_of_group,
        heads: min(comptime!(tile.heads), group - first_of_group),
        part: cube % parts,
        parts,
        first,
        end: min(first + part_keys, num_keys),
        lanes: query.shape(3) / key.vector_size(),
        view,
    };
    let mut shared = Shared {
        scratch: SharedMemory::new(comptime!(tile.scratch())),
        scores: SharedMemory::new(comptime!(tile.scores())),
        largest: SharedMemory::new(comptime!(tile.heads * HEAD_PITCH)),
        totals: SharedMemory::new(comptime!(tile.heads * HEAD_PITCH)),
    };
    score::<E, C, N>(query, key, &work, scale, &mut shared, tile);
    weigh(&work, &mut shared, tile);
    let sums = sum_values::<C, N>(value, &work, &shared, tile);
    store::<A, N>(&work, &sums, &mut shared, answer, tile);
}

/// What a cube does.
#[derive(CubeType)]
pub(super) struct Work {
    pub(super) batch: usize,
    pub(super) kv_head: usize,
    /// The first of the cube's query heads, and how many there are.
    pub(super) first_head: usize,
    pub(super) heads: usize,
    pub(super) part: usize,
    pub(super) parts: usize,
    /// The first key of the part, and the key behind its last.
    pub(super) first: usize,
    pub(super) end: usize,
    /// Units that share a key, as a number of the run: loops over them stay loops.
    pub(super) lanes: usize,
    view: SharedMemory<u32>,
}

/// Where the units of a cube meet.
#[derive(CubeType)]
pub(super) struct Shared {
    /// Products of queries and keys, then sums of values.
    pub(super) scratch: SharedMemory<f32>,
    /// `[key, head]`: scores, then weights.
    pub(super) scores: SharedMemory<f32>,
    /// The largest score of each head and its weights, summed, in pieces.
    pub(super) largest: SharedMemory<f32>,
    pub(super) totals: SharedMemory<f32>,
}

/// Which vector of a key the unit has.
#[cube]
pub(super) fn lane(work: &Work) -> usize {
    UNIT_POS_X as usize % work.lanes
}

/// Which of the keys read at once the unit shares; there may be units for none.
#[cube]
pub(super) fn row(work: &Work) -> usize {
    UNIT_POS_X as usize / work.lanes
}

/// The unit's vector of `loads` keys or values from `first` on, `rows` apart, all asked for at once.
///
/// Keys beyond the last repeat it: what lies there was never written, and a weight of zero would
/// not silence a NaN.
#[cube]
pub(super) fn load_rows<C: Float, N: Size>(
    slab: &Tensor<Vector<C, N>>,
    work: &Work,
    first: usize,
    #[comptime] tile: Tile,
) -> Array<Vector<C, N>> {
    let width = slab.vector_size();
    // Vectors lie in one piece, so where there are some the last axis is dense.
    let column = if comptime!(tile.width > 1) {
        lane(work)
    } else {
        lane(work) * slab.stride(3)
    };
    let mut loaded = Array::<Vector<C, N>>::new(comptime!(tile.loads));
    #[unroll]
    for load in 0..comptime!(tile.loads) {
        let key = min(first + comptime!(load * tile.rows()), work.end - 1);
        let start = start_of_key::<Vector<C, N>>(slab, &work.view, work.kv_head, key);
        loaded[load] = slab[start / width + column];
    }
    loaded
}

/// What every part of a launch is answered from.
pub(super) struct Part<'a, R: CubeRuntime> {
    pub(super) inputs: &'a AttentionInputs<CubeTensor<R>>,
    pub(super) views: &'a CubeTensor<R>,
    pub(super) strategy: &'a DecodeStrategy,
}

impl<R: CubeRuntime> Part<'_, R> {
    /// Writes the answer, or the parts of it.
    pub(super) fn launch(&self, answer: &CubeTensor<R>) {
        let AttentionInputs { query, key, value } = self.inputs;
        let DecodeStrategy {
            tile,
            parts,
            wanted_parts,
            grid,
            ..
        } = *self.strategy;
        let (cubes, units) = grid.size();
        decode_kernel::launch::<R>(
            &query.client,
            cubes,
            units,
            tile.width,
            query.clone().into_tensor_arg(),
            key.clone().into_tensor_arg(),
            value.clone().into_tensor_arg(),
            answer.clone().into_tensor_arg(),
            self.views.clone().into_tensor_arg(),
            1.0 / (tile.head_dim as f32).sqrt(),
            parts as u32,
            wanted_parts as u32,
            tile,
            query.dtype.into(),
            key.dtype.into(),
            answer.dtype.into(),
        );
    }
}
