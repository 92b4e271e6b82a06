//! What became of every parameter of a module and every tensor of a checkpoint.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::element::WeightType;
use super::kept_type::KeptType;
use super::options::Strictness;
use crate::error::{CheckpointError, Result, visible};

/// Entries of each kind that a report spells out before it only counts the rest.
const MAX_LISTED: usize = 20;

/// What became of every parameter and every tensor. [`Display`](fmt::Display) says it in words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct LoadReport {
    /// Paths of the parameters that were filled.
    pub applied: Vec<String>,
    /// Parameters that no tensor fills.
    pub missing: Vec<MissingParameter>,
    /// Parameters whose tensor has another shape.
    pub mismatched: Vec<MismatchedParameter>,
    /// Tensors that fill no parameter.
    pub unused: Vec<UnusedTensor>,
    /// Names of the tensors that a rule left out.
    pub ignored: Vec<String>,
    /// Paths of the parameters that stay as they were: integers, booleans, and those that a rule lets
    /// do without a tensor.
    pub kept: Vec<String>,
    /// How many matrices are kept in each type; everything else is f32.
    pub matrices: BTreeMap<KeptType, usize>,
    /// Matrices that were to be kept as they are stored, and are kept in f32 since the device's
    /// kernels do not read their type.
    pub widened: Vec<WidenedMatrix>,
    /// Paths of the matrices that were to be packed, and are kept as floats since their rows are no
    /// whole groups.
    pub unpacked: Vec<String>,
    /// How many matrices are stored in blocks of each type (`Q4_K`, ...) and kept in another: in f16
    /// where they are to be as stored.
    pub dequantised: BTreeMap<&'static str, usize>,
    /// Bytes of the filled parameters as they are stored.
    pub stored_bytes: u64,
    /// Bytes of the filled parameters as they are kept on the device.
    pub kept_bytes: u64,
}

/// A parameter that no tensor fills, or a part of one.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MissingParameter {
    /// Its path in the module.
    pub path: String,
    /// If it is made of several tensors and some are there: the path of one that is not.
    pub part: Option<String>,
    /// Its shape; that of a part has the rows that no tensor fills.
    pub shape: Vec<usize>,
    /// The unused tensor most like it, if one is.
    pub nearest: Option<String>,
}

/// A parameter whose tensor has another shape.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct MismatchedParameter {
    /// Its path in the module.
    pub path: String,
    /// The tensor in the checkpoint; `a + b` where several together have another size.
    pub tensor: String,
    /// Shape of the parameter, or of what the tensor is to it.
    pub expected: Vec<usize>,
    /// Shape of the tensor, or of several together.
    pub found: Vec<usize>,
}

/// A tensor that fills no parameter.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct UnusedTensor {
    /// Its name in the checkpoint.
    pub tensor: String,
    /// The path that its name stands for.
    pub path: String,
    /// Its shape.
    pub shape: Vec<usize>,
}

/// A matrix in f32 whose stored type the device's kernels do not read.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct WidenedMatrix {
    /// Its path in the module.
    pub path: String,
    /// The type in the checkpoint.
    pub stored: WeightType,
}

impl LoadReport {
    /// # Errors
    ///
    /// [`CheckpointError::Incomplete`] if something is missing, mismatched, or unused though
    /// that is not allowed.
    pub(super) fn require(&self, strictness: Strictness) -> Result<()> {
        let unused_matters = match strictness {
            Strictness::Strict => !self.unused.is_empty(),
            Strictness::AllowUnused => false,
        };
        if self.missing.is_empty() && self.mismatched.is_empty() && !unused_matters {
            return Ok(());
        }
        Err(CheckpointError::Incomplete {
            missing: self
                .missing
                .iter()
                .map(|missing| missing.name().to_string())
                .collect(),
            mismatched: self
                .mismatched
                .iter()
                .map(|mismatch| mismatch.path.clone())
                .collect(),
            unused: self
                .unused
                .iter()
                .map(|unused| unused.tensor.clone())
                .collect(),
            report: self.to_string(),
        }
        .into())
    }
}

impl MissingParameter {
    /// What no tensor is named after.
    pub(super) fn name(&self) -> &str {
        self.part.as_deref().unwrap_or(&self.path)
    }
}

impl fmt::Display for LoadReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (found, megabytes) = (self.applied.len(), self.stored_bytes as f64 / 1e6);
        let missing = self.missing.iter().map(|missing| &missing.path);
        let misfits = missing.chain(self.mismatched.iter().map(|mismatch| &mismatch.path));
        let wanted = found + misfits.collect::<BTreeSet<_>>().len();
        write!(
            f,
            "{found} of {wanted} parameters found ({megabytes:.1} MB)"
        )?;
        for (kept, count) in &self.matrices {
            write!(f, "; {count} matrices in {kept}")?;
        }
        for (blocks, count) in &self.dequantised {
            write!(f, "; {count} of them out of {blocks} blocks")?;
        }
        write_list(f, "with rows that are no whole groups", &self.unpacked)?;
        write_list(f, "of a type that the device does not read", &self.widened)?;
        write_list(f, "without a tensor", &self.missing)?;
        write_list(f, "of another shape", &self.mismatched)?;
        write_list(f, "tensors without a parameter", &self.unused)?;
        if !self.ignored.is_empty() {
            write!(f, "; {} tensors ignored", self.ignored.len())?;
        }
        if !self.kept.is_empty() {
            write!(f, "; {} parameters kept", self.kept.len())?;
        }
        Ok(())
    }
}

impl fmt::Display for MissingParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {:?}", visible(self.name()), self.shape)?;
        match &self.nearest {
            Some(tensor) => write!(f, " (perhaps the tensor `{}`)", visible(tensor)),
            None => Ok(()),
        }
    }
}

impl fmt::Display for MismatchedParameter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            tensor,
            expected,
            found,
        } = self;
        write!(
            f,
            "`{}` expects {expected:?}, the tensor `{}` has {found:?}",
            visible(path),
            visible(tensor)
        )
    }
}

impl fmt::Display for WidenedMatrix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` ({})", visible(&self.path), self.stored)
    }
}

impl fmt::Display for UnusedTensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` {:?}", visible(&self.tensor), self.shape)
    }
}

fn write_list<T: fmt::Display>(f: &mut fmt::Formatter<'_>, what: &str, items: &[T]) -> fmt::Result {
    if items.is_empty() {
        return Ok(());
    }
    let listed: Vec<String> = items
        .iter()
        .take(MAX_LISTED)
        .map(ToString::to_string)
        .collect();
    write!(f, "; {} {what}: {}", items.len(), listed.join(", "))?;
    match items.len().saturating_sub(MAX_LISTED) {
        0 => Ok(()),
        rest => write!(f, " and {rest} more"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::PackedType;

    fn unused(index: usize) -> UnusedTensor {
        let name = format!("t{index}");
        UnusedTensor {
            tensor: name.clone(),
            path: name,
            shape: vec![2],
        }
    }

    #[test]
    fn the_report_names_shapes_and_the_nearest_tensor() {
        let report = LoadReport {
            applied: vec!["a".to_string()],
            missing: vec![MissingParameter {
                path: "b.weight".to_string(),
                part: None,
                shape: vec![4, 2],
                nearest: Some("c.weight".to_string()),
            }],
            mismatched: vec![MismatchedParameter {
                path: "d".to_string(),
                tensor: "x.d".to_string(),
                expected: vec![2],
                found: vec![3],
            }],
            matrices: BTreeMap::from([(WeightType::F32.into(), 1), (PackedType::Q8.into(), 2)]),
            unpacked: vec!["e".to_string()],
            widened: vec![WidenedMatrix {
                path: "a".to_string(),
                stored: WeightType::BF16,
            }],
            stored_bytes: 1_500_000,
            ..LoadReport::default()
        };
        assert_eq!(
            report.to_string(),
            "1 of 3 parameters found (1.5 MB); 1 matrices in f32; 2 matrices in q8; \
             1 with rows that are no whole groups: e; \
             1 of a type that the device does not read: `a` (bf16); \
             1 without a tensor: `b.weight` [4, 2] (perhaps the tensor `c.weight`); \
             1 of another shape: `d` expects [2], the tensor `x.d` has [3]"
        );
    }

    #[test]
    fn a_long_report_counts_what_it_does_not_name() {
        let report = LoadReport {
            unused: (0..25).map(unused).collect(),
            ..LoadReport::default()
        };
        let text = report.to_string();
        assert!(
            text.contains("25 tensors without a parameter: `t0` [2]"),
            "{text}"
        );
        assert!(text.ends_with("`t19` [2] and 5 more"), "{text}");
    }

    #[test]
    fn unused_tensors_are_an_error_unless_they_are_allowed() {
        let report = LoadReport {
            unused: vec![unused(0)],
            ..LoadReport::default()
        };
        assert!(report.require(Strictness::Strict).is_err());
        report.require(Strictness::AllowUnused).unwrap();
        LoadReport::default().require(Strictness::Strict).unwrap();
    }
}
