//! From the names in a file to the paths in a module, as data: one table a family.

use std::borrow::Cow;

/// One line of a [`KeyMap`].
#[derive(Clone, Debug, PartialEq, Eq)]
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
}

impl KeyPattern {
    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Prefix(prefix) => name.starts_with(prefix.as_ref()),
            Self::Suffix(suffix) => name.ends_with(suffix.as_ref()),
            Self::Part(part) => name.contains(part.as_ref()),
        }
    }
}

/// How the tensors of a file become the parameters of a module.
///
/// Renames are tried in their order, each on what the ones before it left; a name that no rename
/// touches is the path itself. All other rules look at the name in the file.
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
/// ];
/// let map = KeyMap::new(RULES);
/// let path = map.path("model.layers.0.self_attn.q_proj.weight");
/// assert_eq!(path.as_deref(), Some("layers.0.attention.q_proj.weight"));
/// assert_eq!(map.path("model.layers.0.self_attn.rotary_emb.inv_freq"), None);
/// ```
#[derive(Clone, Debug, Default)]
pub struct KeyMap {
    rules: Vec<KeyRule>,
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

    /// The path of the parameter that the tensor `name` fills, or `None` if it is left out.
    #[must_use]
    pub fn path(&self, name: &str) -> Option<String> {
        if self.leaves_out(name) {
            return None;
        }
        Some(
            self.rules
                .iter()
                .fold(name.to_string(), |path, rule| match rule {
                    KeyRule::RenamePrefix { from, to } => match path.strip_prefix(from.as_ref()) {
                        Some(rest) => format!("{to}{rest}"),
                        None => path,
                    },
                    KeyRule::RenamePart { from, to } if !from.is_empty() => {
                        path.replace(from.as_ref(), to)
                    }
                    KeyRule::RenamePart { .. }
                    | KeyRule::Ignore(_)
                    | KeyRule::Only(_)
                    | KeyRule::Reshape(_) => path,
                }),
        )
    }

    /// Whether the tensor `name` may fill a parameter of another rank.
    #[must_use]
    pub fn allows_reshape(&self, name: &str) -> bool {
        self.rules.iter().any(|rule| match rule {
            KeyRule::Reshape(pattern) => pattern.matches(name),
            _ => false,
        })
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
