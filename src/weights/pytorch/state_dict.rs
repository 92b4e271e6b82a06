//! From the value of a pickle to named tensors.

use super::heap::{Heap, TensorId, Value};
use crate::weights::limits::{
    MAX_NAME_BYTES, MAX_NAMES_BYTES, MAX_NESTING, MAX_PICKLE_VALUES, MAX_TENSORS,
};

/// Keys under which training scripts keep the weights beside optimizer, epoch and settings.
const WRAPPERS: [&str; 3] = ["model", "state_dict", "module"];

/// Why a value is not a state dict.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum StateDictError {
    /// It has another structure.
    Malformed(&'static str),
    /// It has too many of something: what, how many, and the limit.
    Limit(&'static str, u64, u64),
}

/// The tensors of `root` by name, in the file's order; inner dictionaries are joined by dots.
///
/// If `root` keeps a whole model under one of [`WRAPPERS`], the tensors are that model's, without
/// the wrapper's name: what LAVIS does when it loads a file of its own.
pub(super) fn tensors(heap: &Heap, root: Value) -> Result<Vec<(String, TensorId)>, StateDictError> {
    let Some(entries) = heap.dict(root) else {
        return Err(StateDictError::Malformed(
            "its content is no dictionary of tensors",
        ));
    };
    let mut walk = Walk {
        heap,
        found: Vec::new(),
        path: String::new(),
        visited: 0,
        names_bytes: 0,
    };
    walk.visit(wrapped_model(heap, entries).unwrap_or(entries), 0)?;
    Ok(walk.found)
}

fn wrapped_model<'h>(
    heap: &'h Heap,
    entries: &'h [(Value, Value)],
) -> Option<&'h [(Value, Value)]> {
    WRAPPERS.iter().find_map(|wrapper| {
        let (_, value) = entries
            .iter()
            .find(|(key, _)| heap.text(*key) == Some(wrapper))?;
        let inner = heap.dict(*value)?;
        inner
            .iter()
            .any(|(_, value)| matches!(value, Value::Tensor(_)))
            .then_some(inner)
    })
}

struct Walk<'h, 'a> {
    heap: &'h Heap<'a>,
    found: Vec<(String, TensorId)>,
    path: String,
    visited: usize,
    /// Of the names of all tensors so far.
    names_bytes: usize,
}

impl Walk<'_, '_> {
    /// Dictionaries may be shared or hold themselves: depth and visits are bounded, not trusted.
    fn visit(&mut self, entries: &[(Value, Value)], depth: usize) -> Result<(), StateDictError> {
        require_at_most(MAX_NESTING, "the depth of nested dictionaries", depth)?;
        for (key, value) in entries {
            self.visited += 1;
            require_at_most(MAX_PICKLE_VALUES, "the number of values", self.visited)?;
            let parent_len = self.path.len();
            match value {
                Value::Tensor(id) => {
                    self.enter(*key)?;
                    require_at_most(MAX_TENSORS, "the number of tensors", self.found.len() + 1)?;
                    self.names_bytes += self.path.len();
                    let what = "the bytes of all names of tensors";
                    require_at_most(MAX_NAMES_BYTES, what, self.names_bytes)?;
                    self.found.push((self.path.clone(), *id));
                }
                Value::Dict(_) => {
                    self.enter(*key)?;
                    let inner = self.heap.dict(*value).expect("the value is a dictionary");
                    self.visit(inner, depth + 1)?;
                }
                _ => {}
            }
            self.path.truncate(parent_len);
        }
        Ok(())
    }

    fn enter(&mut self, key: Value) -> Result<(), StateDictError> {
        if !self.path.is_empty() {
            self.path.push('.');
        }
        match (key, self.heap.text(key)) {
            (_, Some(text)) => self.path.push_str(text),
            (Value::Int(number), None) => self.path.push_str(&number.to_string()),
            _ => {
                return Err(StateDictError::Malformed(
                    "a tensor's key is neither text nor number",
                ));
            }
        }
        require_at_most(
            MAX_NAME_BYTES,
            "the length of a tensor's name in bytes",
            self.path.len(),
        )
    }
}

fn require_at_most(limit: usize, what: &'static str, found: usize) -> Result<(), StateDictError> {
    if found <= limit {
        return Ok(());
    }
    Err(StateDictError::Limit(what, found as u64, limit as u64))
}

#[cfg(test)]
mod tests {
    use super::super::heap::{Storage, View};
    use super::*;
    use crate::weights::element::ElementType;

    fn named(name: &str, count: usize) -> Result<usize, StateDictError> {
        let mut heap = Heap::default();
        let storage = heap.add_storage(Storage {
            element_type: ElementType::F32,
            key: "0",
            len: 1,
            first: 0,
        });
        let Value::Storage(storage) = storage else {
            panic!("a storage was added");
        };
        let tensor = heap.add_tensor(View {
            storage,
            offset: 0,
            shape: vec![1],
            strides: vec![1],
        });
        let name = heap.add_text(name);
        let root = heap.add_dict();
        let Value::Dict(id) = root else {
            panic!("a dictionary was added");
        };
        *heap.dict_mut(id) = vec![(name, tensor); count];
        tensors(&heap, root).map(|found| found.len())
    }

    #[test]
    fn a_long_name_cannot_be_used_without_end() {
        let name = "x".repeat(1000);
        assert_eq!(named(&name, 16_000), Ok(16_000));
        let refused = named(&name, 17_000);
        let is_limit =
            matches!(refused, Err(StateDictError::Limit(what, ..)) if what.contains("names"));
        assert!(is_limit, "{refused:?}");
        assert_eq!(named("x", 100_000), Ok(100_000));
    }
}
