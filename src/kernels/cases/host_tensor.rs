//! Answers on the host, and how far they may be from the truth.

use burn::tensor::DType;

/// What a kernel wrote, read back.
#[derive(Debug, Clone, PartialEq)]
pub struct HostTensor {
    /// Sizes, outer to inner.
    pub shape: Vec<usize>,
    /// The elements in row-major order, whatever their type was.
    pub values: Vec<f32>,
    /// How they are compared.
    pub kind: OutputKind,
}

/// What the elements of a [`HostTensor`] mean.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputKind {
    /// Numbers, compared by their distance.
    Float,
    /// Token ids, which are right or wrong.
    Index,
}

/// An answer that is too far from the truth.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[error("element {index} is {found}, expected {expected} within {allowed:e}")]
pub struct Deviation {
    /// Place of the worst element, row-major.
    pub index: usize,
    /// What the kernel wrote there.
    pub found: f32,
    /// What the reference gives in f32.
    pub expected: f32,
    /// The distance allowed.
    pub allowed: f32,
}

impl HostTensor {
    /// Checks that this answer is no further from `exact` than twice the error that `plain` (the
    /// reference body run wholly in `dtype`) makes, plus a floor; token ids must be equal.
    ///
    /// The floor is 16 units in the last place of an f32, or half a unit of a half-precision type
    /// (one last rounding), of the largest number of the answer: sums taken in another order than
    /// the reference's differ by that much where the reference itself happens to be exact.
    ///
    /// # Errors
    /// [`Deviation`], if an element is too far off, or NaN where `exact` is not (or the reverse).
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn check(&self, plain: &Self, exact: &Self, dtype: DType) -> Result<(), Deviation> {
        assert_eq!(self.shape, exact.shape, "the shape of the answer");
        assert_eq!(plain.shape, exact.shape, "the shape of the plain answer");
        let allowed = match self.kind {
            OutputKind::Index => 0.0,
            OutputKind::Float => 2.0 * plain.error(exact) + floor(dtype) * exact.largest(),
        };
        self.within(exact, allowed)
    }

    fn within(&self, exact: &Self, allowed: f32) -> Result<(), Deviation> {
        let (index, error) = self.worst(exact);
        if error <= allowed {
            return Ok(());
        }
        Err(Deviation {
            index,
            found: self.values[index],
            expected: exact.values[index],
            allowed,
        })
    }

    /// Checks that this is an answer to the same problem: near `exact`, however it was rounded.
    /// Other people's operations are held to no more.
    ///
    /// # Errors
    /// [`Deviation`], if an element is off by more than a twentieth of the largest number.
    ///
    /// # Panics
    /// If the shapes differ.
    pub fn check_roughly(&self, exact: &Self) -> Result<(), Deviation> {
        assert_eq!(self.shape, exact.shape, "the shape of the answer");
        self.within(exact, exact.largest() / 20.0)
    }

    /// The largest distance of an element from `exact`; infinite if only one of two is NaN.
    pub fn error(&self, exact: &Self) -> f32 {
        self.worst(exact).1
    }

    fn worst(&self, exact: &Self) -> (usize, f32) {
        let errors = self
            .values
            .iter()
            .zip(&exact.values)
            .map(|(found, expected)| {
                let is_same = found == expected || (found.is_nan() && expected.is_nan());
                let distance = if is_same {
                    0.0
                } else {
                    (found - expected).abs()
                };
                if distance.is_nan() {
                    f32::INFINITY
                } else {
                    distance
                }
            });
        errors.enumerate().fold(
            (0, 0.0),
            |worst, next| if next.1 > worst.1 { next } else { worst },
        )
    }

    fn largest(&self) -> f32 {
        let finite = self.values.iter().filter(|value| value.is_finite());
        finite.fold(0.0, |largest, value| largest.max(value.abs()))
    }
}

fn floor(dtype: DType) -> f32 {
    match dtype {
        DType::F16 => half::f16::EPSILON.to_f32() / 2.0,
        DType::BF16 => half::bf16::EPSILON.to_f32() / 2.0,
        _ => 16.0 * f32::EPSILON,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(values: &[f32], kind: OutputKind) -> HostTensor {
        HostTensor {
            shape: vec![values.len()],
            values: values.to_vec(),
            kind,
        }
    }

    #[test]
    fn an_answer_may_be_twice_as_wrong_as_the_plain_formula() {
        let exact = answer(&[1.0, 2.0], OutputKind::Float);
        let plain = answer(&[1.0, 2.01], OutputKind::Float);
        assert!(
            answer(&[1.019, 2.0], OutputKind::Float)
                .check(&plain, &exact, DType::F32)
                .is_ok()
        );
        let deviation = answer(&[1.03, 2.0], OutputKind::Float).check(&plain, &exact, DType::F32);
        assert_eq!(deviation.map_err(|deviation| deviation.index), Err(0));
    }

    #[test]
    fn a_wrong_index_is_wrong_however_near() {
        let exact = answer(&[100.0, 7.0], OutputKind::Index);
        assert!(
            answer(&[100.0, 8.0], OutputKind::Index)
                .check(&exact, &exact, DType::F32)
                .is_err()
        );
        assert!(exact.check(&exact, &exact, DType::F32).is_ok());
    }

    #[test]
    fn nan_is_right_only_where_the_truth_is_nan() {
        let exact = answer(&[f32::NAN, 1.0], OutputKind::Float);
        assert!(exact.check(&exact, &exact, DType::F32).is_ok());
        let written = answer(&[0.0, 1.0], OutputKind::Float);
        assert!(written.check(&exact, &exact, DType::F32).is_err());
        let unwritten = answer(&[f32::NAN, f32::NAN], OutputKind::Float);
        assert!(unwritten.check(&exact, &exact, DType::F32).is_err());
    }
}
