//! Which tensor fills which parameter: decided, checked and reported before anything is read.

use std::collections::BTreeMap;

use burn::tensor::backend::Backend;

use super::checkpoint::Checkpoint;
use super::element::WeightType;
use super::fit::{Candidate, Fit};
use super::kept_type::KeptType;
use super::key_map::{KeyMap, Place};
use super::matrix_type::{MatrixType, Reading};
use super::near_miss::nearest;
use super::options::WeightOptions;
use super::parameters::{MatrixUse, Parameter, Parameters, Role};
use super::report::{LoadReport, MissingParameter, UnusedTensor, WidenedMatrix};
use super::source::{NamedTensor, Source};
use crate::error::{CheckpointError, Result};
use crate::kernels::better_type;

/// Missing parameters that are compared with every unused tensor; a report names no more.
const MAX_HINTS: usize = 20;

/// How the device reads matrices of a type, with rows of so many columns.
pub(super) type ReadsMatrix<'a> = dyn Fn(KeptType, usize) -> Reading + 'a;

/// What every parameter is made of, by the parameter's path.
#[derive(Debug)]
pub(super) struct Plan<'c> {
    pub(super) sources: BTreeMap<String, Source<'c>>,
    pub(super) report: LoadReport,
}

impl<'c> Plan<'c> {
    /// # Errors
    ///
    /// [`CheckpointError`] if the parameters do not find their tensors, each of its own, in
    /// shapes that fit.
    pub(super) fn new<B: Backend>(
        parameters: Parameters<B>,
        checkpoint: &'c Checkpoint,
        key_map: &KeyMap,
        options: &WeightOptions,
    ) -> Result<Self> {
        let mut report = LoadReport {
            kept: parameters.others,
            ..LoadReport::default()
        };
        let key_map = &key_map.behind(checkpoint.adapter_rules());
        let mut candidates = candidates(checkpoint, key_map, &mut report)?;
        let mut sources = BTreeMap::new();
        for parameter in parameters.floats {
            let Some(candidates) = candidates.remove(&parameter.path) else {
                match key_map.is_optional(&parameter.path) {
                    true => report.kept.push(parameter.path),
                    false => report.missing.push(missing(parameter)),
                }
                continue;
            };
            let mut fit = Fit {
                parameter: &parameter,
                candidates: &candidates,
                key_map,
                report: &mut report,
            };
            let Ok(pieces) = fit.pieces() else {
                continue;
            };
            let source = Source {
                pieces,
                role: parameter.role,
                columns: parameter.shape.last().copied().unwrap_or(1),
                kept: WeightType::F32.into(),
            };
            report.stored_bytes += source.tensors().iter().map(stored_bytes).sum::<u64>();
            report.applied.push(parameter.path.clone());
            sources.insert(parameter.path, source);
        }
        let unused: Vec<_> = candidates.into_values().flatten().collect();
        add_hints(&mut report, &unused);
        report.unused = unused.into_iter().map(unused_tensor).collect();
        require_adapters(checkpoint, &report)?;
        report.require(options.strictness)?;
        Ok(Self { sources, report })
    }

    /// What the shapes cannot tell: that the file holds floats, what the device takes them in, and how
    /// few bits serve those that are to be packed.
    pub(super) fn choose_types(
        &mut self,
        checkpoint: &Checkpoint,
        matrices: MatrixType,
        reads_matrix: &ReadsMatrix<'_>,
    ) -> Result<()> {
        for (path, source) in &mut self.sources {
            let (stored, columns) = (source.stored_type()?, source.columns);
            let reading = |kept| reads_matrix(kept, columns);
            source.kept = matrices.kept(source.role, stored, columns, reading)?;
            // What a vocabulary rounds goes straight into the logits.
            if let KeptType::Packed(asked) = source.kept
                && source.kept != stored
                && source.role == Role::Matrix(MatrixUse::DecoderLayer)
            {
                source.kept = better_type(asked, &source.sample(checkpoint)?).into();
            }
            self.report.kept_bytes += source.kept_bytes();
            if let Role::Matrix(matrix_use) = source.role {
                let asked = matrices.packed_type(matrix_use);
                self.report.note(path, source, stored, asked.is_some());
                if matrices == MatrixType::AsStored
                    && let KeptType::Floats(stored) = stored
                    && source.kept != stored.into()
                {
                    let path = path.clone();
                    self.report.widened.push(WidenedMatrix { path, stored });
                }
            }
        }
        Ok(())
    }
}

impl LoadReport {
    /// Counts a matrix by what it is kept in.
    fn note(&mut self, path: &str, source: &Source, stored: KeptType, is_to_be_packed: bool) {
        *self.matrices.entry(source.kept).or_default() += 1;
        if matches!(source.kept, KeptType::Floats(_)) && is_to_be_packed {
            self.unpacked.push(path.to_string());
        }
        if source.kept != stored || matches!(stored, KeptType::Floats(_)) {
            for block_type in source.block_types() {
                *self.dequantised.entry(block_type.name()).or_default() += 1;
            }
        }
    }
}

/// Bytes that are read of a tensor.
pub(super) fn stored_bytes(tensor: &NamedTensor) -> u64 {
    tensor.info.len_bytes() as u64
}

/// The tensors that the map does not leave out, by the path of the parameter that they stand for.
fn candidates<'c>(
    checkpoint: &'c Checkpoint,
    key_map: &KeyMap,
    report: &mut LoadReport,
) -> Result<BTreeMap<String, Vec<Candidate<'c>>>> {
    let mut candidates = BTreeMap::<String, Vec<Candidate<'c>>>::new();
    for (name, info) in checkpoint.iter() {
        let Some(place) = key_map.place(name) else {
            report.ignored.push(name.to_string());
            continue;
        };
        let same_parameter = candidates.entry(place.parameter.clone()).or_default();
        let is_replaced = replace(checkpoint, same_parameter, (name, &place), report)?;
        if is_replaced {
            report.ignored.push(name.to_string());
            continue;
        }
        let tensor = NamedTensor { name, info };
        same_parameter.push(Candidate { tensor, place });
    }
    Ok(candidates)
}

/// Makes room for a tensor of an adapter, or says that one of an adapter takes its place.
///
/// # Errors
///
/// [`CheckpointError::NameCollision`] if another tensor of the same origin has its place.
fn replace(
    checkpoint: &Checkpoint,
    candidates: &mut Vec<Candidate>,
    (name, place): (&str, &Place),
    report: &mut LoadReport,
) -> Result<bool> {
    let is_of_adapter = |name| checkpoint.adapter_of(name).is_some();
    while let Some(at) = candidates
        .iter()
        .position(|first| first.place.collides(place))
    {
        match (
            is_of_adapter(candidates[at].tensor.name),
            is_of_adapter(name),
        ) {
            (true, false) => return Ok(true),
            (false, true) => {
                let replaced = candidates.remove(at);
                report.ignored.push(replaced.tensor.name.to_string());
            }
            _ => return Err(collision(&candidates[at], name, place).into()),
        }
    }
    Ok(false)
}

/// All of an adapter must be of use: what it changes would else be another model than was asked for.
fn require_adapters(checkpoint: &Checkpoint, report: &LoadReport) -> Result<()> {
    let unused = report.unused.iter().map(|unused| unused.tensor.as_str());
    let mismatched = report
        .mismatched
        .iter()
        .map(|mismatch| mismatch.tensor.as_str());
    let tensors: Vec<&str> = unused
        .chain(mismatched)
        .filter(|name| checkpoint.adapter_of(name).is_some())
        .collect();
    let Some(origin) = tensors.first().and_then(|name| checkpoint.adapter_of(name)) else {
        return Ok(());
    };
    Err(CheckpointError::AdapterMismatch {
        adapter: origin.folder.clone(),
        base: origin.base.clone(),
        tensors: tensors.into_iter().map(name_in_file).collect(),
        report: report.to_string(),
    }
    .into())
}

/// The name of an adapter's tensor without the number of its group.
fn name_in_file(name: &str) -> String {
    match name.split_once('@') {
        Some((module, group)) => {
            let parameter = group.trim_start_matches(|digit: char| digit.is_ascii_digit());
            format!("{module}{parameter}")
        }
        None => name.to_string(),
    }
}

fn collision(first: &Candidate, second: &str, place: &Place) -> CheckpointError {
    let is_same_part = first.place.parts == place.parts;
    let parameter = match is_same_part {
        true => place.part(),
        false => &place.parameter,
    };
    CheckpointError::NameCollision {
        parameter: parameter.to_string(),
        first: first.tensor.name.to_string(),
        second: second.to_string(),
    }
}

fn missing(parameter: Parameter) -> MissingParameter {
    MissingParameter {
        path: parameter.path,
        part: None,
        shape: parameter.shape,
        nearest: None,
    }
}

fn unused_tensor(candidate: Candidate) -> UnusedTensor {
    UnusedTensor {
        tensor: candidate.tensor.name.to_string(),
        path: candidate.place.part().to_string(),
        shape: candidate.tensor.info.shape().to_vec(),
    }
}

/// Looks among the unused tensors for what the missing parameters may be called instead: one of
/// the same shape if any is alike.
fn add_hints(report: &mut LoadReport, unused: &[Candidate]) {
    for missing in report.missing.iter_mut().take(MAX_HINTS) {
        let has_shape = |candidate: &&Candidate| candidate.tensor.info.shape() == missing.shape;
        let hint = most_alike(missing, unused.iter().filter(has_shape))
            .or_else(|| most_alike(missing, unused.iter()));
        missing.nearest = hint.map(|candidate| candidate.tensor.name.to_string());
    }
}

fn most_alike<'u, 'c>(
    missing: &MissingParameter,
    mut candidates: impl Iterator<Item = &'u Candidate<'c>> + Clone,
) -> Option<&'u Candidate<'c>>
where
    'c: 'u,
{
    let path = |candidate: &'u Candidate<'c>| match missing.part {
        Some(_) => candidate.place.part(),
        None => candidate.place.parameter.as_str(),
    };
    let nearest = nearest(missing.name(), candidates.clone().map(path))?;
    candidates.find(|candidate| path(candidate) == nearest)
}
