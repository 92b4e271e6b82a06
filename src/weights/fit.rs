//! Whether the tensors that stand for one parameter make it, and from which of their rows.

use super::element::num_elements;
use super::fit_updates::{PlacedUpdate, Run, runs};
use super::key_map::{KeyMap, Place, Role};
use super::key_rule::RowOrder;
use super::parameters::Parameter;
use super::report::{LoadReport, MismatchedParameter, MissingParameter};
use super::source::{NamedTensor, Piece};

/// A tensor and the place that its name gives it in a module.
#[derive(Clone, Debug)]
pub(super) struct Candidate<'c> {
    pub(super) tensor: NamedTensor<'c>,
    pub(super) place: Place,
}

/// Something does not fit, and the report says what.
#[derive(Clone, Copy, Debug)]
pub(super) struct Misfit;

/// Holds one parameter against its tensors.
pub(super) struct Fit<'f, 'c> {
    pub(super) parameter: &'f Parameter,
    /// All tensors that stand for the parameter, at least one. No two of them collide.
    pub(super) candidates: &'f [Candidate<'c>],
    pub(super) key_map: &'f KeyMap,
    pub(super) report: &'f mut LoadReport,
}

impl<'f, 'c> Fit<'f, 'c> {
    /// What the parameter is made of, outer rows first.
    pub(super) fn pieces(&mut self) -> Result<Vec<Piece<'c>>, Misfit> {
        let parts: Vec<_> = (0..self.parts().len())
            .map(|index| self.values(index))
            .collect();
        self.require_parts(&parts)?;
        self.require_shapes(&parts)?;
        let zero_rows = self.zero_rows(&parts)?;
        let part_rows: Vec<usize> = parts
            .iter()
            .map(|values| values.map_or(zero_rows, |tensor| tensor.num_rows()))
            .collect();
        let updates = self.updates(&part_rows)?;
        let mut pieces = Vec::new();
        let mut first_row = 0;
        for (values, num_rows) in parts.into_iter().zip(part_rows) {
            match values {
                Some(tensor) => pieces.extend(self.part(first_row, tensor, &updates)),
                None => pieces.push(Piece::Zeros(num_rows * self.row_len())),
            }
            first_row += num_rows;
        }
        Ok(pieces)
    }

    /// The parts that hold the values; where no tensor does, those of the first factor.
    pub(super) fn parts(&self) -> &'f [String] {
        let first = self.first_values().unwrap_or(&self.candidates[0]);
        &first.place.parts
    }

    pub(super) fn first_values(&self) -> Option<&'f Candidate<'c>> {
        let mut candidates = self.candidates.iter();
        candidates.find(|candidate| candidate.place.role == Role::Values)
    }

    /// The tensors of one part.
    fn of_part(&self, index: usize) -> impl Iterator<Item = &'f Candidate<'c>> {
        let path = &self.parts()[index];
        self.candidates
            .iter()
            .filter(move |candidate| candidate.place.part() == path)
    }

    fn values(&self, index: usize) -> Option<NamedTensor<'c>> {
        self.of_part(index)
            .find(|candidate| candidate.place.role == Role::Values)
            .map(|candidate| candidate.tensor)
    }

    pub(super) fn num_rows(&self) -> usize {
        self.parameter.shape.first().copied().unwrap_or(1)
    }

    /// Elements of one row of the parameter.
    pub(super) fn row_len(&self) -> usize {
        self.parameter.shape.iter().skip(1).product()
    }

    /// The shape of as many rows of the parameter.
    fn shape_of(&self, num_rows: usize) -> Vec<usize> {
        let inner = self.parameter.shape.iter().skip(1).copied();
        std::iter::once(num_rows).chain(inner).collect()
    }

    /// Every part must have a tensor or be zeros. Zeros are not updated: what a product is added
    /// to must be there.
    fn require_parts(&mut self, parts: &[Option<NamedTensor<'c>>]) -> Result<(), Misfit> {
        let has_factors = |index: usize| {
            let whole = |candidate: &Candidate| candidate.place.parts.len() == 1;
            let any_whole = self.candidates.iter().any(whole);
            any_whole || self.of_part(index).next().is_some()
        };
        let found: usize = parts.iter().flatten().map(NamedTensor::num_rows).sum();
        let rest = self.shape_of(self.num_rows().saturating_sub(found));
        let is_missing = |index: usize| {
            let may_be_zeros = self.key_map.allows_zeros(&self.parts()[index]);
            parts[index].is_none() && (!may_be_zeros || has_factors(index))
        };
        let missing: Vec<_> = (0..parts.len())
            .filter(|index| is_missing(*index))
            .map(|index| self.parts()[index].clone())
            .collect();
        let outcome = missing.is_empty().then_some(()).ok_or(Misfit);
        for part in missing {
            self.missing(part, rest.clone());
        }
        outcome
    }

    /// Each part must have the inner axes of the parameter, and rows that its order divides.
    fn require_shapes(&mut self, parts: &[Option<NamedTensor<'c>>]) -> Result<(), Misfit> {
        let mut outcome = Ok(());
        for tensor in parts.iter().flatten() {
            let num_rows = tensor.num_rows();
            let expected = match parts.len() {
                1 => self.parameter.shape.clone(),
                _ => self.shape_of(num_rows),
            };
            let may_reshape = self.key_map.allows_reshape(tensor.name);
            let unit = self
                .key_map
                .row_order(tensor.name)
                .map_or(1, RowOrder::unit);
            if !fits(&expected, tensor.info.shape(), may_reshape) {
                outcome = Err(self.mismatched(tensor, expected));
            } else if !num_rows.is_multiple_of(unit) {
                let expected = self.shape_of(num_rows.div_ceil(unit).saturating_mul(unit));
                outcome = Err(self.mismatched(tensor, expected));
            }
        }
        outcome
    }

    /// Rows of each part that is zeros. All parts must add up to the parameter.
    fn zero_rows(&mut self, parts: &[Option<NamedTensor<'c>>]) -> Result<usize, Misfit> {
        let found: Vec<_> = parts.iter().flatten().collect();
        let found_rows: usize = found.iter().map(|tensor| tensor.num_rows()).sum();
        let num_zeros = parts.len() - found.len();
        let rest = self.num_rows().checked_sub(found_rows);
        let shared = match num_zeros {
            0 => rest.filter(|rest| *rest == 0),
            _ => rest.filter(|rest| *rest > 0 && rest.is_multiple_of(num_zeros)),
        };
        if let Some(rest) = shared {
            return Ok(rest / num_zeros.max(1));
        }
        let names: Vec<_> = found.iter().map(|tensor| tensor.name).collect();
        let (path, expected) = (self.parameter.path.clone(), self.parameter.shape.clone());
        self.report.mismatched.push(MismatchedParameter {
            path,
            tensor: names.join(" + "),
            expected,
            found: self.shape_of(found_rows),
        });
        Err(Misfit)
    }

    /// The rows of one tensor, of which the parameter's row `first_row` is the first, in the wanted
    /// order and with what is added to them.
    fn part(
        &self,
        first_row: usize,
        tensor: NamedTensor<'c>,
        updates: &[PlacedUpdate<'c>],
    ) -> Vec<Piece<'c>> {
        let num_rows = tensor.num_rows();
        let ranges = match self.key_map.row_order(tensor.name) {
            Some(order) => order.ranges(num_rows),
            None => std::iter::once(0..num_rows).collect(),
        };
        let placed = ranges.into_iter().scan(first_row, |wanted, rows| {
            let run = Run {
                stored: first_row + rows.start,
                wanted: *wanted,
                len: rows.len(),
            };
            *wanted += run.len;
            Some(run)
        });
        let runs = placed.flat_map(|run| runs(updates, &run));
        let piece = |(run, updates): (Run, _)| Piece::Rows {
            tensor,
            rows: run.stored - first_row..run.stored - first_row + run.len,
            updates,
        };
        runs.map(piece).collect()
    }

    pub(super) fn require_shape(
        &mut self,
        tensor: &NamedTensor<'c>,
        expected: Vec<usize>,
    ) -> Result<(), Misfit> {
        match tensor.info.shape() == expected {
            true => Ok(()),
            false => Err(self.mismatched(tensor, expected)),
        }
    }

    pub(super) fn missing(&mut self, part: String, shape: Vec<usize>) -> Misfit {
        let path = self.parameter.path.clone();
        self.report.missing.push(MissingParameter {
            part: (part != path).then_some(part),
            path,
            shape,
            nearest: None,
        });
        Misfit
    }

    pub(super) fn mismatched(&mut self, tensor: &NamedTensor<'c>, expected: Vec<usize>) -> Misfit {
        self.report.mismatched.push(MismatchedParameter {
            path: self.parameter.path.clone(),
            tensor: tensor.name.to_string(),
            expected,
            found: tensor.info.shape().to_vec(),
        });
        Misfit
    }
}

fn fits(parameter: &[usize], tensor: &[usize], may_reshape: bool) -> bool {
    let same_elements = || num_elements(parameter) == num_elements(tensor);
    let is_reshape = || {
        parameter.len() != tensor.len() && parameter.first() == tensor.first() && same_elements()
    };
    parameter == tensor || (may_reshape && is_reshape())
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
