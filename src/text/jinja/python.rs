//! The methods of Python's strings and dictionaries that chat templates call.

use std::io;

use minijinja::value::{Value, ValueKind, from_args};
use minijinja::{Error, ErrorKind, State};
use serde::Serialize;
use serde_json::ser::{CompactFormatter, Formatter, PrettyFormatter, Serializer};

/// Calls a method that the engine does not know.
pub(super) fn call_method(
    state: &mut State,
    value: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match value.kind() {
        ValueKind::String => {
            let text = value.as_str().unwrap_or_default();
            // The result of a method is charged when it is returned; what it reads is not.
            state.consume_fuel(text.len() as u64 / 64)?;
            string_method(text, method, arguments)
        }
        ValueKind::Map => map_method(state, value, method, arguments),
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn string_method(text: &str, method: &str, arguments: &[Value]) -> Result<Value, Error> {
    Ok(match method {
        "strip" => strip(text, arguments, |text, is_cut| text.trim_matches(is_cut))?,
        "lstrip" => strip(text, arguments, |text, is_cut| {
            text.trim_start_matches(is_cut)
        })?,
        "rstrip" => strip(text, arguments, |text, is_cut| {
            text.trim_end_matches(is_cut)
        })?,
        "split" => split(text, arguments)?,
        "rsplit" => rsplit(text, arguments)?,
        "splitlines" => text.lines().map(Value::from).collect(),
        "upper" => without_arguments(text.to_uppercase(), arguments)?,
        "lower" => without_arguments(text.to_lowercase(), arguments)?,
        "capitalize" => without_arguments(capitalize(text), arguments)?,
        "title" => without_arguments(title(text), arguments)?,
        "startswith" => has_affix(arguments, |affix| text.starts_with(affix))?,
        "endswith" => has_affix(arguments, |affix| text.ends_with(affix))?,
        "removeprefix" => {
            let (prefix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_prefix(prefix).unwrap_or(text))
        }
        "removesuffix" => {
            let (suffix,): (&str,) = from_args(arguments)?;
            Value::from(text.strip_suffix(suffix).unwrap_or(text))
        }
        "replace" => replace(text, arguments)?,
        "find" => {
            let (needle,): (&str,) = from_args(arguments)?;
            let place = text
                .find(needle)
                .map(|at| text[..at].chars().count() as i64);
            Value::from(place.unwrap_or(-1))
        }
        "count" => {
            let (needle,): (&str,) = from_args(arguments)?;
            Value::from(text.matches(needle).count())
        }
        "join" => {
            let (items,): (Value,) = from_args(arguments)?;
            let items: Vec<String> = items.try_iter()?.map(|item| item.to_string()).collect();
            Value::from(items.join(text))
        }
        "isdigit" => Value::from(!text.is_empty() && text.chars().all(char::is_numeric)),
        "isspace" => Value::from(!text.is_empty() && text.chars().all(char::is_whitespace)),
        _ => return Err(Error::from(ErrorKind::UnknownMethod)),
    })
}

fn map_method(
    state: &mut State,
    map: &Value,
    method: &str,
    arguments: &[Value],
) -> Result<Value, Error> {
    match method {
        "items" => {
            let () = from_args(arguments)?;
            state.apply_filter("items", std::slice::from_ref(map))
        }
        "keys" => {
            let () = from_args(arguments)?;
            Ok(map.try_iter()?.collect())
        }
        "values" => {
            let () = from_args(arguments)?;
            map.try_iter()?.map(|key| map.get_item(&key)).collect()
        }
        "get" => {
            let (key, default): (Value, Option<Value>) = from_args(arguments)?;
            let value = map.get_item(&key)?;
            let is_absent = value.is_undefined();
            Ok(if is_absent {
                default.unwrap_or(Value::from(()))
            } else {
                value
            })
        }
        _ => Err(Error::from(ErrorKind::UnknownMethod)),
    }
}

fn without_arguments(result: String, arguments: &[Value]) -> Result<Value, Error> {
    let () = from_args(arguments)?;
    Ok(Value::from(result))
}

fn strip(
    text: &str,
    arguments: &[Value],
    cut: impl for<'t> Fn(&'t str, &dyn Fn(char) -> bool) -> &'t str,
) -> Result<Value, Error> {
    let (characters,): (Option<&str>,) = from_args(arguments)?;
    let is_cut = |c: char| characters.map_or(c.is_whitespace(), |set| set.contains(c));
    Ok(Value::from(cut(text, &is_cut)))
}

fn split(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, limit): (Option<&str>, Option<i64>) = from_args(arguments)?;
    let parts = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(usize::MAX, |n| n + 1);
    match separator {
        Some("") => Err(empty_separator()),
        Some(separator) => Ok(text.splitn(parts, separator).map(Value::from).collect()),
        None => Ok(text.split_whitespace().map(Value::from).collect()),
    }
}

fn rsplit(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (separator, limit): (&str, Option<i64>) = from_args(arguments)?;
    if separator.is_empty() {
        return Err(empty_separator());
    }
    let parts = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .map_or(usize::MAX, |n| n + 1);
    let mut parts: Vec<Value> = text.rsplitn(parts, separator).map(Value::from).collect();
    parts.reverse();
    Ok(Value::from(parts))
}

fn empty_separator() -> Error {
    Error::new(ErrorKind::InvalidOperation, "empty separator")
}

fn replace(text: &str, arguments: &[Value]) -> Result<Value, Error> {
    let (old, new, limit): (&str, &str, Option<i64>) = from_args(arguments)?;
    // The number of copies is known before they are made, and so is the room they need.
    let copies = limit
        .and_then(|limit| usize::try_from(limit).ok())
        .unwrap_or(usize::MAX);
    let copies = text.matches(old).take(copies).count();
    if copies.saturating_mul(new.len()) > super::MAX_OUTPUT_BYTES {
        return Err(Error::from(ErrorKind::OutOfFuel));
    }
    Ok(Value::from(text.replacen(old, new, copies)))
}

/// `startswith` and `endswith` take one text or several.
fn has_affix(arguments: &[Value], matches: impl Fn(&str) -> bool) -> Result<Value, Error> {
    let (affix,): (Value,) = from_args(arguments)?;
    if let Some(affix) = affix.as_str() {
        return Ok(Value::from(matches(affix)));
    }
    let mut affixes = affix.try_iter()?;
    Ok(Value::from(
        affixes.any(|affix| affix.as_str().is_some_and(&matches)),
    ))
}

fn capitalize(text: &str) -> String {
    let mut characters = text.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + &characters.as_str().to_lowercase()
}

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
pub(super) fn to_json(value: &Value, indent: Option<usize>) -> serde_json::Result<String> {
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
