//! From the names in a file to the paths in a module, as data: one table a family.

use super::key_rule::{KeyRule, RowOrder};

/// How the tensors of a file become the parameters of a module.
///
/// Renames are tried in their order, each on what the ones before it left; a name that no rename
/// touches is the path itself. Low-rank factors and stacks are found in what the renames left; all
/// other rules look at the name in the file.
///
/// # Examples
///
/// ```
/// use burn_vlm::weights::{KeyMap, KeyRule};
///
/// const RULES: &[KeyRule] = &[
///     KeyRule::ignore_suffix("rotary_emb.inv_freq"),
///     KeyRule::rename_prefix("model.", ""),
///     KeyRule::rename_part("self_attn.", "attention."),
///     KeyRule::stack(&["gate_proj.", "up_proj."], "gate_up_proj."),
/// ];
/// let map = KeyMap::new(RULES);
/// let path = map.path("model.layers.0.self_attn.q_proj.weight");
/// assert_eq!(path.as_deref(), Some("layers.0.attention.q_proj.weight"));
/// let path = map.path("model.layers.0.mlp.up_proj.weight");
/// assert_eq!(path.as_deref(), Some("layers.0.mlp.gate_up_proj.weight"));
/// assert_eq!(map.path("model.layers.0.self_attn.rotary_emb.inv_freq"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyMap {
    rules: Vec<KeyRule>,
}

/// What a tensor is to a module.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Place {
    /// Path of the parameter.
    pub(super) parameter: String,
    /// Paths of the parts that make the parameter; its own if it is made of one.
    pub(super) parts: Vec<String>,
    /// Which part the tensor is, or belongs to.
    pub(super) index: usize,
    pub(super) role: Role,
}

/// What a tensor is to the part of a parameter.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Role {
    /// Its values.
    Values,
    /// The factor `[rank, in]` of what is added to the values.
    Down {
        scale: f32,
        /// Path of the other factor.
        up: String,
        /// Position of the rule that tells the two from others.
        rule: usize,
    },
    /// The factor `[out, rank]` of what is added.
    Up {
        /// Path of the other factor.
        down: String,
        /// Position of the rule that tells the two from others.
        rule: usize,
    },
}

impl Role {
    /// Which factor this is, of which rule; `None` for values.
    pub(super) fn factor(&self) -> Option<(Factor, usize)> {
        match self {
            Self::Values => None,
            Self::Down { rule, .. } => Some((Factor::Down, *rule)),
            Self::Up { rule, .. } => Some((Factor::Up, *rule)),
        }
    }
}

/// One of the two thin matrices of a low-rank update.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Factor {
    Down,
    Up,
}

impl Place {
    /// The path of the part.
    pub(super) fn part(&self) -> &str {
        &self.parts[self.index]
    }

    /// Whether both a tensor here and one at `other` are too many: the same part twice, or values of
    /// a whole and of a part of it.
    pub(super) fn collides(&self, other: &Self) -> bool {
        let is_same_part = self.part() == other.part();
        match (self.role.factor(), other.role.factor()) {
            (None, None) => is_same_part || self.parts != other.parts,
            (ours, theirs) => is_same_part && ours == theirs,
        }
    }
}

impl KeyMap {
    /// A map of these rules. No rules: names are paths.
    #[must_use]
    pub fn new(rules: &[KeyRule]) -> Self {
        Self {
            rules: rules.to_vec(),
        }
    }

    /// This map and one more rule, for what only the configuration tells.
    #[must_use]
    pub fn with(mut self, rule: KeyRule) -> Self {
        self.rules.push(rule);
        self
    }

    /// This map with `rules` in front of its own.
    pub(crate) fn behind(&self, rules: &[KeyRule]) -> Self {
        Self {
            rules: [rules, &self.rules].concat(),
        }
    }

    /// This map and more rules.
    #[must_use]
    pub fn with_all(mut self, rules: impl IntoIterator<Item = KeyRule>) -> Self {
        self.rules.extend(rules);
        self
    }

    /// The path of the parameter that the tensor `name` fills, alone or as a part of it, or `None`
    /// if it is left out.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<String> {
        self.place(name).map(|place| place.parameter)
    }

    /// Whether the tensor `name` may fill a parameter of another rank.
    #[must_use]
    pub fn allows_reshape(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| match rule {
            KeyRule::Reshape(pattern) => pattern.matches(name),
            _ => false,
        })
    }

    /// What the tensor `name` is to a module, or `None` if it is left out.
    pub(super) fn place(&self, name: &str) -> Option<Place> {
        if self.leaves_out(name) {
            return None;
        }
        let (path, role) = self.role(self.rename(name));
        let stack = self.rules.iter().find_map(|rule| match rule {
            KeyRule::Stack { parts, whole } => stacked(&path, parts, whole),
            _ => None,
        });
        let (parameter, parts, index) = stack.unwrap_or_else(|| (path.clone(), vec![path], 0));
        Some(Place {
            parameter,
            parts,
            index,
            role,
        })
    }

    /// Whether the part `path` is zeros where no tensor fills it.
    pub(super) fn allows_zeros(&self, path: &str) -> bool {
        self.rules.iter().any(|rule| match rule {
            KeyRule::Zeros(pattern) => pattern.matches(path),
            _ => false,
        })
    }

    /// Whether the parameter `path` stays as it was built where no tensor fills it.
    pub(super) fn is_optional(&self, path: &str) -> bool {
        self.rules.iter().any(|rule| match rule {
            KeyRule::Optional(pattern) => pattern.matches(path),
            _ => false,
        })
    }

    /// How the rows of the tensor `name` lie in the file, if not as they are wanted.
    pub(super) fn row_order(&self, name: &str) -> Option<&RowOrder> {
        self.rules.iter().find_map(|rule| match rule {
            KeyRule::Regroup { tensors, order } => tensors.matches(name).then_some(order),
            _ => None,
        })
    }

    fn rename(&self, name: &str) -> String {
        let name = name.to_string();
        self.rules.iter().fold(name, |path, rule| match rule {
            KeyRule::RenamePrefix { from, to } => match path.strip_prefix(from.as_ref()) {
                Some(rest) => format!("{to}{rest}"),
                None => path,
            },
            KeyRule::RenamePart { from, to } if !from.is_empty() => path.replace(from.as_ref(), to),
            _ => path,
        })
    }

    /// The path without the segments of a low-rank factor, and which factor they mean.
    fn role(&self, path: String) -> (String, Role) {
        let mut rules = self.rules.iter().enumerate();
        let factor = rules.find_map(|(rule, low_rank)| match low_rank {
            KeyRule::LowRank { down, up, scale } => {
                low_rank_factor(&path, [down, up], *scale, rule)
            }
            _ => None,
        });
        factor.unwrap_or((path, Role::Values))
    }

    fn leaves_out(&self, name: &str) -> bool {
        let mut only = self.rules.iter().filter_map(|rule| match rule {
            KeyRule::Only(pattern) => Some(pattern.matches(name)),
            _ => None,
        });
        let is_elsewhere = only
            .next()
            .is_some_and(|first| !first && !only.any(|other| other));
        is_elsewhere
            || self.rules.iter().any(|rule| match rule {
                KeyRule::Ignore(pattern) => pattern.matches(name),
                _ => false,
            })
    }
}

/// The parameter that `path` is a part of: its path, the paths of all parts, and which one it is.
fn stacked(path: &str, parts: &[&str], whole: &str) -> Option<(String, Vec<String>, usize)> {
    let (index, (before, after)) = parts
        .iter()
        .enumerate()
        .find_map(|(index, part)| Some((index, split_at_segment(path, part)?)))?;
    let with = |part: &str| format!("{before}{part}{after}");
    let parts = parts.iter().map(|part| with(part)).collect();
    Some((with(whole), parts, index))
}

/// What is before and after `part`, which begins where a segment of the path does: the part
/// `up_proj.` is not in `mlp.gate_up_proj.weight`.
fn split_at_segment<'p>(path: &'p str, part: &str) -> Option<(&'p str, &'p str)> {
    let mut splits = path
        .match_indices(part)
        .map(|(start, _)| (&path[..start], &path[start + part.len()..]));
    splits.find(|(before, _)| before.is_empty() || before.ends_with('.'))
}

fn low_rank_factor(
    path: &str,
    [down, up]: [&str; 2],
    scale: f32,
    rule: usize,
) -> Option<(String, Role)> {
    let without = |segments: &str| path.split_once(&format!(".{segments}."));
    let other = |(module, name): (&str, &str), segments| format!("{module}.{segments}.{name}");
    let (split, role) = match (without(down), without(up)) {
        (Some(split), _) => {
            let up = other(split, up);
            (split, Role::Down { scale, up, rule })
        }
        (None, Some(split)) => {
            let down = other(split, down);
            (split, Role::Up { down, rule })
        }
        (None, None) => return None,
    };
    Some((format!("{}.{}", split.0, split.1), role))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::weights::key_rule::KeyPattern;

    #[test]
    fn renames_apply_in_order_to_what_the_ones_before_left() {
        let map = KeyMap::new(&[
            KeyRule::rename_prefix("model.language_model.", "language_model.model."),
            KeyRule::rename_prefix("language_model.model.", "decoder."),
            KeyRule::rename_part(".mlp.", ".feed_forward."),
        ]);
        for name in [
            "model.language_model.layers.0.mlp.w",
            "language_model.model.layers.0.mlp.w",
        ] {
            assert_eq!(
                map.path(name).as_deref(),
                Some("decoder.layers.0.feed_forward.w")
            );
        }
        assert_eq!(
            map.path("other.model.language_model.w").as_deref(),
            Some("other.model.language_model.w")
        );
    }

    #[test]
    fn an_empty_map_takes_names_as_paths() {
        assert_eq!(KeyMap::default().path("a.b").as_deref(), Some("a.b"));
        assert_eq!(
            KeyMap::new(&[KeyRule::rename_part("", "x")])
                .path("a")
                .as_deref(),
            Some("a")
        );
    }

    #[test]
    fn ignored_names_are_left_out_whatever_they_would_become() {
        let map = KeyMap::new(&[
            KeyRule::rename_prefix("a.", ""),
            KeyRule::ignore_prefix("a.x."),
            KeyRule::ignore_suffix(".position_ids"),
            KeyRule::ignore_part(".masked_bias"),
        ]);
        for name in ["a.x.y", "b.position_ids", "b.masked_bias.c"] {
            assert_eq!(map.path(name), None, "{name}");
        }
        assert_eq!(map.path("a.y").as_deref(), Some("y"));
    }

    #[test]
    fn only_rules_together_say_what_belongs_to_the_module() {
        let map = KeyMap::new(&[KeyRule::only_prefix("vision."), KeyRule::only_prefix("q.")]).with(
            KeyRule::Ignore(KeyPattern::Prefix(format!("vision.layers.{}.", 23).into())),
        );
        assert_eq!(
            map.path("vision.layers.2.w").as_deref(),
            Some("vision.layers.2.w")
        );
        assert_eq!(map.path("q.w").as_deref(), Some("q.w"));
        assert_eq!(map.path("vision.layers.23.w"), None);
        assert_eq!(map.path("language.w"), None);
    }

    #[test]
    fn reshape_is_allowed_only_where_a_rule_says_so() {
        let map = KeyMap::new(&[KeyRule::reshape_suffix("patch_embedding.weight")]);
        assert!(map.allows_reshape("vision.patch_embedding.weight"));
        assert!(!map.allows_reshape("vision.patch_embedding.bias"));
        assert!(!KeyMap::default().allows_reshape("vision.patch_embedding.weight"));
    }

    #[test]
    fn renames_come_first_then_low_rank_factors_then_stacks() {
        let map = KeyMap::new(&[
            KeyRule::stack(&["attn.q.", "attn.k."], "attn.qk."),
            KeyRule::low_rank("lora_A", "lora_B", 2.0),
            KeyRule::rename_prefix("base_model.", ""),
            KeyRule::rename_part("self_attn.", "attn."),
        ]);
        let place = map
            .place("base_model.l.0.self_attn.k.lora_B.weight")
            .unwrap();
        let expected = Place {
            parameter: "l.0.attn.qk.weight".to_string(),
            parts: ["l.0.attn.q.weight", "l.0.attn.k.weight"]
                .map(String::from)
                .into(),
            index: 1,
            role: Role::Up {
                down: "l.0.attn.k.lora_A.weight".to_string(),
                rule: 1,
            },
        };
        assert_eq!(place, expected);
        let values = map.place("l.0.attn.q.weight").unwrap();
        assert_eq!((values.index, values.role), (0, Role::Values));
        let fused = map.place("l.0.attn.qk.weight").unwrap();
        assert_eq!((fused.parts.len(), fused.part()), (1, "l.0.attn.qk.weight"));
    }

    #[test]
    fn the_name_of_a_whole_that_ends_like_a_part_is_no_part() {
        let map = KeyMap::new(&[KeyRule::stack(&["gate_proj.", "up_proj."], "gate_up_proj.")]);
        let name = "mlp.gate_up_proj.weight";
        assert_eq!(map.path(name).as_deref(), Some(name));
        assert_eq!(map.path("mlp.up_proj.weight").as_deref(), Some(name));
        assert_eq!(
            map.path("up_proj.weight").as_deref(),
            Some("gate_up_proj.weight")
        );
    }

    #[test]
    fn a_part_and_a_whole_collide_and_two_parts_do_not() {
        let map = KeyMap::new(&[
            KeyRule::stack(&["q.", "k."], "qk."),
            KeyRule::low_rank("A", "B", 1.0),
        ]);
        let place = |name| map.place(name).unwrap();
        assert!(!place("q.weight").collides(&place("k.weight")));
        assert!(!place("q.weight").collides(&place("q.A.weight")));
        assert!(!place("q.A.weight").collides(&place("q.B.weight")));
        assert!(place("q.weight").collides(&place("qk.weight")));
        assert!(place("q.weight").collides(&place("q.weight")));
    }

    #[test]
    fn factors_of_a_part_and_of_the_whole_do_not_collide() {
        let map = KeyMap::new(&[
            KeyRule::stack(&["q.", "k."], "qk."),
            KeyRule::low_rank("A", "B", 1.0),
            KeyRule::low_rank("C", "D", 1.0),
        ]);
        let place = |name| map.place(name).unwrap();
        assert!(!place("q.A.weight").collides(&place("qk.weight")));
        assert!(!place("q.weight").collides(&place("qk.A.weight")));
        assert!(!place("q.A.weight").collides(&place("q.C.weight")));
        assert!(place("q.A.weight").collides(&place("q.A.weight")));
    }
}
