//! Functions of one number, without a branch, so that a loop over them vectorises.

use std::f32::consts::{FRAC_1_SQRT_2, FRAC_2_SQRT_PI, LOG2_E, SQRT_2};

/// `e^x`, within 2 units in the last place; 0 below -86, just before the normal numbers end,
/// infinite where it overflows, NaN of NaN.
#[inline(always)]
pub(in crate::kernels) fn exp(x: f32) -> f32 {
    // Adding this rounds to an integer, which then stands in the low bits (1.5 * 2^23).
    const ROUND: f32 = 12_582_912.0;
    // ln 2 in two parts, the first with few enough bits that its multiples here are exact.
    const LN_2_HIGH: f32 = 355.0 / 512.0;
    const LN_2_LOW: f32 = -2.121_944_4e-4;
    // Keeps the scale below a normal number. NaN passes: the comparisons are false.
    let low = if x < -86.0 { -86.0 } else { x };
    let clamped = if low > 89.0 { 89.0 } else { low };
    let shifted = clamped * LOG2_E + ROUND;
    let power = shifted - ROUND;
    let rest = (clamped - power * LN_2_HIGH) - power * LN_2_LOW;
    let exponent = shifted.to_bits().wrapping_sub(ROUND.to_bits());
    // Half the scale, since the whole may be 2^128, which is no number.
    let half_scale = f32::from_bits(exponent.wrapping_add(126) << 23);
    let value = exp_near_zero(rest) * half_scale * 2.0;
    if x < -86.0 { 0.0 } else { value }
}

/// The Taylor series, to the last bit for `|x| <= ln(2) / 2`.
#[inline(always)]
fn exp_near_zero(x: f32) -> f32 {
    let mut sum = 1.0 / 5040.0;
    for factor in [
        1.0 / 720.0,
        1.0 / 120.0,
        1.0 / 24.0,
        1.0 / 6.0,
        0.5,
        1.0,
        1.0,
    ] {
        sum = sum * x + factor;
    }
    sum
}

/// `1 / (1 + e^-x)`.
#[inline(always)]
fn sigmoid(x: f32) -> f32 {
    1.0 / (1.0 + exp(-x))
}

/// `x * sigmoid(x)`.
#[inline(always)]
pub(in crate::kernels) fn silu(x: f32) -> f32 {
    x * sigmoid(x)
}

/// `x * sigmoid(1.702 x)`.
#[inline(always)]
pub(in crate::kernels) fn quick_gelu(x: f32) -> f32 {
    x * sigmoid(1.702 * x)
}

/// `x` above zero, else 0; NaN of NaN, which `f32::max` would swallow.
#[inline(always)]
pub(in crate::kernels) fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3)))`, by `1 + tanh(u) = 2 sigmoid(2 u)`.
#[inline(always)]
pub(in crate::kernels) fn gelu_tanh(x: f32) -> f32 {
    const TWICE_SQRT_2_OVER_PI: f32 = SQRT_2 * FRAC_2_SQRT_PI;
    x * sigmoid(TWICE_SQRT_2_OVER_PI * (x + 0.044_715 * x * x * x))
}

/// `x * Phi(x)`.
#[inline(always)]
pub(in crate::kernels) fn gelu(x: f32) -> f32 {
    let tail = 0.5 * erfc_of_positive(x.abs() * FRAC_1_SQRT_2);
    x * if x < 0.0 { tail } else { 1.0 - tail }
}

/// `1 - erf(t)` for `t >= 0`, within 4e-8.
#[inline(always)]
fn erfc_of_positive(t: f32) -> f32 {
    /// `-ln(erfc(t)) / t` over `[0, 5.75]`, fitted for the least absolute error of `erfc`.
    const FIT: [f32; 10] = [
        9.338_160_7e-7,
        -1.832_249e-5,
        1.528_574_5e-4,
        -7.027_843e-4,
        1.741_789_4e-3,
        -2.006_859_4e-4,
        -1.914_568e-2,
        1.027_795e-1,
        6.366_187e-1,
        FRAC_2_SQRT_PI,
    ];
    // Beyond the fit, `erfc` is below 1e-15. NaN passes: the comparison is false.
    let t = if t > 5.75 { 5.75 } else { t };
    let mut exponent = 0.0;
    for factor in FIT {
        exponent = exponent * t + factor;
    }
    exp(-t * exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(from: f32, to: f32) -> impl Iterator<Item = f32> {
        (0..=20_000).map(move |step| from + (to - from) * step as f32 / 20_000.0)
    }

    #[test]
    fn exp_is_within_two_units_in_the_last_place() {
        for x in numbers(-86.0, 88.7) {
            let expected = f64::from(x).exp();
            let unit = expected * f64::from(f32::EPSILON);
            let error = (f64::from(exp(x)) - expected).abs();
            assert!(
                error <= 2.0 * unit,
                "exp({x}) is off by {} units",
                error / unit
            );
        }
    }

    #[test]
    fn exp_saturates_and_keeps_nan() {
        assert_eq!(
            [-1000.0, f32::NEG_INFINITY, 89.0, f32::INFINITY].map(exp),
            [0.0, 0.0, f32::INFINITY, f32::INFINITY]
        );
        assert!(exp(f32::NAN).is_nan());
        assert_eq!(exp(0.0), 1.0);
    }

    /// The integral of the density, by Simpson's rule.
    fn gelu_exact(x: f32) -> f64 {
        let x = f64::from(x);
        let density = |t: f64| (-t * t / 2.0).exp() / std::f64::consts::TAU.sqrt();
        let step = x / 2000.0;
        let inner: f64 = (1..2000)
            .map(|at| density(step * f64::from(at)) * if at % 2 == 1 { 4.0 } else { 2.0 })
            .sum();
        x * (0.5 + step / 3.0 * (density(0.0) + inner + density(x)))
    }

    #[test]
    fn gelu_follows_the_error_function() {
        for step in -120..=120 {
            let x = step as f32 / 20.0;
            let error = (f64::from(gelu(x)) - gelu_exact(x)).abs();
            assert!(
                error <= 3e-7 * f64::from(x.abs().max(1.0)),
                "gelu({x}) is off by {error}"
            );
        }
        assert!(gelu(f32::NAN).is_nan());
        assert_eq!(
            [-30.0, 30.0].map(gelu).map(|y| y.abs().round()),
            [0.0, 30.0]
        );
    }

    #[test]
    fn the_tanh_form_needs_no_tanh() {
        for x in numbers(-8.0, 8.0) {
            let wide = f64::from(x);
            let inner = (2.0 / std::f64::consts::PI).sqrt() * (wide + 0.044715 * wide.powi(3));
            let error = (f64::from(gelu_tanh(x)) - 0.5 * wide * (1.0 + inner.tanh())).abs();
            assert!(error <= 1e-6, "gelu_tanh({x}) is off by {error}");
        }
    }

    #[test]
    fn relu_keeps_what_is_above_zero_and_nan() {
        assert_eq!(
            [-2.0, 0.0, 1.5, f32::NEG_INFINITY].map(relu),
            [0.0, 0.0, 1.5, 0.0]
        );
        assert!(relu(f32::NAN).is_nan());
    }

    #[test]
    fn gates_saturate_without_nan() {
        assert_eq!([-200.0, 200.0].map(silu), [0.0, 200.0]);
        assert_eq!([-200.0, 200.0].map(quick_gelu), [0.0, 200.0]);
    }
}
