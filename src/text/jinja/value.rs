//! The values of Python that templates work with.
//!
//! Only [`Namespace`] changes after it is made, and it holds nothing that could refer back to it;
//! so no value holds itself, and every value is at most [`MAX_DEPTH`] deep (twice that through a
//! namespace). Whatever walks a value may recurse, and charges the [`Meter`] for each step, for a
//! list may hold one list many times.

mod collections;

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;

use collections::Shape;
pub(super) use collections::{Dict, List};

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
            Self::List(list) | Self::Tuple(list) | Self::View(list) => list.shape(),
            Self::Dict(dict) => dict.shape(),
            Self::Iterator(iterator) => iterator.items.shape(),
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
