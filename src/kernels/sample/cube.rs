//! A cube a row, without sorting the vocabulary.
//!
//! The order of a row is that of its tokens' distances from the likeliest, and what is looked for in
//! it, the border of top-k, then that of top-p, then the token that is drawn, is each the first token
//! up to which a sum reaches an aim. Sums over all tokens up to a distance only grow with it, so the
//! distance is found between ever nearer pivots, and no device needs atomic operations for it.

mod row;
mod search;

use burn::tensor::{DType, TensorMetadata};
use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::SampleRow;
use crate::kernels::LaunchRefused;
use crate::kernels::argmax::cube::best_of_row;
use crate::kernels::cube::reduce::{Team, new_parts, row_of_cube};
use crate::kernels::launch::{DeviceProperties, Operand, RowWise, output};

use row::{Row, sum_row};
use search::{Aim, border_of, write_token};

// Numbers of a packed row.
const TOP_K: usize = 0;
const SCALE: usize = 1;
const TOP_P: usize = 2;
const MIN_P: usize = 3;
const UNIFORM: usize = 4;
const ROW_SIZE: usize = 5;

/// Tokens are counted in f32, which is exact up to here.
const MAX_VOCAB_SIZE: usize = 1 << 24;
/// A unit of more than this many would have fewer registers than it keeps sums in.
const MAX_UNITS: u32 = 512;
/// What a unit shares: its best token (three numbers), its part of a sum, and how many equals it has.
const BYTES_OF_UNIT: usize = 5 * size_of::<u32>();

#[cube(launch)]
fn sample_kernel<E: Float, I: Int>(
    logits: &Tensor<E>,
    rows: &Tensor<f32>,
    ids: &mut Tensor<I>,
    #[comptime] team: Team,
    #[define(E)] _dtype: StorageType,
    #[define(I)] _id_dtype: StorageType,
) {
    let index = row_of_cube(logits.shape(0));
    let start = index * logits.stride(0);
    let best = best_of_row::<E>(logits, start, comptime!(team.units));
    let numbers = index * ROW_SIZE;
    let row = Row {
        start,
        stride: logits.stride(1),
        vocab_size: logits.shape(1) as u32,
        largest: best.logit,
        scale: rows[numbers + SCALE],
    };
    let mut parts = new_parts(team);
    let all = sum_row::<E>(logits, &row, rows[numbers + MIN_P], &mut parts, team);

    // What a branch replaces must be a number.
    let mut count = all.count;
    let mut mass = all.mass;
    let top_k = rows[numbers + TOP_K];
    if top_k < count {
        let aim = Aim::count(top_k);
        let border = border_of::<E>(logits, &row, &all, &aim, &mut parts, team);
        count = border.count;
        mass = border.mass;
    }
    let top_p = rows[numbers + TOP_P];
    if top_p < 1.0f32 {
        let aim = Aim {
            count,
            mass: mass * top_p,
            is_passed: false,
        };
        let border = border_of::<E>(logits, &row, &all, &aim, &mut parts, team);
        count = border.count;
        mass = border.mass;
    }
    if all.likely_count < count {
        count = all.likely_count;
        mass = all.likely_mass;
    }
    let aim = Aim {
        count,
        mass: mass * rows[numbers + UNIFORM],
        is_passed: true,
    };
    let drawn = border_of::<E>(logits, &row, &all, &aim, &mut parts, team);
    let has_choice = best.id < row.vocab_size;
    write_token::<E, I>(logits, &row, &drawn, has_choice, index, ids, team);
}

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    logits: &CubeTensor<R>,
    rows: &[SampleRow],
    id_dtype: DType,
) -> Result<CubeTensor<R>, LaunchRefused> {
    let [num_rows, vocab_size] = logits.shape().dims();
    if vocab_size > MAX_VOCAB_SIZE {
        return Err(LaunchRefused::VocabularyTooLarge {
            vocab_size,
            max_vocab_size: MAX_VOCAB_SIZE,
        });
    }
    let ids = output(logits, [num_rows].into(), id_dtype);
    let packed = packed(rows, logits);
    let RowWise { team, grid, .. } = RowWise::of_units(
        [num_rows, vocab_size],
        1,
        MAX_UNITS,
        BYTES_OF_UNIT,
        &[logits, &packed, &ids].map(Operand::from),
        &DeviceProperties::of(&logits.client),
    )?;
    let (cubes, units) = grid.size();
    sample_kernel::launch::<R>(
        &logits.client,
        cubes,
        units,
        logits.clone().into_tensor_arg(),
        packed.into_tensor_arg(),
        ids.clone().into_tensor_arg(),
        team,
        logits.dtype.into(),
        id_dtype.into(),
    );
    Ok(ids)
}

/// The rows as the kernel reads them, on the device of `beside`.
fn packed<R: CubeRuntime>(rows: &[SampleRow], beside: &CubeTensor<R>) -> CubeTensor<R> {
    let numbers = rows.iter().flat_map(|row| -> [f32; ROW_SIZE] {
        [
            row.top_k.min(MAX_VOCAB_SIZE) as f32,
            scale(row.temperature),
            row.top_p,
            row.min_p,
            row.uniform,
        ]
    });
    let numbers: Vec<f32> = numbers.collect();
    let handle = beside
        .client
        .create_from_slice(bytemuck::cast_slice(&numbers));
    let (client, device) = (beside.client.clone(), beside.device.clone());
    CubeTensor::new_contiguous(client, device, [numbers.len()].into(), handle, DType::F32)
}

/// One over the temperature. Beyond these borders nothing changes but that products overflow.
fn scale(temperature: f32) -> f32 {
    (1.0 / temperature).clamp(1e-30, 1e30)
}
