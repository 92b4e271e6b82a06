//! What one line of a table from names in a file to paths in a module may say.

use std::borrow::Cow;
use std::ops::Range;

/// One line of a [`KeyMap`](super::KeyMap).
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum KeyRule {
    /// Replaces the start of a name.
    RenamePrefix {
        /// What the name starts with.
        from: Cow<'static, str>,
        /// What it starts with afterwards.
        to: Cow<'static, str>,
    },
    /// Replaces a part of a name, wherever and however often it occurs.
    RenamePart {
        /// The part.
        from: Cow<'static, str>,
        /// What stands there afterwards.
        to: Cow<'static, str>,
    },
    /// Leaves out the tensors whose name in the file matches: nobody misses them.
    Ignore(KeyPattern),
    /// Leaves out all tensors whose name in the file matches no such rule: the file holds more than
    /// this module.
    Only(KeyPattern),
    /// Lets a tensor whose name in the file matches fill a parameter of another rank, if first
    /// axis and number of elements agree: the kernel of a patch embedding as the matrix it is.
    Reshape(KeyPattern),
    /// Makes one parameter of several tensors, one under another along the first axis: a path with
    /// one of the parts is that part of the path with `whole` in its place. A tensor under the name
    /// of the whole fills the parameter alone.
    Stack {
        /// What the paths of the parts have in them, from the start of a segment on, in the order
        /// of their rows.
        parts: &'static [&'static str],
        /// What the parameter's path has there.
        whole: &'static str,
    },
    /// Fills the parts of a [`Stack`](Self::Stack) with zeros whose path matches and that no tensor
    /// fills. They share the rows that the other parts leave.
    Zeros(KeyPattern),
    /// Leaves the parameters whose path matches as they were built where no tensor fills them.
    Optional(KeyPattern),
    /// Puts the rows of the tensors whose name in the file matches in another order. A factor of
    /// [`LowRank`](Self::LowRank) that does not match has its rows in the order that is wanted: it may
    /// come from another file.
    Regroup {
        /// Which tensors.
        tensors: KeyPattern,
        /// How their rows lie in the file.
        order: RowOrder,
    },
    /// Adds `scale * up down` to a parameter `x.weight`, where the paths `x.<down>.weight` and
    /// `x.<up>.weight` lead to two tensors of few columns and rows (LoRA, Hu et al. 2021). A part of
    /// a [`Stack`](Self::Stack) may have factors where the file holds the whole, and the whole where
    /// the file holds parts. Several such rules add several products.
    LowRank {
        /// Segments in the path of the factor `[rank, in]`, which the input meets first.
        down: Cow<'static, str>,
        /// Segments in the path of the factor `[out, rank]`.
        up: Cow<'static, str>,
        /// Weight of the product: `alpha / rank`.
        scale: f32,
    },
}

/// Rows that lie in groups, each of them a few rows of every part: `[groups, shares, rows]`.
///
/// They are wanted part by part, `[shares, groups, rows]`. GPT-NeoX stores query, key and value of
/// one head after another, so its groups are the heads and its shares `[1, 1, 1]`; where each group
/// has the queries of a whole group of heads, the first share is their number. Where rotary pairs are
/// neighbours, the groups are the pairs of a head, and the order [repeats](Self::repeated) for each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RowOrder {
    groups: usize,
    shares: Vec<usize>,
    repeats: usize,
}

/// What a name in a file looks like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyPattern {
    /// Starts with this.
    Prefix(Cow<'static, str>),
    /// Ends with this.
    Suffix(Cow<'static, str>),
    /// Has this somewhere.
    Part(Cow<'static, str>),
}

impl KeyRule {
    /// See [`KeyRule::RenamePrefix`].
    #[must_use]
    pub const fn rename_prefix(from: &'static str, to: &'static str) -> Self {
        Self::RenamePrefix {
            from: Cow::Borrowed(from),
            to: Cow::Borrowed(to),
        }
    }

    /// See [`KeyRule::RenamePart`].
    #[must_use]
    pub const fn rename_part(from: &'static str, to: &'static str) -> Self {
        Self::RenamePart {
            from: Cow::Borrowed(from),
            to: Cow::Borrowed(to),
        }
    }

    /// Ignores the names that start with `prefix`.
    #[must_use]
    pub const fn ignore_prefix(prefix: &'static str) -> Self {
        Self::Ignore(KeyPattern::Prefix(Cow::Borrowed(prefix)))
    }

    /// Ignores the names that end with `suffix`.
    #[must_use]
    pub const fn ignore_suffix(suffix: &'static str) -> Self {
        Self::Ignore(KeyPattern::Suffix(Cow::Borrowed(suffix)))
    }

    /// Ignores the names that have `part` somewhere.
    #[must_use]
    pub const fn ignore_part(part: &'static str) -> Self {
        Self::Ignore(KeyPattern::Part(Cow::Borrowed(part)))
    }

    /// Takes the names that start with `prefix`, and those of other such rules, and no others.
    #[must_use]
    pub const fn only_prefix(prefix: &'static str) -> Self {
        Self::Only(KeyPattern::Prefix(Cow::Borrowed(prefix)))
    }

    /// Allows another rank for the names that end with `suffix`.
    #[must_use]
    pub const fn reshape_suffix(suffix: &'static str) -> Self {
        Self::Reshape(KeyPattern::Suffix(Cow::Borrowed(suffix)))
    }

    /// See [`KeyRule::Stack`].
    #[must_use]
    pub const fn stack(parts: &'static [&'static str], whole: &'static str) -> Self {
        Self::Stack { parts, whole }
    }

    /// Zeros for the absent parts whose path ends with `suffix`.
    #[must_use]
    pub const fn zeros_suffix(suffix: &'static str) -> Self {
        Self::Zeros(KeyPattern::Suffix(Cow::Borrowed(suffix)))
    }

    /// See [`KeyRule::Optional`], for the paths that start with `prefix`.
    #[must_use]
    pub const fn optional_prefix(prefix: &'static str) -> Self {
        Self::Optional(KeyPattern::Prefix(Cow::Borrowed(prefix)))
    }

    /// Another order of rows for the names that have `part` somewhere.
    #[must_use]
    pub const fn regroup_part(part: &'static str, order: RowOrder) -> Self {
        Self::Regroup {
            tensors: KeyPattern::Part(Cow::Borrowed(part)),
            order,
        }
    }

    /// See [`KeyRule::LowRank`].
    #[must_use]
    pub const fn low_rank(down: &'static str, up: &'static str, scale: f32) -> Self {
        Self::LowRank {
            down: Cow::Borrowed(down),
            up: Cow::Borrowed(up),
            scale,
        }
    }
}

impl RowOrder {
    /// Rows in `groups` of as many rows of each part as `shares` says, in proportion.
    ///
    /// # Panics
    ///
    /// If there is no group, no share, or a share of nothing.
    #[must_use]
    pub fn new(groups: usize, shares: &[usize]) -> Self {
        let is_whole = groups > 0 && !shares.is_empty() && !shares.contains(&0);
        assert!(is_whole, "{groups} groups of {shares:?} hold no rows");
        let shares = shares.to_vec();
        Self {
            groups,
            shares,
            repeats: 1,
        }
    }

    /// This order in each of as many equal stretches of rows.
    ///
    /// # Panics
    ///
    /// If there is none.
    #[must_use]
    pub fn repeated(mut self, stretches: usize) -> Self {
        assert!(stretches > 0, "no stretch holds no rows");
        self.repeats = stretches;
        self
    }

    /// The number of rows must be a multiple of this.
    pub(super) fn unit(&self) -> usize {
        let shares = self
            .shares
            .iter()
            .fold(0usize, |sum, share| sum.saturating_add(*share));
        let stretch = self.groups.saturating_mul(shares);
        stretch.saturating_mul(self.repeats)
    }

    /// The ranges of `num_rows` stored rows in the order in which they are wanted.
    pub(super) fn ranges(&self, num_rows: usize) -> Vec<Range<usize>> {
        if num_rows == 0 {
            return Vec::new();
        }
        let rows = num_rows / self.unit();
        let stretch_rows = num_rows / self.repeats;
        let group_rows = stretch_rows / self.groups;
        let mut ranges = Vec::with_capacity(self.repeats * self.groups * self.shares.len());
        for stretch in 0..self.repeats {
            let mut first = stretch * stretch_rows;
            for share in &self.shares {
                let end = first + share * rows;
                let part = (0..self.groups).map(|group| group * group_rows);
                ranges.extend(part.map(|start| start + first..start + end));
                first = end;
            }
        }
        ranges
    }
}

impl KeyPattern {
    pub(super) fn matches(&self, name: &str) -> bool {
        match self {
            Self::Prefix(prefix) => name.starts_with(prefix.as_ref()),
            Self::Suffix(suffix) => name.ends_with(suffix.as_ref()),
            Self::Part(part) => name.contains(part.as_ref()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_in_groups_are_wanted_part_by_part() {
        let order = RowOrder::new(2, &[1, 1]);
        assert_eq!(order.ranges(8), [0..2, 4..6, 2..4, 6..8]);
        let order = RowOrder::new(2, &[2, 1]);
        assert_eq!(order.ranges(6), [0..2, 3..5, 2..3, 5..6]);
        assert_eq!(RowOrder::new(1, &[1, 1, 1]).ranges(3), [0..1, 1..2, 2..3]);
        assert!(RowOrder::new(usize::MAX, &[1, 1]).ranges(0).is_empty());
    }

    #[test]
    fn an_order_may_repeat_in_stretches() {
        let order = RowOrder::new(2, &[1, 1]).repeated(2);
        let starts: Vec<_> = order.ranges(8).into_iter().map(|rows| rows.start).collect();
        assert_eq!(starts, [0, 2, 1, 3, 4, 6, 5, 7]);
        assert_eq!(order.unit(), 8);
    }

    #[test]
    fn an_order_too_large_for_any_file_is_no_overflow() {
        assert_eq!(
            RowOrder::new(usize::MAX, &[usize::MAX, 2]).unit(),
            usize::MAX
        );
    }
}
