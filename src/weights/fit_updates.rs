//! Where the low-rank products belong that are added to one parameter.

use std::ops::Range;

use super::fit::{Candidate, Fit, Misfit};
use super::key_map::{Factor, Role};
use super::source::{LowRank, NamedTensor};

/// A product and the rows it is added to, counted from the first row of the first part.
#[derive(Clone, Debug)]
pub(super) struct PlacedUpdate<'c> {
    down: NamedTensor<'c>,
    up: NamedTensor<'c>,
    scale: f32,
    rows: Range<usize>,
    /// Whether they are counted in the order in which they are wanted, and not as the files hold the
    /// values.
    is_as_wanted: bool,
}

/// Rows that follow each other in a file and in the parameter, counted from the first row of the
/// first part.
#[derive(Clone, Debug)]
pub(super) struct Run {
    /// The first of them as the files hold them.
    pub(super) stored: usize,
    /// The first of them as they are wanted.
    pub(super) wanted: usize,
    pub(super) len: usize,
}

impl Run {
    /// Some rows of it.
    fn part(&self, rows: Range<usize>) -> Self {
        Self {
            stored: self.stored + rows.start,
            wanted: self.wanted + rows.start,
            len: rows.len(),
        }
    }
}

impl<'c> PlacedUpdate<'c> {
    /// The first row of `run`, as the rows of the update are counted.
    fn first_of(&self, run: &Run) -> usize {
        match self.is_as_wanted {
            true => run.wanted,
            false => run.stored,
        }
    }

    /// Where it begins and ends inside of `run`, counted from the first row of that.
    fn edges_in(&self, run: &Run) -> impl Iterator<Item = usize> + use<'c> {
        let (first, len) = (self.first_of(run), run.len);
        let edges = [self.rows.start, self.rows.end].into_iter();
        let edges = edges.filter_map(move |edge| edge.checked_sub(first));
        edges.filter(move |edge| (1..len).contains(edge))
    }

    /// What is added to `run`, which lies all inside of the update or all outside.
    fn of(&self, run: &Run) -> Option<LowRank<'c>> {
        let start = self.first_of(run);
        let is_inside = self.rows.start <= start && start + run.len <= self.rows.end;
        is_inside.then(|| LowRank {
            down: self.down,
            up: self.up,
            scale: self.scale,
            up_rows: start - self.rows.start..start - self.rows.start + run.len,
        })
    }
}

/// Cuts `run` where an update begins or ends; each part comes with what is added to it.
pub(super) fn runs<'c>(updates: &[PlacedUpdate<'c>], run: &Run) -> Vec<(Run, Vec<LowRank<'c>>)> {
    let edges = updates.iter().flat_map(|update| update.edges_in(run));
    let mut cuts: Vec<usize> = edges.chain([0, run.len]).collect();
    cuts.sort_unstable();
    cuts.dedup();
    let runs = cuts.windows(2).map(|pair| {
        let part = run.part(pair[0]..pair[1]);
        let added = { updates.iter() }.filter_map(|update| update.of(&part));
        let added = added.collect();
        (part, added)
    });
    runs.collect()
}

impl<'c> Fit<'_, 'c> {
    /// Every product that is added to the parameter, whose parts have `part_rows`.
    pub(super) fn updates(&mut self, part_rows: &[usize]) -> Result<Vec<PlacedUpdate<'c>>, Misfit> {
        let mut updates = Ok(Vec::new());
        for (at, candidate) in self.candidates.iter().enumerate() {
            let partner = match candidate.place.role.factor() {
                None => continue,
                Some((factor, rule)) => self.partner(candidate, factor, rule),
            };
            let update = match partner {
                None => Err(self.without_partner(candidate, part_rows)),
                // Each pair is looked at once, at the first of the two.
                Some(partner) if partner < at => continue,
                Some(partner) => self.pair(candidate, &self.candidates[partner], part_rows),
            };
            // What follows a misfit is looked at too: the report shall be complete.
            updates = updates.and_then(|mut updates| {
                updates.push(update?);
                Ok(updates)
            });
        }
        updates
    }

    /// Position of the other factor.
    fn partner(&self, candidate: &Candidate<'c>, factor: Factor, rule: usize) -> Option<usize> {
        self.candidates.iter().position(|other| {
            let other_factor = other.place.role.factor();
            other.place.part() == candidate.place.part()
                && other_factor.is_some_and(|(found, of)| found != factor && of == rule)
        })
    }

    fn without_partner(&mut self, candidate: &Candidate<'c>, part_rows: &[usize]) -> Misfit {
        let tensor = candidate.tensor;
        match &candidate.place.role {
            Role::Down { up, .. } => {
                let rows = self
                    .rows_of(candidate, None, part_rows)
                    .map_or(0, |rows| rows.len());
                self.missing(up.clone(), vec![rows, tensor.num_rows()])
            }
            Role::Up { down, .. } => {
                let rank = tensor.info.shape().last().copied().unwrap_or(1);
                self.missing(down.clone(), vec![rank, self.row_len()])
            }
            Role::Values => Misfit,
        }
    }

    fn pair(
        &mut self,
        one: &Candidate<'c>,
        other: &Candidate<'c>,
        part_rows: &[usize],
    ) -> Result<PlacedUpdate<'c>, Misfit> {
        let (down, scale, up) = match (&one.place.role, &other.place.role) {
            (Role::Down { scale, .. }, _) => (one.tensor, *scale, other.tensor),
            (_, Role::Down { scale, .. }) => (other.tensor, *scale, one.tensor),
            _ => return Err(Misfit),
        };
        let rank = down.num_rows();
        self.require_shape(&down, vec![rank, self.row_len()])?;
        let rows = self.rows_of(one, Some(up.num_rows()), part_rows);
        let num_rows = rows.as_ref().map_or(self.num_rows(), |rows| rows.len());
        self.require_shape(&up, vec![num_rows, rank])?;
        let Some(rows) = rows else {
            return Err(self.mismatched(&up, vec![self.num_rows(), rank]));
        };
        Ok(PlacedUpdate {
            down,
            up,
            scale,
            rows,
            // A file may permute the rows that an adapter, made for another file, has in order.
            is_as_wanted: self.key_map.row_order(up.name).is_none(),
        })
    }

    /// The rows that a factor of `candidate`'s place belongs to, or `None` where they cannot be told:
    /// the file holds the whole, and how many rows the parts before it have, nothing says.
    fn rows_of(
        &self,
        candidate: &Candidate<'c>,
        up_rows: Option<usize>,
        part_rows: &[usize],
    ) -> Option<Range<usize>> {
        let place = &candidate.place;
        let total = part_rows.iter().sum();
        if place.parts == self.parts() {
            let start = part_rows[..place.index].iter().sum::<usize>();
            return Some(start..start + part_rows[place.index]);
        }
        if place.parts.len() == 1 {
            return Some(0..total);
        }
        let own = up_rows?;
        let sum = |parts: Range<usize>| {
            let rows = parts.map(|part| self.up_rows(&place.parts[part]));
            rows.sum::<Option<usize>>()
        };
        let start = match (sum(0..place.index), sum(place.index + 1..place.parts.len())) {
            (Some(before), _) => before,
            (None, Some(behind)) => total.checked_sub(behind + own)?,
            (None, None) => return None,
        };
        let is_natural = self
            .key_map
            .row_order(self.first_values()?.tensor.name)
            .is_none();
        (is_natural && start + own <= total).then_some(start..start + own)
    }

    /// Rows of the part at `path`, as a factor tells them.
    fn up_rows(&self, path: &str) -> Option<usize> {
        let is_up = |candidate: &&Candidate| {
            let factor = candidate.place.role.factor();
            candidate.place.part() == path && factor.is_some_and(|(factor, _)| factor == Factor::Up)
        };
        let up = self.candidates.iter().find(is_up)?;
        Some(up.tensor.num_rows())
    }
}
