//! The fields of a `config.json`, each checked where it is read.

use std::ops::RangeInclusive;
use std::sync::LazyLock;

use serde_json::{Map, Value};

use crate::error::{ConfigError, Result, visible};
use crate::nn::Activation;

/// One object of a configuration and its place in the file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Fields<'a> {
    object: &'a Map<String, Value>,
    prefix: &'a str,
}

impl<'a> Fields<'a> {
    /// The whole file.
    pub(super) fn new(object: &'a Map<String, Value>) -> Self {
        Self { object, prefix: "" }
    }

    /// The object in the field `name`.
    pub(super) fn object(&self, name: &'static str) -> Result<Option<Fields<'a>>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Object(object)) => Ok(Some(Fields {
                object,
                prefix: name,
            })),
            Some(found) => Err(self.out_of_range(name, found, "an object")),
        }
    }

    /// The object in the field `name`, one without fields where there is none.
    pub(super) fn object_or_empty(&self, name: &'static str) -> Result<Fields<'a>> {
        static EMPTY: LazyLock<Map<String, Value>> = LazyLock::new(Map::new);
        let empty = Fields {
            object: &EMPTY,
            prefix: name,
        };
        Ok(self.object(name)?.unwrap_or(empty))
    }

    /// Whether the file has the field, be it `null`.
    pub(super) fn is_written(&self, name: &str) -> bool {
        self.object.contains_key(name)
    }

    /// Which spelling of one setting counts: `first`, unless only `second` is set. An empty object
    /// sets nothing.
    pub(super) fn spelling(&self, first: &'static str, second: &'static str) -> &'static str {
        let is_set = |value: &&Value| value.as_object().is_none_or(|object| !object.is_empty());
        let values = [first, second].map(|name| self.get(name).filter(is_set));
        match values {
            [None, Some(_)] => second,
            [Some(counts), Some(other)] if counts != other => {
                let (counts, other) = (counts.to_string(), other.to_string());
                log::warn!(
                    "config.json sets `{}` to {} and `{}` to {}; the former counts",
                    self.path(first),
                    visible(&counts),
                    self.path(second),
                    visible(&other)
                );
                first
            }
            _ => first,
        }
    }

    /// A whole number within `range`.
    pub(super) fn count(&self, name: &str, range: RangeInclusive<usize>) -> Result<Option<usize>> {
        let Some(found) = self.get(name) else {
            return Ok(None);
        };
        let count = found.as_u64().and_then(|count| usize::try_from(count).ok());
        match count {
            Some(count) if range.contains(&count) => Ok(Some(count)),
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.out_of_range(name, found, expected))
            }
        }
    }

    /// As [`count`](Self::count), for a field that must be there.
    pub(super) fn required(&self, name: &str, range: RangeInclusive<usize>) -> Result<usize> {
        let missing = || ConfigError::Missing {
            field: self.path(name),
        };
        Ok(self.count(name, range)?.ok_or_else(missing)?)
    }

    /// A finite number within `range`.
    pub(super) fn number(&self, name: &str, range: RangeInclusive<f64>) -> Result<Option<f64>> {
        let Some(found) = self.get(name) else {
            return Ok(None);
        };
        match found.as_f64() {
            Some(number) if range.contains(&number) => Ok(Some(number)),
            _ => {
                let expected = format!("a number from {} to {}", range.start(), range.end());
                Err(self.out_of_range(name, found, expected))
            }
        }
    }

    /// One whole number that may be negative, or a list of them; empty where nothing is written.
    pub(super) fn integers(&self, name: &str, range: RangeInclusive<i64>) -> Result<Vec<i64>> {
        let values = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let integer = |found: &Value| match found.as_i64() {
            Some(integer) if range.contains(&integer) => Ok(integer),
            _ => {
                let expected = format!("a whole number from {} to {}", range.start(), range.end());
                Err(self.out_of_range(name, found, expected))
            }
        };
        values.iter().map(integer).collect()
    }

    /// A boolean.
    pub(super) fn flag(&self, name: &str) -> Result<Option<bool>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(found) => Err(self.out_of_range(name, found, "true or false")),
        }
    }

    /// A text.
    pub(super) fn text(&self, name: &str) -> Result<Option<&'a str>> {
        match self.get(name) {
            None => Ok(None),
            Some(Value::String(text)) => Ok(Some(text)),
            Some(found) => Err(self.out_of_range(name, found, "a text")),
        }
    }

    /// The texts of a list.
    pub(super) fn texts(&self, name: &str) -> Result<Vec<&'a str>> {
        let list = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list,
            Some(found) => return Err(self.out_of_range(name, found, "a list of texts")),
        };
        let text = |value: &'a Value| {
            value
                .as_str()
                .ok_or_else(|| self.out_of_range(name, value, "a text"))
        };
        list.iter().map(text).collect()
    }

    /// One token id, or a list of them.
    pub(super) fn token_ids(&self, name: &str) -> Result<Vec<u32>> {
        let values = match self.get(name) {
            None => return Ok(Vec::new()),
            Some(Value::Array(list)) => list.as_slice(),
            Some(value) => std::slice::from_ref(value),
        };
        let id = |value: &Value| {
            let id = value.as_u64().and_then(|id| u32::try_from(id).ok());
            id.ok_or_else(|| self.out_of_range(name, value, "a token id or a list of them"))
        };
        values.iter().map(id).collect()
    }

    /// Three numbers, one a channel.
    pub(super) fn channels(&self, name: &str) -> Result<Option<[f64; 3]>> {
        let Some(found) = self.get(name) else {
            return Ok(None);
        };
        let numbers = found.as_array().map(|list| list.iter().map(Value::as_f64));
        let numbers: Option<Vec<f64>> = numbers.and_then(Iterator::collect);
        match numbers.as_deref() {
            Some(&[red, green, blue]) => Ok(Some([red, green, blue])),
            _ => Err(self.out_of_range(name, found, "three numbers")),
        }
    }

    /// One of the named values, `default` where the field is absent.
    pub(super) fn choice<T: Copy>(
        &self,
        name: &str,
        default: T,
        choices: &[(&str, T)],
    ) -> Result<T> {
        let Some(found) = self.text(name)? else {
            return Ok(default);
        };
        let chosen = choices.iter().find(|(choice, _)| *choice == found);
        chosen.map(|(_, value)| *value).ok_or_else(|| {
            let supported = choices
                .iter()
                .map(|(choice, _)| (*choice).to_string())
                .collect();
            self.unsupported(name, found, supported)
        })
    }

    /// The error about a value that means something this crate cannot do.
    pub(super) fn unsupported(
        &self,
        name: &str,
        found: impl ToString,
        supported: Vec<String>,
    ) -> crate::Error {
        ConfigError::Unsupported {
            field: self.path(name),
            found: visible(&found.to_string()).to_string(),
            supported,
        }
        .into()
    }

    /// The error about a value outside of what a model can have.
    pub(super) fn out_of_range(
        &self,
        name: &str,
        found: impl ToString,
        expected: impl Into<String>,
    ) -> crate::Error {
        ConfigError::OutOfRange {
            field: self.path(name),
            found: visible(&found.to_string()).to_string(),
            expected: expected.into(),
        }
        .into()
    }

    /// The value of a field of more than one type; `null` is no value.
    pub(super) fn value(&self, name: &str) -> Option<&'a Value> {
        self.get(name)
    }

    fn get(&self, name: &str) -> Option<&'a Value> {
        self.object.get(name).filter(|value| !value.is_null())
    }

    fn path(&self, name: &str) -> String {
        match self.prefix {
            "" => name.to_string(),
            prefix => format!("{prefix}.{name}"),
        }
    }
}

/// Hugging Face's names of the activations.
pub(super) const ACTIVATIONS: &[(&str, Activation)] = &[
    ("gelu", Activation::Gelu),
    ("gelu_python", Activation::Gelu),
    ("gelu_new", Activation::GeluTanh),
    ("gelu_accurate", Activation::GeluTanh),
    ("gelu_python_tanh", Activation::GeluTanh),
    ("gelu_fast", Activation::GeluTanh),
    ("gelu_pytorch_tanh", Activation::GeluTanh),
    ("quick_gelu", Activation::QuickGelu),
    ("relu", Activation::Relu),
];
