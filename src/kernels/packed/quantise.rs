//! From floats to codes and scales.

use half::f16;
use rayon::prelude::*;

use super::{GROUP_LEN, PackedType};

/// Groups to a task: some 100 us of work.
const TASK_GROUPS: usize = 1024;

/// Codes around zero: what an element is divided by its scale is rounded to one of them.
struct Symmetric {
    lowest: f32,
    highest: f32,
    /// What the largest element becomes by the plain formula.
    largest_code: f32,
    /// What it may become, the end of the range or a little beside it: the best for the group is taken.
    largest_codes: &'static [f32],
}

/// On normally distributed weights the error is 0.0049 of their size with these, and 0.0054 with the end
/// of the range alone.
const BYTES: Symmetric = Symmetric {
    lowest: -127.0,
    highest: 127.0,
    largest_code: 127.0,
    largest_codes: &[127.0, 126.0, 125.0, 124.0],
};

/// The codes reach one further below zero than above. The error is 0.081 with these, and 0.084 with the
/// end of the range alone.
const HALF_BYTES: Symmetric = Symmetric {
    lowest: -8.0,
    highest: 7.0,
    largest_code: -8.0,
    largest_codes: &[-7.0, -7.5, -8.0, -8.5, -9.0],
};

/// The largest code behind a minimum.
const LAST_CODE: usize = 15;

/// Steps that a group may at least span: of fewer, a matrix on a grid has next to no groups.
const FEWEST_STEPS: usize = 6;

/// Adding it to a number of up to 22 bits, and taking it away again, rounds to the nearest integer.
const ROUNDING: f32 = 12_582_912.0;

/// Packs whole groups. What is not finite makes its group a group of NaN.
///
/// The scale is rounded to f16 before the codes are chosen, so that they make up for its rounding.
///
/// # Shapes
/// - `wide`: `[groups * 32]`
/// - `codes`: `[groups * words_of_group]`
/// - `numbers`: `[groups * numbers_of_group]`; a scale is infinite where f16 has none so large
///
/// # Panics
/// If the lengths are not those.
pub(crate) fn quantise(
    packed_type: PackedType,
    wide: &[f32],
    codes: &mut [u32],
    numbers: &mut [f16],
) {
    let (words, per_group) = (packed_type.words_of_group(), packed_type.numbers_of_group());
    let groups = wide.len() / GROUP_LEN;
    assert_eq!(wide.len(), groups * GROUP_LEN, "whole groups");
    assert_eq!(codes.len(), groups * words, "the codes of every group");
    assert_eq!(
        numbers.len(),
        groups * per_group,
        "the numbers of every group"
    );
    let tasks = wide
        .par_chunks(TASK_GROUPS * GROUP_LEN)
        .zip(codes.par_chunks_mut(TASK_GROUPS * words))
        .zip(numbers.par_chunks_mut(TASK_GROUPS * per_group));
    tasks.for_each(|((wide, codes), numbers)| {
        let (groups, _) = wide.as_chunks::<GROUP_LEN>();
        let codes = codes.chunks_exact_mut(words);
        let numbers = numbers.chunks_exact_mut(per_group);
        for ((group, codes), numbers) in groups.iter().zip(codes).zip(numbers) {
            let codes = bytemuck::cast_slice_mut(codes);
            match packed_type {
                PackedType::Q8 => numbers[0] = pack_bytes(group, codes),
                PackedType::Q4 => numbers[0] = pack_half_bytes(group, codes),
                PackedType::Q4WithMinimum => {
                    let [scale, minimum] = pack_with_minimum(group, codes);
                    numbers.copy_from_slice(&[scale, minimum]);
                }
            }
        }
    });
}

/// The type that serves a matrix best where `asked` is asked for, by some of its groups.
///
/// It is the one that was asked for, unless steps from a minimum on are worth their half bit, which is a
/// half of the squared error, or serve as well as twice the bits: so numbers that were of 4 bits before
/// they were floats come back as they were.
///
/// # Shapes
/// - `sample`: `[groups * 32]`
pub(crate) fn better_type(asked: PackedType, sample: &[f32]) -> PackedType {
    let error_in = |packed_type| -> f64 {
        let groups = sample.as_chunks::<GROUP_LEN>().0.iter();
        groups
            .map(|group| f64::from(error_of(packed_type, group)))
            .sum()
    };
    let worth = match asked {
        PackedType::Q8 => 1.0,
        PackedType::Q4 => 0.5,
        PackedType::Q4WithMinimum => return asked,
    };
    let allowed = worth * error_in(asked);
    match allowed > 0.0 && error_in(PackedType::Q4WithMinimum) <= allowed {
        true => PackedType::Q4WithMinimum,
        false => asked,
    }
}

/// The squared error of a group.
fn error_of(packed_type: PackedType, group: &[f32; GROUP_LEN]) -> f32 {
    match packed_type {
        PackedType::Q8 => BYTES.error(group, BYTES.scale(group)),
        PackedType::Q4 => HALF_BYTES.error(group, HALF_BYTES.scale(group)),
        PackedType::Q4WithMinimum => Grid::of(group).error(group),
    }
}

/// Signed bytes; returns the scale.
fn pack_bytes(group: &[f32; GROUP_LEN], codes: &mut [u8]) -> f16 {
    let scale = BYTES.scale(group);
    let inverse = inverse(scale);
    for (code, value) in codes.iter_mut().zip(group) {
        *code = (BYTES.code(value * inverse) as i8).cast_unsigned();
    }
    or_nan(scale, group)
}

/// Halves of bytes around 8; returns the scale.
fn pack_half_bytes(group: &[f32; GROUP_LEN], codes: &mut [u8]) -> f16 {
    let scale = HALF_BYTES.scale(group);
    let inverse = inverse(scale);
    let rounded = group.map(|value| HALF_BYTES.code(value * inverse) + 8.0);
    pack_halves(&rounded, codes);
    or_nan(scale, group)
}

/// Halves of bytes from the minimum on; returns the scale and the minimum.
fn pack_with_minimum(group: &[f32; GROUP_LEN], codes: &mut [u8]) -> [f16; 2] {
    let grid = Grid::of(group);
    pack_halves(&grid.codes(group), codes);
    [grid.scale, grid.minimum].map(|number| or_nan(number, group))
}

impl Symmetric {
    /// The scale with the smallest sum of squared errors among those that give the largest element each
    /// of the largest codes, or that of the plain formula.
    fn scale(&self, group: &[f32; GROUP_LEN]) -> f16 {
        let largest = largest(group);
        let plain = f16::from_f32(largest / self.largest_code);
        let fitted = f16::from_f32(self.fitted_scale(group, largest));
        // No comparison holds with what is infinite or no number.
        match self.error(group, fitted) < self.error(group, plain) {
            true => fitted,
            false => plain,
        }
    }

    fn fitted_scale(&self, group: &[f32; GROUP_LEN], largest: f32) -> f32 {
        let (mut best, mut scale) = (0.0, 0.0);
        for code in self.largest_codes {
            let inverse = code / largest;
            let codes = group.map(|value| self.code(value * inverse));
            // With the scale `products / squares` the codes come nearest; this much is then explained.
            let (products, squares) = (dot(&codes, group), dot(&codes, &codes));
            let explained = products * products / squares;
            if explained > best {
                (best, scale) = (explained, products / squares);
            }
        }
        scale
    }

    fn error(&self, group: &[f32; GROUP_LEN], scale: f16) -> f32 {
        let inverse = inverse(scale);
        let codes = group.map(|value| self.code(value * inverse));
        squared_error(group, &codes, scale.to_f32(), 0.0)
    }

    fn code(&self, value: f32) -> f32 {
        round(value).clamp(self.lowest, self.highest)
    }
}

/// Steps of one size from a minimum on.
#[derive(Clone, Copy)]
struct Grid {
    scale: f16,
    minimum: f16,
}

impl Grid {
    /// The best that is found for a group, never worse than codes around zero. A group that was made of
    /// such a grid finds it again, also where it does not reach from the first code to the last.
    fn of(group: &[f32; GROUP_LEN]) -> Self {
        let smallest = group.iter().copied().fold(f32::INFINITY, f32::min);
        let largest = group.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let grid = |steps: usize, below: usize| {
            let scale = f16::from_f32((largest - smallest) / steps as f32).to_f32();
            Self::new(scale, smallest - scale * below as f32)
        };
        let mut best = Best::of(grid(LAST_CODE, 0), group);
        for steps in (FEWEST_STEPS..=LAST_CODE).rev() {
            for below in 0..=LAST_CODE - steps {
                if best.error == 0.0 {
                    return best.grid;
                }
                best.take(grid(steps, below), group);
            }
        }
        best.take(best.grid.refitted(group), group);
        let scale = HALF_BYTES.scale(group).to_f32();
        best.take(Self::new(scale, -8.0 * scale), group);
        best.grid
    }

    fn new(scale: f32, minimum: f32) -> Self {
        Self {
            scale: f16::from_f32(scale),
            minimum: f16::from_f32(minimum),
        }
    }

    /// The line that comes nearest to the group with the codes that it has on this grid.
    fn refitted(self, group: &[f32; GROUP_LEN]) -> Self {
        let codes = self.codes(group);
        let [mean_code, mean] = [&codes, group].map(|values| sum(values) / GROUP_LEN as f32);
        let codes = codes.map(|code| code - mean_code);
        let scale = dot(&codes, group) / dot(&codes, &codes);
        Self::new(scale, mean - scale * mean_code)
    }

    fn codes(self, group: &[f32; GROUP_LEN]) -> [f32; GROUP_LEN] {
        let (inverse, minimum) = (inverse(self.scale), self.minimum.to_f32());
        group.map(|value| round((value - minimum) * inverse).clamp(0.0, LAST_CODE as f32))
    }

    fn error(self, group: &[f32; GROUP_LEN]) -> f32 {
        let (scale, minimum) = (self.scale.to_f32(), self.minimum.to_f32());
        squared_error(group, &self.codes(group), scale, minimum)
    }
}

/// The best grid so far.
struct Best {
    grid: Grid,
    error: f32,
}

impl Best {
    fn of(grid: Grid, group: &[f32; GROUP_LEN]) -> Self {
        let error = grid.error(group);
        Self { grid, error }
    }

    /// Takes another if it is better. None is better than one for what is infinite or no number.
    fn take(&mut self, grid: Grid, group: &[f32; GROUP_LEN]) {
        let other = Self::of(grid, group);
        if other.error < self.error {
            *self = other;
        }
    }
}

/// Of `codes * scale + minimum`, as an element is read.
fn squared_error(
    group: &[f32; GROUP_LEN],
    codes: &[f32; GROUP_LEN],
    scale: f32,
    minimum: f32,
) -> f32 {
    let mut errors = *group;
    for (error, code) in errors.iter_mut().zip(codes) {
        *error -= code * scale + minimum;
    }
    dot(&errors, &errors)
}

fn dot(a: &[f32; GROUP_LEN], b: &[f32; GROUP_LEN]) -> f32 {
    let mut products = *a;
    for (product, b) in products.iter_mut().zip(b) {
        *product *= b;
    }
    sum(&products)
}

/// Several sums side by side, so that none waits for the one before.
fn sum(values: &[f32; GROUP_LEN]) -> f32 {
    let mut lanes = [0.0; 8];
    for values in values.as_chunks::<8>().0 {
        for (lane, value) in lanes.iter_mut().zip(values) {
            *lane += value;
        }
    }
    lanes.iter().sum()
}

/// The element farthest from zero, with its sign.
fn largest(group: &[f32; GROUP_LEN]) -> f32 {
    group.iter().fold(0.0, |largest: f32, value| {
        if value.abs() > largest.abs() {
            *value
        } else {
            largest
        }
    })
}

fn inverse(scale: f16) -> f32 {
    match scale.to_f32() {
        0.0 => 0.0,
        scale => 1.0 / scale,
    }
}

/// To the nearest integer, without a call into the library for each element.
fn round(value: f32) -> f32 {
    (value + ROUNDING) - ROUNDING
}

/// The scale, or NaN where the group has what no scale and code can stand for.
fn or_nan(scale: f16, group: &[f32; GROUP_LEN]) -> f16 {
    match group.iter().all(|value| value.is_finite()) {
        true => scale,
        false => f16::NAN,
    }
}

/// Codes from 0 to 15: the first half into the lower halves of the bytes.
fn pack_halves(rounded: &[f32; GROUP_LEN], codes: &mut [u8]) {
    let (lower, upper) = rounded.split_at(GROUP_LEN / 2);
    for ((code, lower), upper) in codes.iter_mut().zip(lower).zip(upper) {
        *code = *lower as u8 | (*upper as u8) << 4;
    }
}

#[cfg(test)]
mod tests;
