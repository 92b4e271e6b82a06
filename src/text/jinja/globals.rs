//! The functions that every template has.

use std::cell::Cell;
use std::rc::Rc;

use chrono::DateTime;

use super::calls::{Call, integer, required, text};
use super::interpreter::Interpreter;
use super::text::{Author, Text};
use super::value::{Cycler, Dict, List, Namespace, Range, Result, Value, failure, unsupported};
use crate::error::TemplateError;

const FUNCTIONS: [&str; 8] = [
    "range",
    "dict",
    "namespace",
    "cycler",
    "joiner",
    "lipsum",
    "raise_exception",
    "strftime_now",
];

/// Longest range, as a sandbox has it.
const MAX_RANGE: usize = 100_000;

/// The function of that name.
pub(super) fn function(name: &str) -> Option<&'static str> {
    FUNCTIONS.into_iter().find(|function| *function == name)
}

/// Calls a function.
pub(super) fn call(interpreter: &mut Interpreter<'_>, name: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    match name {
        "range" => range(call),
        "dict" => dict(call),
        "namespace" => namespace(call),
        "cycler" => {
            if call.positional.is_empty() || !call.named.is_empty() {
                return Err(failure("`cycler` takes at least one item"));
            }
            let items = List::new(call.positional, meter)?;
            let next = Cell::new(0);
            Ok(Value::Cycler(Rc::new(Cycler { items, next })))
        }
        "joiner" => {
            let [separator] = call.bind(["sep"])?;
            let separator = match separator {
                None => Text::new(", ", Author::Computed, meter)?,
                separator => text(separator, "sep")?,
            };
            Ok(Value::Joiner(Rc::new((separator, Cell::new(false)))))
        }
        "raise_exception" => {
            let [message] = call.bind(["message"])?;
            let message = required(message, "message")?.to_text(meter)?;
            Err(TemplateError::Refused {
                message: super::excerpt(message.as_str()),
            })
        }
        "strftime_now" => {
            let [format] = call.bind(["format"])?;
            let format = text(format, "format")?;
            let now = strftime(format.as_str(), interpreter.now)?;
            Value::computed(&now, meter)
        }
        _ => Err(unsupported(format!("the function `{name}`"))),
    }
}

fn range(call: Call<'_>) -> Result<Value> {
    let [first, second, step] = call.bind_positional()?;
    let first = required(first, "stop")?;
    let first = integer(Some(first), "start")?.unwrap_or(0);
    let (start, stop) = match integer(second, "stop")? {
        Some(stop) => (first, stop),
        None => (0, first),
    };
    let step = integer(step, "step")?.unwrap_or(1);
    if step == 0 {
        return Err(failure("the step of a range is zero"));
    }
    let range = Range { start, stop, step };
    match range.len() > MAX_RANGE {
        true => Err(failure(format!("a range of more than {MAX_RANGE} numbers"))),
        false => Ok(Value::Range(range)),
    }
}

fn dict(call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let mut entries = match call.positional.as_slice() {
        [] => Vec::new(),
        [Value::Dict(dict)] => {
            meter.values(dict.entries().len())?;
            dict.entries().to_vec()
        }
        [pairs] => {
            pairs.check_defined()?;
            let mut entries = Vec::new();
            for pair in pairs.items(meter)? {
                match pair.items(meter)?.as_slice() {
                    [key, value] => entries.push((key.clone(), value.clone())),
                    _ => return Err(failure("`dict` takes pairs")),
                }
            }
            entries
        }
        _ => return Err(failure("`dict` takes at most one argument without a name")),
    };
    for (name, value) in call.named {
        let key = Text::new(&name, Author::Computed, meter)?;
        entries.push((Value::Str(key), value));
    }
    Dict::new(entries, meter).map(Value::Dict)
}

fn namespace(call: Call<'_>) -> Result<Value> {
    let (meter, named) = (call.meter, call.named.clone());
    let namespace = Namespace::default();
    let positional = Call {
        named: Vec::new(),
        ..call
    };
    let Value::Dict(entries) = dict(positional)? else {
        return Err(failure("`namespace` takes a dictionary"));
    };
    for (key, value) in entries.entries() {
        let key = key.as_text().ok_or_else(|| unsupported("such a name"))?;
        namespace.set(&std::sync::Arc::from(key.as_str()), value.clone(), meter)?;
    }
    for (name, value) in named {
        namespace.set(&name, value, meter)?;
    }
    Ok(Value::Namespace(Rc::new(namespace)))
}

/// What `strftime` of C and of `chrono` write alike.
const DATE_PARTS: &str = "aAbBcdDeFGhHIjmMnpRStTuUVwWxXyY%";

const MAX_DATE_FORMAT_BYTES: usize = 1000;

/// Python prints local time; a server's answers should not depend on where it stands, so it is UTC.
fn strftime(format: &str, now: i64) -> Result<String> {
    if format.len() > MAX_DATE_FORMAT_BYTES {
        return Err(unsupported("so long a format of a date"));
    }
    let mut chars = format.chars();
    while let Some(c) = chars.next() {
        if c != '%' {
            continue;
        }
        let part = match chars.next() {
            Some('-') => chars.next().filter(|part| "dHIjmMSy".contains(*part)),
            part => part.filter(|part| DATE_PARTS.contains(*part)),
        };
        if part.is_none() {
            return Err(unsupported(format!(
                "strftime_now, which does not know all of `{format}`"
            )));
        }
    }
    let now = DateTime::from_timestamp_secs(now)
        .ok_or_else(|| failure("the time of the render is no date"))?;
    Ok(now.format(format).to_string())
}
