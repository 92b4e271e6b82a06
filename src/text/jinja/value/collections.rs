//! Lists and dictionaries: what other values lie in.

use std::rc::Rc;

use super::{MAX_DEPTH, Result, Value, unsupported};
use crate::text::jinja::meter::Meter;
use crate::text::jinja::text::Author;

/// Items that do not change.
#[derive(Debug, Clone)]
pub(in crate::text::jinja) struct List(Rc<ListData>);

#[derive(Debug)]
struct ListData {
    items: Vec<Value>,
    shape: Shape,
}

/// What is known of a collection without looking into it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    pub(super) depth: usize,
    /// Whether it holds what may refer to a scope or a namespace.
    pub(super) holds_reference: bool,
    /// Who decided how many items it has, where that was not the template.
    cut_by: Option<Author>,
}

#[derive(Debug, Clone)]
pub(in crate::text::jinja) struct Dict(Rc<DictData>);

#[derive(Debug)]
struct DictData {
    entries: Vec<(Value, Value)>,
    shape: Shape,
}

impl List {
    pub(in crate::text::jinja) fn new(items: Vec<Value>, meter: &Meter) -> Result<Self> {
        Self::cut_by(items, None, meter)
    }

    /// A list with as many items as `author` decided.
    pub(in crate::text::jinja) fn cut_by(
        items: Vec<Value>,
        author: Option<Author>,
        meter: &Meter,
    ) -> Result<Self> {
        meter.values(items.len())?;
        let mut shape = Shape::around(items.iter())?;
        shape.cut_by = author;
        Ok(Self(Rc::new(ListData { items, shape })))
    }

    pub(in crate::text::jinja) fn items(&self) -> &[Value] {
        &self.0.items
    }

    pub(in crate::text::jinja) fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Who decided how many items there are, where that was not the template.
    pub(in crate::text::jinja) fn author_of_cuts(&self) -> Option<Author> {
        self.0.shape.cut_by
    }

    pub(super) fn shape(&self) -> Shape {
        self.0.shape
    }

    fn address(&self) -> *const () {
        Rc::as_ptr(&self.0).cast()
    }

    /// Whether both are one and the same.
    pub(in crate::text::jinja) fn is(&self, other: &Self) -> bool {
        self.address() == other.address()
    }
}

impl Shape {
    fn around<'a>(values: impl std::iter::Iterator<Item = &'a Value>) -> Result<Self> {
        let mut shape = Self::default();
        for value in values {
            shape.depth = shape.depth.max(value.depth());
            shape.holds_reference |= value.is_reference();
        }
        shape.depth += 1;
        if shape.depth > MAX_DEPTH {
            return Err(unsupported(format!(
                "a value of more than {MAX_DEPTH} levels"
            )));
        }
        Ok(shape)
    }
}

impl Dict {
    /// Of several entries with one key, the last value counts, at the first one's place.
    pub(in crate::text::jinja) fn new(entries: Vec<(Value, Value)>, meter: &Meter) -> Result<Self> {
        let mut unique: Vec<(Value, Value)> = Vec::new();
        for (key, value) in entries {
            key.check_hashable(meter)?;
            match position(&unique, &key, meter)? {
                Some(at) => unique[at].1 = value,
                None => unique.push((key, value)),
            }
        }
        meter.values(unique.len())?;
        let values = unique.iter().flat_map(|(key, value)| [key, value]);
        let shape = Shape::around(values)?;
        Ok(Self(Rc::new(DictData {
            entries: unique,
            shape,
        })))
    }

    pub(super) fn shape(&self) -> Shape {
        self.0.shape
    }

    pub(in crate::text::jinja) fn entries(&self) -> &[(Value, Value)] {
        &self.0.entries
    }

    pub(in crate::text::jinja) fn get(&self, key: &Value, meter: &Meter) -> Result<Option<&Value>> {
        let found = position(self.entries(), key, meter)?;
        Ok(found.map(|at| &self.entries()[at].1))
    }

    pub(in crate::text::jinja) fn get_str(
        &self,
        name: &str,
        meter: &Meter,
    ) -> Result<Option<&Value>> {
        meter.values(self.entries().len() / 8)?;
        let is_it = |key: &Value| key.as_text().is_some_and(|text| text.as_str() == name);
        let mut entries = self.entries().iter();
        Ok(entries.find(|(key, _)| is_it(key)).map(|(_, value)| value))
    }

    pub(in crate::text::jinja) fn keys(&self) -> Vec<Value> {
        self.entries().iter().map(|(key, _)| key.clone()).collect()
    }
}

fn position(entries: &[(Value, Value)], key: &Value, meter: &Meter) -> Result<Option<usize>> {
    for (at, (found, _)) in entries.iter().enumerate() {
        if found.equals(key, meter)? {
            return Ok(Some(at));
        }
    }
    Ok(None)
}
