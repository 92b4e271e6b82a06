//! What the tokens of a row weigh.

use cubecl::prelude::*;

use crate::kernels::argmax::cube::NEGATIVE_INFINITY;
use crate::kernels::cube::reduce::{Team, sum_parts};

/// E-folds below the likeliest beyond which a token is never drawn: all of a vocabulary together
/// would weigh less than rounding loses.
const FARTHEST: f32 = 80.0;
/// The key of a token that is never drawn.
const NEVER: u32 = u32::MAX;

/// A row of logits, and how it is drawn from.
#[derive(CubeType)]
pub(super) struct Row {
    /// Where it begins, and how far apart its logits lie.
    pub(super) start: usize,
    pub(super) stride: usize,
    pub(super) vocab_size: u32,
    pub(super) largest: f32,
    /// One over the temperature.
    pub(super) scale: f32,
}

#[cube]
impl Row {
    /// How far below the likeliest a token is, as bits: those of numbers from 0 on are ordered as
    /// they are.
    pub(super) fn key<E: Float>(&self, logits: &Tensor<E>, id: u32) -> u32 {
        let logit = f32::cast_from(logits[self.start + id as usize * self.stride]);
        let distance = self.largest - logit;
        let is_allowed = u32::reinterpret(logit) != NEGATIVE_INFINITY;
        let is_drawn = is_allowed && distance * self.scale <= FARTHEST;
        select(is_drawn, u32::reinterpret(distance), NEVER)
    }

    /// How likely the tokens of a key are beside the likeliest.
    pub(super) fn weight(&self, key: u32) -> f32 {
        (f32::reinterpret(key) * -self.scale).exp()
    }
}

/// All tokens of a row, and those that `min_p` leaves.
#[derive(CubeType)]
pub(super) struct RowSums {
    pub(super) count: f32,
    pub(super) mass: f32,
    pub(super) likely_count: f32,
    pub(super) likely_mass: f32,
}

/// Every unit of the cube must call it, and learns the same.
#[cube]
pub(super) fn sum_row<E: Float>(
    logits: &Tensor<E>,
    row: &Row,
    min_p: f32,
    parts: &mut SharedMemory<f32>,
    #[comptime] team: Team,
) -> RowSums {
    let mut count = 0.0f32;
    let mut mass = 0.0f32;
    let mut likely_count = 0.0f32;
    let mut likely_mass = 0.0f32;
    let mut id = UNIT_POS_X;
    while id < row.vocab_size {
        let key = row.key::<E>(logits, id);
        if key != NEVER {
            let weight = row.weight(key);
            count += 1.0f32;
            mass += weight;
            likely_count += select(weight >= min_p, 1.0f32, 0.0f32);
            likely_mass += select(weight >= min_p, weight, 0.0f32);
        }
        id += CUBE_DIM_X;
    }
    RowSums {
        count: sum_parts(count, parts, team),
        mass: sum_parts(mass, parts, team),
        likely_count: sum_parts(likely_count, parts, team),
        likely_mass: sum_parts(likely_mass, parts, team),
    }
}
