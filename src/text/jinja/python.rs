//! The methods of Python's strings and dictionaries that chat templates call.
//!
//! `minijinja-contrib` has them, but for three that it lacks and one that it answers otherwise.

use std::io;

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use minijinja_contrib::pycompat;
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Calls a method that the engine does not know.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match (value.kind(), value.as_str()) {
        (ValueKind::String, Some(text)) => match method {
            "rsplit" => rsplit(text, arguments),
            "removeprefix" => {
                let (prefix,): (&str,) = from_args(arguments)?;
                Ok(Value::from(text.strip_prefix(prefix).unwrap_or(text)))
            }
            "removesuffix" => {
                let (suffix,): (&str,) = from_args(arguments)?;
                Ok(Value::from(text.strip_suffix(suffix).unwrap_or(text)))
            }
            "title" => {
                let () = from_args(arguments)?;
                Ok(Value::from(title(text)))
            }
            "strip" | "lstrip" | "rstrip" => {
                charge_strip(state, text, arguments)?;
                pycompat::unknown_method_callback(state, value, method, arguments)
            }
            // It makes room for any width before a step is paid, and no template seen calls it.
            "format" => Err(Error::from(ErrorKind::UnknownMethod)),
            _ => pycompat::unknown_method_callback(state, value, method, arguments),
        },
        (ValueKind::Map, _) => pycompat::unknown_method_callback(state, value, method, arguments),
        // `count` of a list compares without using fuel, and no template seen calls it.
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

/// Each character of a text may be compared with each of those to strip, which the engine takes
/// for free.
fn charge_strip(state: &State, text: &str, arguments: &[Value]) -> Result<(), Error> {
    let characters = arguments.first().and_then(Value::as_str).unwrap_or("");
    state.consume_fuel((text.len() as u64 / 64) * (characters.len() as u64 / 64))
}

fn rsplit(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, limit): (&str, Option<i64>) = from_args(arguments)?;
    if separator.is_empty() {
        return Err(Error::new(ErrorKind::InvalidOperation, "empty separator"));
    }
    let limit = limit.and_then(|limit| usize::try_from(limit).ok());
    let parts = limit.map_or(usize::MAX, |limit| limit.saturating_add(1));
    let mut parts: Vec<Value> = text.rsplitn(parts, separator).map(Value::from).collect();
    parts.reverse();
    Ok(Value::from(parts))
}

/// Python begins a word behind everything that is no letter (`They'Re`), the engine's filter only
/// behind white space and a few signs.
fn title(text: &str) -> String {
    let mut is_in_word = false;
    let mut result = String::with_capacity(text.len());
    for character in text.chars() {
        if is_in_word {
            result.extend(character.to_lowercase());
        } else {
            result.extend(character.to_uppercase());
        }
        is_in_word = character.is_alphabetic();
    }
    result
}

/// Serialises as Python's `json.dumps`.
pub(super) fn to_json(value: &impl Serialize, indent: Option<usize>) -> serde_json::Result<String> {
    let mut bytes = Vec::new();
    match indent {
        None => value.serialize(&mut Serializer::with_formatter(&mut bytes, PythonFormatter))?,
        Some(indent) => {
            let spaces = " ".repeat(indent);
            let formatter = PrettyFormatter::with_indent(spaces.as_bytes());
            value.serialize(&mut Serializer::with_formatter(&mut bytes, formatter))?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Compact, but with a space behind each comma and colon.
struct PythonFormatter;

impl Formatter for PythonFormatter {
    fn begin_array_value<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_key<W: ?Sized + io::Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        if first {
            Ok(())
        } else {
            writer.write_all(b", ")
        }
    }

    fn begin_object_value<W: ?Sized + io::Write>(&mut self, writer: &mut W) -> io::Result<()> {
        CompactFormatter.begin_object_value(writer)?;
        writer.write_all(b" ")
    }
}
