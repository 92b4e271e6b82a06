//! The values of Python that templates work with.
//!
//! Only [`Namespace`] changes after it is made, and it holds nothing that could refer back to it;
//! so no value holds itself, and every value is at most [`MAX_DEPTH`] deep (twice that through a
//! namespace). Whatever walks a value may recurse, and charges the [`Meter`] for each step, for a
//! list may hold one list many times.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use super::meter::Meter;
use super::text::{Author, Text};
use crate::error::TemplateError;

/// Deepest nesting of lists and dictionaries.
const MAX_DEPTH: usize = 100;

pub(super) type Result<T> = std::result::Result<T, TemplateError>;

#[derive(Debug, Clone)]
pub(super) enum Value {
    /// What is not there, by its name.
    Undefined(Rc<str>),
    None,
    Bool(bool),
    Int(i64),
    Float(f64),
    Str(Text),
    /// A string that is marked as safe HTML; it only prints as one.
    Markup(Text),
    List(List),
    Tuple(List),
    /// A dictionary's `keys()`, `values()` or `items()`.
    View(List),
    Dict(Dict),
    Range(Range),
    /// What is read once.
    Iterator(Rc<Iterator>),
    Namespace(Rc<Namespace>),
    Macro(Rc<MacroValue>),
    Loop(Rc<LoopValue>),
    Cycler(Rc<Cycler>),
    /// Its separator, and whether it was called.
    Joiner(Rc<(Text, Cell<bool>)>),
    /// A method of a value.
    Method(Rc<(Value, &'static str)>),
    /// A global function.
    Function(&'static str),
}

/// Items that do not change.
#[derive(Debug, Clone)]
pub(super) struct List(Rc<ListData>);

#[derive(Debug)]
struct ListData {
    items: Vec<Value>,
    shape: Shape,
}

/// What is known of a collection without looking into it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Shape {
    depth: usize,
    /// Whether it holds what may refer to a scope or a namespace.
    holds_reference: bool,
    /// Who decided how many items it has, where that was not the template.
    pub(super) cut_by: Option<Author>,
}

#[derive(Debug, Clone)]
pub(super) struct Dict(Rc<DictData>);

#[derive(Debug)]
struct DictData {
    entries: Vec<(Value, Value)>,
    shape: Shape,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Range {
    pub(super) start: i64,
    pub(super) stop: i64,
    pub(super) step: i64,
}

#[derive(Debug)]
pub(super) struct Iterator {
    pub(super) items: List,
    pub(super) next: Cell<usize>,
}

#[derive(Debug, Default)]
pub(super) struct Namespace(RefCell<Vec<(Arc<str>, Value)>>);

/// A macro, and the frame in which it was defined.
#[derive(Debug)]
pub(super) struct MacroValue {
    pub(super) index: usize,
    pub(super) frame: usize,
}

/// `loop`.
#[derive(Debug)]
pub(super) struct LoopValue {
    pub(super) items: List,
    pub(super) index: Cell<usize>,
    pub(super) depth: usize,
    pub(super) last_changed: RefCell<Option<Vec<Value>>>,
    /// The loop that it may call, and the frame in which that stands.
    pub(super) recursion: Option<(usize, usize)>,
}

#[derive(Debug)]
pub(super) struct Cycler {
    pub(super) items: List,
    pub(super) next: Cell<usize>,
}

/// A [`TemplateError::Render`]: Python fails here too.
pub(super) fn failure(reason: impl std::fmt::Display) -> TemplateError {
    TemplateError::Render {
        reason: super::excerpt(&reason.to_string()),
    }
}

/// A [`TemplateError::Unsupported`]: Python may go on here.
pub(super) fn unsupported(what: impl std::fmt::Display) -> TemplateError {
    TemplateError::Unsupported {
        feature: super::excerpt(&what.to_string()),
    }
}

impl List {
    pub(super) fn new(items: Vec<Value>, meter: &Meter) -> Result<Self> {
        Self::cut_by(items, None, meter)
    }

    /// A list with as many items as `author` decided.
    pub(super) fn cut_by(items: Vec<Value>, author: Option<Author>, meter: &Meter) -> Result<Self> {
        meter.values(items.len())?;
        let mut shape = Shape::around(items.iter())?;
        shape.cut_by = author;
        Ok(Self(Rc::new(ListData { items, shape })))
    }

    pub(super) fn items(&self) -> &[Value] {
        &self.0.items
    }

    pub(super) fn len(&self) -> usize {
        self.0.items.len()
    }

    /// Who decided how many items there are, where that was not the template.
    pub(super) fn author_of_cuts(&self) -> Option<Author> {
        self.0.shape.cut_by
    }

    fn address(&self) -> *const () {
        Rc::as_ptr(&self.0).cast()
    }

    /// Whether both are one and the same.
    pub(super) fn is(&self, other: &Self) -> bool {
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
    pub(super) fn new(entries: Vec<(Value, Value)>, meter: &Meter) -> Result<Self> {
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

    pub(super) fn entries(&self) -> &[(Value, Value)] {
        &self.0.entries
    }

    pub(super) fn get(&self, key: &Value, meter: &Meter) -> Result<Option<&Value>> {
        let found = position(self.entries(), key, meter)?;
        Ok(found.map(|at| &self.entries()[at].1))
    }

    pub(super) fn get_str(&self, name: &str, meter: &Meter) -> Result<Option<&Value>> {
        meter.values(self.entries().len() / 8)?;
        let is_it = |key: &Value| key.as_text().is_some_and(|text| text.as_str() == name);
        let mut entries = self.entries().iter();
        Ok(entries.find(|(key, _)| is_it(key)).map(|(_, value)| value))
    }

    pub(super) fn keys(&self) -> Vec<Value> {
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

impl Range {
    pub(super) fn len(self) -> usize {
        let (start, stop) = (i128::from(self.start), i128::from(self.stop));
        let step = i128::from(self.step);
        let span = if step > 0 { stop - start } else { start - stop };
        let len = (span + step.abs() - 1).div_euclid(step.abs()).max(0);
        usize::try_from(len).unwrap_or(usize::MAX)
    }

    pub(super) fn get(self, index: usize) -> Value {
        Value::Int(self.start + self.step * index as i64)
    }
}

impl Iterator {
    /// What is left to read, which is read by that.
    pub(super) fn take(&self, meter: &Meter) -> Result<Vec<Value>> {
        let next = self.next.replace(self.items.len());
        meter.values(self.items.len() - next)?;
        Ok(self.items.items()[next..].to_vec())
    }
}

impl Namespace {
    pub(super) fn get(&self, name: &str) -> Option<Value> {
        let entries = self.0.borrow();
        let entry = entries.iter().find(|(found, _)| &**found == name);
        entry.map(|(_, value)| value.clone())
    }

    /// # Errors
    ///
    /// [`TemplateError::Unsupported`] for a value that could refer back to the namespace.
    pub(super) fn set(&self, name: &Arc<str>, value: Value, meter: &Meter) -> Result<()> {
        if value.is_reference() {
            let kind = value.kind_name();
            return Err(unsupported(format!("a namespace that holds a {kind}")));
        }
        let mut entries = self.0.borrow_mut();
        meter.values(entries.len())?;
        match entries.iter_mut().find(|(found, _)| found == name) {
            Some(entry) => entry.1 = value,
            None => entries.push((Arc::clone(name), value)),
        }
        Ok(())
    }
}

impl Value {
    pub(super) fn undefined(name: &str) -> Self {
        Self::Undefined(Rc::from(super::excerpt(name)))
    }

    /// A string that nobody wrote.
    pub(super) fn computed(text: &str, meter: &Meter) -> Result<Self> {
        Text::new(text, Author::Computed, meter).map(Self::Str)
    }

    pub(super) fn list(items: Vec<Value>, meter: &Meter) -> Result<Self> {
        List::new(items, meter).map(Self::List)
    }

    pub(super) fn tuple(items: Vec<Value>, meter: &Meter) -> Result<Self> {
        List::new(items, meter).map(Self::Tuple)
    }

    pub(super) fn iterator(items: List) -> Self {
        let next = Cell::new(0);
        Self::Iterator(Rc::new(Iterator { items, next }))
    }

    pub(super) fn as_text(&self) -> Option<&Text> {
        match self {
            Self::Str(text) | Self::Markup(text) => Some(text),
            _ => None,
        }
    }

    fn shape(&self) -> Shape {
        match self {
            Self::List(list) | Self::Tuple(list) | Self::View(list) => list.0.shape,
            Self::Dict(dict) => dict.0.shape,
            Self::Iterator(iterator) => iterator.items.0.shape,
            _ => Shape::default(),
        }
    }

    fn depth(&self) -> usize {
        self.shape().depth
    }

    /// Whether the value may refer to a scope or a namespace.
    pub(super) fn is_reference(&self) -> bool {
        match self {
            Self::Namespace(_) | Self::Macro(_) | Self::Loop(_) | Self::Cycler(_) => true,
            Self::Method(method) => method.0.is_reference(),
            _ => self.shape().holds_reference,
        }
    }

    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Undefined(_) | Self::None => false,
            Self::Bool(value) => *value,
            Self::Int(value) => *value != 0,
            Self::Float(value) => *value != 0.0,
            Self::Str(text) | Self::Markup(text) => !text.is_empty(),
            Self::List(list) | Self::Tuple(list) | Self::View(list) => list.len() > 0,
            Self::Dict(dict) => !dict.entries().is_empty(),
            Self::Range(range) => range.len() > 0,
            _ => true,
        }
    }

    /// What the value is called in messages.
    pub(super) fn kind_name(&self) -> &'static str {
        match self {
            Self::Undefined(_) => "undefined value",
            Self::None => "none",
            Self::Bool(_) => "bool",
            Self::Int(_) => "integer",
            Self::Float(_) => "float",
            Self::Str(_) => "string",
            Self::Markup(_) => "safe string",
            Self::List(_) => "list",
            Self::Tuple(_) => "tuple",
            Self::View(_) => "view of a dictionary",
            Self::Dict(_) => "dictionary",
            Self::Range(_) => "range",
            Self::Iterator(_) => "iterator",
            Self::Namespace(_) => "namespace",
            Self::Macro(_) => "macro",
            Self::Loop(_) => "loop",
            Self::Cycler(_) => "cycler",
            Self::Joiner(_) => "joiner",
            Self::Method(_) => "method",
            Self::Function(_) => "function",
        }
    }

    /// Fails as Python does when an undefined value is used.
    pub(super) fn check_defined(&self) -> Result<()> {
        match self {
            Self::Undefined(name) => Err(failure(format!("`{name}` is undefined"))),
            _ => Ok(()),
        }
    }

    pub(super) fn check_hashable(&self, meter: &Meter) -> Result<()> {
        meter.steps(1)?;
        match self {
            Self::List(_) | Self::Dict(_) => {
                Err(failure(format!("a {} is no key", self.kind_name())))
            }
            Self::Tuple(list) => {
                let mut items = list.items().iter();
                items.try_for_each(|item| item.check_hashable(meter))
            }
            Self::Undefined(_)
            | Self::None
            | Self::Bool(_)
            | Self::Int(_)
            | Self::Float(_)
            | Self::Str(_) => Ok(()),
            _ => Err(unsupported(format!("a {} as a key", self.kind_name()))),
        }
    }

    /// The items of a value that can be gone through; of an undefined value, none.
    pub(super) fn items(&self, meter: &Meter) -> Result<Vec<Value>> {
        self.to_list(meter).map(|list| list.items().to_vec())
    }

    /// The items of a value that can be gone through, with who decided their number.
    pub(super) fn to_list(&self, meter: &Meter) -> Result<List> {
        match self {
            Self::List(list) | Self::Tuple(list) | Self::View(list) => {
                meter.values(list.len())?;
                Ok(list.clone())
            }
            Self::Undefined(_) => List::new(Vec::new(), meter),
            Self::Str(text) | Self::Markup(text) => characters(text, meter),
            Self::Dict(dict) => List::new(dict.keys(), meter),
            Self::Range(range) => {
                meter.values(range.len())?;
                List::new((0..range.len()).map(|at| range.get(at)).collect(), meter)
            }
            Self::Iterator(iterator) => List::cut_by(
                iterator.take(meter)?,
                iterator.items.author_of_cuts(),
                meter,
            ),
            Self::Loop(_) | Self::Cycler(_) => {
                Err(unsupported(format!("going through a {}", self.kind_name())))
            }
            _ => Err(failure(format!("a {} has no items", self.kind_name()))),
        }
    }
}

fn characters(text: &Text, meter: &Meter) -> Result<List> {
    meter.values(text.num_chars())?;
    let mut characters = Vec::new();
    for (c, author) in text.chars() {
        characters.push(Value::Str(Text::new(
            c.encode_utf8(&mut [0; 4]),
            author,
            meter,
        )?));
    }
    List::cut_by(characters, text.foreign_author(), meter)
}
