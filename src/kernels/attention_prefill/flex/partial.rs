//! Answers over a part of the keys, and how they are merged.

use crate::kernels::cpu::exp;

/// What some queries get from a part of their keys.
#[derive(Debug)]
pub(super) struct Partial {
    /// Values, each times its weight relative to the largest, summed: `[lines, head_dim]`.
    pub(super) sums: Vec<f32>,
    /// Of each line.
    pub(super) scales: Vec<Scale>,
}

/// What the weights of a line are relative to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Scale {
    /// The largest score.
    pub(super) largest: f32,
    /// The sum of the weights; 0 where no key is seen.
    pub(super) total: f32,
}

impl Partial {
    /// What queries get that see no key.
    pub(super) fn nothing(lines: usize, head_dim: usize) -> Self {
        let scale = Scale {
            largest: f32::NEG_INFINITY,
            total: 0.0,
        };
        Self {
            sums: vec![0.0; lines * head_dim],
            scales: vec![scale; lines],
        }
    }

    /// What a line gets from all parts, `[head_dim]`; zeros for a query that sees no key.
    #[inline(always)]
    pub(super) fn merge(parts: &[Self], line: usize, answer: &mut [f32]) {
        let head_dim = answer.len();
        let seeing = parts.iter().filter(|part| part.scales[line].total != 0.0);
        let scales = seeing.clone().map(|part| part.scales[line]);
        let largest = scales
            .clone()
            .map(|scale| scale.largest)
            .fold(f32::NEG_INFINITY, f32::max);
        let total: f32 = scales
            .map(|scale| scale.total * exp(scale.largest - largest))
            .sum();
        answer.fill(0.0);
        for part in seeing {
            let weight = exp(part.scales[line].largest - largest) / total;
            let sums = &part.sums[line * head_dim..][..head_dim];
            for (answer, sum) in answer.iter_mut().zip(sums) {
                *answer += weight * sum;
            }
        }
    }
}
