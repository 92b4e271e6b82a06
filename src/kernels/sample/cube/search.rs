//! The token at which a sum over the row, from the most to the least likely, reaches its aim.

use cubecl::prelude::*;

use super::row::{Row, RowSums};
use crate::kernels::cube::reduce::{Team, sum_parts};

/// Distances that a pass over the row tries at once.
const PIVOTS: usize = 3;
/// The bits of the largest number.
const LARGEST: u32 = 0x7F7F_FFFF;

/// What a sum has to reach; the first of the two that is reached decides.
#[derive(CubeType)]
pub(super) struct Aim {
    /// So many tokens.
    pub(super) count: f32,
    /// What they weigh.
    pub(super) mass: f32,
    /// Whether they have to weigh more than this, or at least as much.
    #[cube(comptime)]
    pub(super) is_passed: bool,
}

#[cube]
impl Aim {
    /// So many tokens, whatever they weigh.
    pub(super) fn count(count: f32) -> Aim {
        Aim {
            count,
            mass: f32::max_value(),
            is_passed: false,
        }
    }

    fn is_reached(&self, count: f32, mass: f32) -> bool {
        let weighs_enough = if comptime!(self.is_passed) {
            mass > self.mass
        } else {
            mass >= self.mass
        };
        count >= self.count || weighs_enough
    }
}

/// A token by its place in the order of the row.
#[derive(CubeType)]
pub(super) struct Border {
    /// The first and last key of the tokens it is among, which are all equal.
    first: u32,
    last: u32,
    /// Its place among these, from 1 on: the lower ids come first.
    place: f32,
    /// Everything up to it.
    pub(super) count: f32,
    pub(super) mass: f32,
}

/// Where the aim is reached, which all tokens together must do; every unit of the cube must call it,
/// and learns the same.
#[cube]
pub(super) fn border_of<E: Float>(
    logits: &Tensor<E>,
    row: &Row,
    all: &RowSums,
    aim: &Aim,
    parts: &mut SharedMemory<f32>,
    #[comptime] team: Team,
) -> Border {
    // The tokens before `first` do not reach the aim, those up to `last` do.
    let mut first = 0u32;
    let mut last = LARGEST.runtime();
    let mut before_count = 0.0f32;
    let mut before_mass = 0.0f32;
    let mut count = all.count;
    let mut mass = all.mass;
    while first < last && count - before_count > 1.0f32 {
        let step = (last - first) / comptime!(PIVOTS as u32 + 1);
        let start = first;
        let sums = sum_pivots::<E>(logits, row, start, step, parts, team);
        #[unroll]
        for pivot in 0..PIVOTS {
            let key = start + step * comptime!(pivot as u32 + 1);
            let pivot_count = sums[comptime!(2 * pivot)];
            let pivot_mass = sums[comptime!(2 * pivot + 1)];
            if !aim.is_reached(pivot_count, pivot_mass) {
                first = key + 1;
                before_count = pivot_count;
                before_mass = pivot_mass;
            } else if key < last {
                last = key;
                count = pivot_count;
                mass = pivot_mass;
            }
        }
    }
    let mut place = 1.0f32;
    if count - before_count > 1.0f32 {
        let weight = row.weight(first);
        place = place_among_equals(before_count, before_mass, weight, count - before_count, aim);
        count = before_count + place;
        mass = before_mass + place * weight;
    }
    Border {
        first,
        last,
        place,
        count,
        mass,
    }
}

/// How many tokens there are up to each pivot, and what they weigh.
#[cube]
fn sum_pivots<E: Float>(
    logits: &Tensor<E>,
    row: &Row,
    start: u32,
    step: u32,
    parts: &mut SharedMemory<f32>,
    #[comptime] team: Team,
) -> Array<f32> {
    let mut sums = Array::<f32>::new(comptime!(2 * PIVOTS));
    #[unroll]
    for sum in 0..comptime!(2 * PIVOTS) {
        sums[sum] = 0.0f32;
    }
    let mut id = UNIT_POS_X;
    while id < row.vocab_size {
        let key = row.key::<E>(logits, id);
        let weight = row.weight(key);
        #[unroll]
        for pivot in 0..PIVOTS {
            let is_before = key <= start + step * comptime!(pivot as u32 + 1);
            sums[comptime!(2 * pivot)] += select(is_before, 1.0f32, 0.0f32);
            sums[comptime!(2 * pivot + 1)] += select(is_before, weight, 0.0f32);
        }
        id += CUBE_DIM_X;
    }
    #[unroll]
    for sum in 0..comptime!(2 * PIVOTS) {
        sums[sum] = sum_parts(sums[sum], parts, team);
    }
    sums
}

/// Which of `equals` tokens of one weight reaches the aim, from 1 on.
#[cube]
fn place_among_equals(
    before_count: f32,
    before_mass: f32,
    weight: f32,
    equals: f32,
    aim: &Aim,
) -> f32 {
    let mut place = 1.0f32;
    let mut end = equals;
    while place < end {
        let middle = ((place + end) * 0.5f32).floor();
        if aim.is_reached(before_count + middle, before_mass + middle * weight) {
            end = middle;
        } else {
            place = middle + 1.0f32;
        }
    }
    place
}

/// Writes the id of the token at `border`; every unit of the cube must call it.
#[cube]
pub(super) fn write_token<E: Float, I: Int>(
    logits: &Tensor<E>,
    row: &Row,
    border: &Border,
    has_choice: bool,
    index: usize,
    ids: &mut Tensor<I>,
    #[comptime] team: Team,
) {
    // Each unit has neighbouring tokens, so that the units count in order.
    let share = row.vocab_size.div_ceil(CUBE_DIM_X);
    let first = min(UNIT_POS_X * share, row.vocab_size);
    let end = min(first + share, row.vocab_size);
    let mut counts = SharedMemory::<f32>::new(comptime!(team.units as usize));
    let mut count = 0.0f32;
    let mut id = first;
    while id < end {
        if border.has::<E>(logits, row, id) {
            count += 1.0f32;
        }
        id += 1;
    }
    counts[UNIT_POS_X as usize] = count;
    sync_cube();
    if has_choice {
        if count > 0.0f32 {
            let mut place = 0.0f32;
            let mut unit = 0u32;
            while unit < UNIT_POS_X {
                place += counts[unit as usize];
                unit += 1;
            }
            let mut id = first;
            while id < end {
                if border.has::<E>(logits, row, id) {
                    place += 1.0f32;
                    if place == border.place {
                        ids[index] = I::cast_from(id);
                    }
                }
                id += 1;
            }
        }
    } else if UNIT_POS_X == 0 {
        ids[index] = I::cast_from(row.vocab_size);
    }
}

#[cube]
impl Border {
    /// Whether a token is the one, or one of its equals.
    fn has<E: Float>(&self, logits: &Tensor<E>, row: &Row, id: u32) -> bool {
        let key = row.key::<E>(logits, id);
        key >= self.first && key <= self.last
    }
}
