//! A cube a row: every unit finds its best token, then the units agree.

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use crate::kernels::LaunchRefused;
use crate::kernels::cube::reduce::row_of_cube;
use crate::kernels::launch::{DeviceProperties, Operand, RowWise, output};

/// The bits of a forbidden token's logit.
pub(in crate::kernels) const NEGATIVE_INFINITY: u32 = 0xFF80_0000;

#[cube(launch)]
fn argmax_kernel<E: Float, I: Int>(
    logits: &Tensor<E>,
    ids: &mut Tensor<I>,
    #[comptime] units: u32,
    #[define(E)] _dtype: StorageType,
    #[define(I)] _id_dtype: StorageType,
) {
    let row = row_of_cube(logits.shape(0));
    let best = best_of_row::<E>(logits, row * logits.stride(0), units);
    if UNIT_POS_X == 0 {
        ids[row] = I::cast_from(best.id);
    }
}

/// The most likely token of a row.
#[derive(CubeType)]
pub(in crate::kernels) struct Best {
    pub(in crate::kernels) logit: f32,
    /// The vocabulary's size where none can be chosen.
    pub(in crate::kernels) id: u32,
}

/// The best token of the row that begins at `start`; every unit of the cube must call it.
#[cube]
pub(in crate::kernels) fn best_of_row<E: Float>(
    logits: &Tensor<E>,
    start: usize,
    #[comptime] units: u32,
) -> Best {
    let vocab_size = logits.shape(1) as u32;
    let mut logit_of = SharedMemory::<f32>::new(comptime!(units as usize));
    let mut id_of = SharedMemory::<u32>::new(comptime!(units as usize));
    let mut nonsense_of = SharedMemory::<u32>::new(comptime!(units as usize));

    // A unit beyond the vocabulary has its last token, like another unit.
    let mut best_id = min(UNIT_POS_X, vocab_size - 1);
    let mut best = f32::cast_from(logits[start + best_id as usize * logits.stride(1)]);
    let mut nonsense = 0u32;
    let mut id = best_id;
    while id < vocab_size {
        let logit = f32::cast_from(logits[start + id as usize * logits.stride(1)]);
        nonsense |= select(is_nonsense(logit), 1u32, 0u32);
        if logit > best {
            best = logit;
            best_id = id;
        }
        id += units;
    }
    logit_of[UNIT_POS_X as usize] = best;
    id_of[UNIT_POS_X as usize] = best_id;
    nonsense_of[UNIT_POS_X as usize] = nonsense;
    sync_cube();
    #[unroll]
    for step in 0..comptime!(units.ilog2()) {
        let half = comptime!(units >> (step + 1));
        if UNIT_POS_X < half {
            let (mine, other) = (UNIT_POS_X as usize, (UNIT_POS_X + half) as usize);
            let is_larger = logit_of[other] > logit_of[mine];
            let is_earlier = logit_of[other] == logit_of[mine] && id_of[other] < id_of[mine];
            if is_larger || is_earlier {
                logit_of[mine] = logit_of[other];
                id_of[mine] = id_of[other];
            }
            let nonsense = nonsense_of[mine] | nonsense_of[other];
            nonsense_of[mine] = nonsense;
        }
        sync_cube();
    }
    let is_forbidden = u32::reinterpret(logit_of[0]) == NEGATIVE_INFINITY;
    let id = select(is_forbidden || nonsense_of[0] != 0u32, vocab_size, id_of[0]);
    let logit = logit_of[0];
    // The next shared memory of the kernel may be this one again.
    sync_cube();
    Best { logit, id }
}

/// Whether a logit is NaN or positive infinity.
///
/// By its bits: compilers for GPUs may assume that neither exists.
#[cube]
fn is_nonsense(logit: f32) -> bool {
    let bits = u32::reinterpret(logit);
    let is_finite = (bits & 0x7F80_0000u32) != 0x7F80_0000u32;
    !is_finite && bits != NEGATIVE_INFINITY
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    logits: &CubeTensor<R>,
    id_dtype: DType,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let [rows, vocab_size] = logits.shape().dims();
    let ids = output(logits, [rows].into(), id_dtype);
    // Every unit shares its best logit, that token, and whether it has seen nonsense.
    let RowWise { team, grid, .. } = RowWise::of_width(
        [rows, vocab_size],
        1,
        3 * size_of::<u32>(),
        &[logits, &ids].map(Operand::from),
        &DeviceProperties::of(&logits.client),
    )?;
    let (cubes, units) = grid.size();
    argmax_kernel::launch::<R>(
        &logits.client,
        cubes,
        units,
        logits.clone().into_tensor_arg(),
        ids.clone().into_tensor_arg(),
        team.units,
        logits.dtype.into(),
        id_dtype.into(),
    );
    Ok(ids)
}
