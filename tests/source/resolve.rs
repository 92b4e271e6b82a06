//! What a path stands for, through the re-exports between it and the definition.

use crate::tree::{ModulePath, SourceTree, UsedName};

/// What a path stands for. A name may be a module and a function at once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Target {
    Module(ModulePath),
    /// An item, or something inside one.
    Item {
        module: ModulePath,
        name: String,
    },
    /// A name that the module has from a macro.
    Unknown {
        module: ModulePath,
    },
}

/// Re-exports that a name may go through; more are a circle.
const MAX_STEPS: usize = 8;

impl Target {
    /// The module that defines it.
    pub(crate) fn module(&self) -> &ModulePath {
        match self {
            Self::Module(module) | Self::Item { module, .. } | Self::Unknown { module } => module,
        }
    }
}

impl SourceTree {
    /// What `path` stands for in the module `from`; nothing where it is another crate's.
    pub(crate) fn resolve(&self, from: &[String], path: &[String]) -> Vec<Target> {
        self.resolve_within(from, path, MAX_STEPS)
    }

    fn resolve_within(&self, from: &[String], path: &[String], steps: usize) -> Vec<Target> {
        let Some(first) = path.first() else {
            return vec![];
        };
        let parent = &from[..from.len().saturating_sub(1)];
        let (start, rest) = match first.as_str() {
            "crate" => (&[][..], &path[1..]),
            "self" => (from, &path[1..]),
            "super" => match path.get(1).is_some_and(|next| next == "super") {
                true => return self.resolve_within(parent, &path[1..], steps),
                false => (parent, &path[1..]),
            },
            name if self.lookup(from, name, steps).is_empty() => return vec![],
            _ => (from, path),
        };
        self.descend(start, rest, steps)
    }

    /// Follows the names of `path` from the module `module` on.
    fn descend(&self, module: &[String], path: &[String], steps: usize) -> Vec<Target> {
        let Some((name, rest)) = path.split_first() else {
            return vec![Target::Module(module.to_vec())];
        };
        let child = child(module, name);
        if !rest.is_empty() && self.modules.contains_key(&child) {
            return self.descend(&child, rest, steps);
        }
        let found = self.lookup(module, name, steps);
        if found.is_empty() {
            let module = module.to_vec();
            return vec![Target::Unknown { module }];
        }
        let follow = |target| match target {
            Target::Module(module) => self.descend(&module, rest, steps),
            inside => vec![inside],
        };
        found.into_iter().flat_map(follow).collect()
    }

    /// What a name is in a module: one inside it, an item, or what a `use` brings.
    fn lookup(&self, module: &[String], name: &str, steps: usize) -> Vec<Target> {
        let Some(steps) = steps.checked_sub(1) else {
            return vec![];
        };
        let child = child(module, name);
        let mut found = Vec::new();
        if self.modules.contains_key(&child) {
            found.push(Target::Module(child));
        }
        let own = &self.modules[module];
        if own.names.contains(name) {
            found.push(Target::Item {
                module: module.to_vec(),
                name: name.to_string(),
            });
        }
        let brought = own.used.iter();
        found.extend(brought.flat_map(|used| self.brought(module, used, name, steps)));
        found.sort();
        found.dedup();
        found
    }

    /// What one name of a `use` has to say about `name`.
    fn brought(&self, from: &[String], used: &UsedName, name: &str, steps: usize) -> Vec<Target> {
        match &used.name {
            Some(own) if own == name => self.resolve_within(from, &used.path, steps),
            Some(_) => vec![],
            None => {
                let modules = self.resolve_within(from, &used.path, steps).into_iter();
                let look = |target| match target {
                    Target::Module(module) => self.lookup(&module, name, steps),
                    Target::Item { .. } | Target::Unknown { .. } => vec![],
                };
                modules.flat_map(look).collect()
            }
        }
    }
}

pub(crate) fn child(module: &[String], name: &str) -> ModulePath {
    [module, &[name.to_string()]].concat()
}
