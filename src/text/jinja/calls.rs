//! The arguments of calls.

use std::sync::Arc;

use super::compare::Number;
use super::meter::Meter;
use super::text::Text;
use super::value::{Result, Value, failure};

/// What a function, method, filter or test is called with.
#[derive(Debug)]
pub(super) struct Call<'a> {
    /// What is called.
    pub(super) name: &'a str,
    pub(super) positional: Vec<Value>,
    pub(super) named: Vec<(Arc<str>, Value)>,
    pub(super) meter: &'a Meter,
}

impl Call<'_> {
    /// The arguments in the order of the parameters that `names` names.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Render`](crate::error::TemplateError::Render) for more arguments, or others.
    pub(super) fn bind<const N: usize>(self, names: [&str; N]) -> Result<[Option<Value>; N]> {
        let mut bound = [const { None }; N];
        if self.positional.len() > N {
            return Err(failure(format!(
                "`{}` takes at most {N} arguments, found {}",
                self.name,
                self.positional.len()
            )));
        }
        for (slot, value) in bound.iter_mut().zip(self.positional) {
            *slot = Some(value);
        }
        for (name, value) in self.named {
            let slot = names.iter().position(|known| *known == &*name);
            match slot.map(|at| &mut bound[at]) {
                Some(slot @ None) => *slot = Some(value),
                _ => {
                    let reason = format!("`{}` takes no argument `{name}`", self.name);
                    return Err(failure(reason));
                }
            }
        }
        Ok(bound)
    }

    /// As [`bind`](Self::bind), where no argument may have a name.
    pub(super) fn bind_positional<const N: usize>(self) -> Result<[Option<Value>; N]> {
        match self.named.first() {
            Some((name, _)) => Err(failure(format!(
                "`{}` takes no argument `{name}`",
                self.name
            ))),
            None => self.bind([""; N]),
        }
    }
}

/// An argument that must be there.
pub(super) fn required(value: Option<Value>, name: &str) -> Result<Value> {
    value.ok_or_else(|| failure(format!("the argument `{name}` is missing")))
}

/// An argument that must be a string.
pub(super) fn text(value: Option<Value>, name: &str) -> Result<Text> {
    match required(value, name)? {
        Value::Str(text) => Ok(text),
        other => Err(failure(format!(
            "`{name}` must be a string, found a {}",
            other.kind_name()
        ))),
    }
}

/// An argument that is an integer, or not there.
pub(super) fn integer(value: Option<Value>, name: &str) -> Result<Option<i64>> {
    match value {
        None => Ok(None),
        Some(value) => match value.as_number() {
            Some(Number::Int(value)) => Ok(Some(value)),
            _ => Err(failure(format!(
                "`{name}` must be an integer, found a {}",
                value.kind_name()
            ))),
        },
    }
}

/// An argument that says how wide or how many, or `default`. What is below nothing is nothing.
pub(super) fn size(value: Option<Value>, name: &str, default: usize) -> Result<usize> {
    let value = integer(value, name)?;
    Ok(value.map_or(default, |value| usize::try_from(value).unwrap_or(0)))
}

/// An argument that Python takes as a whole number, and then as true or false.
pub(super) fn number_flag(value: Option<Value>, default: bool) -> Result<bool> {
    match value {
        None => Ok(default),
        Some(value @ (Value::Bool(_) | Value::Int(_))) => Ok(value.is_true()),
        Some(other) => Err(failure(format!(
            "a {} cannot be taken as a whole number",
            other.kind_name()
        ))),
    }
}

/// An argument that is taken as true or false.
pub(super) fn flag(value: Option<Value>, default: bool) -> bool {
    value.map_or(default, |value| value.is_true())
}
