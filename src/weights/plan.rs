//! Which tensor fills which parameter: decided, checked and reported before anything is read.

use std::collections::BTreeMap;

use burn::tensor::backend::Backend;

use super::checkpoint::Checkpoint;
use super::element::{WeightType, num_elements};
use super::key_map::KeyMap;
use super::near_miss::nearest;
use super::options::WeightOptions;
use super::parameters::{Parameter, Parameters};
use super::report::{LoadReport, MismatchedParameter, MissingParameter, UnusedTensor};
use super::tensor::{TensorInfo, require_weight_type};
use crate::error::{CheckpointError, Result};

/// Missing parameters that are compared with every unused tensor; a report names no more.
const MAX_HINTS: usize = 20;

/// The tensor of one parameter.
#[derive(Clone, Debug)]
pub(super) struct Source {
    pub(super) tensor: String,
    pub(super) weight_type: WeightType,
    pub(super) stored_bytes: u64,
}

/// The tensor of every parameter, by the parameter's path.
#[derive(Debug)]
pub(super) struct Plan {
    pub(super) sources: BTreeMap<String, Source>,
    pub(super) report: LoadReport,
}

impl Plan {
    /// # Errors
    ///
    /// [`CheckpointError`] if the parameters do not find their tensors, each one of its own, in
    /// shapes and element types that fit.
    pub(super) fn new<B: Backend>(
        parameters: Parameters<B>,
        checkpoint: &Checkpoint,
        key_map: &KeyMap,
        options: &WeightOptions,
    ) -> Result<Self> {
        let mut report = LoadReport {
            kept: parameters.others,
            ..LoadReport::default()
        };
        let mut candidates = candidates(checkpoint, key_map, &mut report)?;
        let mut sources = BTreeMap::new();
        for parameter in parameters.floats {
            let Some((tensor, info)) = candidates.remove(&parameter.path) else {
                let Parameter { path, shape } = parameter;
                report.missing.push(MissingParameter {
                    path,
                    shape,
                    nearest: None,
                });
                continue;
            };
            if !fits(
                &parameter.shape,
                info.shape(),
                key_map.allows_reshape(tensor),
            ) {
                report.mismatched.push(mismatch(parameter, tensor, info));
                continue;
            }
            let weight_type = options.weight_type(&parameter.path, &parameter.shape);
            let stored_bytes = info.len_bytes() as u64;
            let source = Source {
                tensor: tensor.to_string(),
                weight_type,
                stored_bytes,
            };
            report.stored_bytes += stored_bytes;
            report.applied.push(parameter.path.clone());
            sources.insert(parameter.path, source);
        }
        report.unused = candidates.into_iter().map(unused).collect();
        add_hints(&mut report);
        report.require(options.strictness)?;
        let plan = Self { sources, report };
        plan.check_types::<B>(checkpoint, parameters.device.as_ref())?;
        Ok(plan)
    }

    /// What the shapes cannot tell: that the file holds floats and the device takes them.
    fn check_types<B: Backend>(
        &self,
        checkpoint: &Checkpoint,
        device: Option<&B::Device>,
    ) -> Result<()> {
        for source in self.sources.values() {
            let info = checkpoint
                .get(&source.tensor)
                .expect("the plan names tensors of the file");
            require_weight_type(&source.tensor, info)?;
            let dtype = source.weight_type.dtype();
            if device.is_some_and(|device| !B::supports_dtype(device, dtype)) {
                let weight_type = source.weight_type.name();
                return Err(CheckpointError::WeightType { weight_type }.into());
            }
        }
        Ok(())
    }
}

type Candidates<'c> = BTreeMap<String, (&'c str, &'c TensorInfo)>;

/// The tensors that the map does not leave out, by the path that they stand for.
fn candidates<'c>(
    checkpoint: &'c Checkpoint,
    key_map: &KeyMap,
    report: &mut LoadReport,
) -> Result<Candidates<'c>> {
    let mut candidates = Candidates::new();
    for (name, info) in checkpoint.iter() {
        let Some(path) = key_map.path(name) else {
            report.ignored.push(name.to_string());
            continue;
        };
        if let Some((first, _)) = candidates.get(&path) {
            let (first, second) = (first.to_string(), name.to_string());
            return Err(CheckpointError::NameCollision {
                parameter: path,
                first,
                second,
            }
            .into());
        }
        candidates.insert(path, (name, info));
    }
    Ok(candidates)
}

fn fits(parameter: &[usize], tensor: &[usize], may_reshape: bool) -> bool {
    let same_elements = || num_elements(parameter) == num_elements(tensor);
    let is_reshape = || {
        parameter.len() != tensor.len() && parameter.first() == tensor.first() && same_elements()
    };
    parameter == tensor || (may_reshape && is_reshape())
}

fn mismatch(parameter: Parameter, tensor: &str, info: &TensorInfo) -> MismatchedParameter {
    MismatchedParameter {
        path: parameter.path,
        tensor: tensor.to_string(),
        expected: parameter.shape,
        found: info.shape().to_vec(),
    }
}

fn unused((path, (tensor, info)): (String, (&str, &TensorInfo))) -> UnusedTensor {
    UnusedTensor {
        tensor: tensor.to_string(),
        path,
        shape: info.shape().to_vec(),
    }
}

/// Looks among the unused tensors for what the missing parameters may be called instead: one of
/// the same shape if any is alike.
fn add_hints(report: &mut LoadReport) {
    let unused = &report.unused;
    for missing in report.missing.iter_mut().take(MAX_HINTS) {
        let same_shape = unused.iter().filter(|unused| unused.shape == missing.shape);
        let path =
            nearest(&missing.path, same_shape.map(|unused| unused.path.as_str())).or_else(|| {
                nearest(
                    &missing.path,
                    unused.iter().map(|unused| unused.path.as_str()),
                )
            });
        missing.nearest = path
            .and_then(|path| unused.iter().find(|unused| unused.path == path))
            .map(|unused| unused.tensor.clone());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_rank_fits_only_where_allowed_and_only_along_the_first_axis() {
        assert!(fits(&[4, 12], &[4, 12], false));
        assert!(fits(&[4, 12], &[4, 3, 2, 2], true));
        assert!(!fits(&[4, 12], &[4, 3, 2, 2], false));
        assert!(!fits(&[4, 12], &[12, 4], true));
        assert!(!fits(&[4, 12], &[2, 2, 12], true));
        assert!(!fits(&[4, 12], &[4, 3, 2, 3], true));
    }
}
