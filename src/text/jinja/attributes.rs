//! `value.name`, `value[key]` and `value[start:stop:step]`.

use std::rc::Rc;

use super::compare::Number;
use super::meter::Meter;
use super::text::{Text, TextBuilder};
use super::value::{List, LoopValue, Range, Result, Value, failure, unsupported};

const STR_METHODS: [&str; 40] = [
    "capitalize",
    "casefold",
    "center",
    "count",
    "encode",
    "endswith",
    "expandtabs",
    "find",
    "format",
    "format_map",
    "index",
    "isalnum",
    "isalpha",
    "isascii",
    "isdecimal",
    "isdigit",
    "isidentifier",
    "islower",
    "isnumeric",
    "isprintable",
    "isspace",
    "istitle",
    "isupper",
    "join",
    "ljust",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "replace",
    "rfind",
    "rindex",
    "rjust",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
];
const MORE_STR_METHODS: [&str; 7] = [
    "strip",
    "swapcase",
    "title",
    "translate",
    "upper",
    "zfill",
    "maketrans",
];
const DICT_METHODS: [&str; 5] = ["copy", "get", "items", "keys", "values"];
/// A sandbox keeps templates from calling these.
const UNSAFE_DICT_METHODS: [&str; 6] = [
    "clear",
    "fromkeys",
    "pop",
    "popitem",
    "setdefault",
    "update",
];
const LIST_METHODS: [&str; 3] = ["copy", "count", "index"];
const UNSAFE_LIST_METHODS: [&str; 8] = [
    "append", "clear", "extend", "insert", "pop", "remove", "reverse", "sort",
];
const NUMBER_ATTRIBUTES: [&str; 12] = [
    "as_integer_ratio",
    "bit_count",
    "bit_length",
    "conjugate",
    "denominator",
    "from_bytes",
    "fromhex",
    "hex",
    "imag",
    "is_integer",
    "numerator",
    "real",
];

/// `value.name`: an attribute, or else an item.
pub(super) fn attribute(value: &Value, name: &str, meter: &Meter) -> Result<Value> {
    if let Some(found) = own_attribute(value, name)? {
        return Ok(found);
    }
    let item = match value {
        Value::Dict(dict) => dict.get_str(name, meter)?.cloned(),
        _ => None,
    };
    Ok(item.unwrap_or_else(|| Value::undefined(name)))
}

/// `value.name`, but never an item.
pub(super) fn only_attribute(value: &Value, name: &str, meter: &Meter) -> Result<Value> {
    meter.steps(1)?;
    let found = own_attribute(value, name)?;
    Ok(found.unwrap_or_else(|| Value::undefined(name)))
}

/// What Python's `getattr` finds.
fn own_attribute(value: &Value, name: &str) -> Result<Option<Value>> {
    value.check_defined()?;
    if name.starts_with("__") {
        return Err(unsupported(format!("the attribute `{name}`")));
    }
    let groups: [&[&'static str]; 2] = match value {
        Value::Str(_) => [&STR_METHODS, &MORE_STR_METHODS],
        Value::Dict(_) => [&DICT_METHODS, &[]],
        Value::List(_) => [&LIST_METHODS, &[]],
        Value::Tuple(_) | Value::Range(_) => [&LIST_METHODS[1..], &[]],
        Value::Loop(_) => [&["cycle", "changed"], &[]],
        Value::Cycler(_) => [&["next", "reset"], &[]],
        _ => [&[], &[]],
    };
    let mut methods = groups.into_iter().flatten();
    if let Some(method) = methods.find(|method| **method == name) {
        return Ok(Some(Value::Method(Rc::new((value.clone(), method)))));
    }
    let is_unsafe = match value {
        Value::Dict(_) => UNSAFE_DICT_METHODS.contains(&name),
        Value::List(_) => UNSAFE_LIST_METHODS.contains(&name),
        _ => false,
    };
    if is_unsafe {
        return Err(failure(format!("`{name}` is not safe to call")));
    }
    match value {
        Value::Namespace(namespace) => Ok(namespace.get(name)),
        Value::Loop(state) => loop_attribute(state, name),
        Value::Range(range) => Ok(range_attribute(*range, name)),
        Value::Cycler(cycler) if name == "current" => {
            Ok(cycler.items.items().get(cycler.next.get()).cloned())
        }
        Value::Bool(_) | Value::Int(_) | Value::Float(_) if NUMBER_ATTRIBUTES.contains(&name) => {
            Err(unsupported(format!("the attribute `{name}` of a number")))
        }
        Value::Markup(_)
        | Value::View(_)
        | Value::Iterator(_)
        | Value::Macro(_)
        | Value::Method(_)
        | Value::Function(_)
        | Value::Cycler(_)
        | Value::Joiner(_) => Err(unsupported(format!(
            "the attribute `{name}` of a {}",
            value.kind_name()
        ))),
        _ => Ok(None),
    }
}

fn range_attribute(range: Range, name: &str) -> Option<Value> {
    match name {
        "start" => Some(Value::Int(range.start)),
        "stop" => Some(Value::Int(range.stop)),
        "step" => Some(Value::Int(range.step)),
        _ => None,
    }
}

fn loop_attribute(state: &LoopValue, name: &str) -> Result<Option<Value>> {
    let (index, len) = (state.index.get(), state.items.len());
    let number = |number: usize| Some(Value::Int(number as i64));
    let item = |at: Option<usize>| {
        let item = at.and_then(|at| state.items.items().get(at)).cloned();
        Some(item.unwrap_or_else(|| Value::undefined(name)))
    };
    Ok(match name {
        "index" => number(index + 1),
        "index0" => number(index),
        "revindex" => number(len - index),
        "revindex0" => number(len - index - 1),
        "first" => Some(Value::Bool(index == 0)),
        "last" => Some(Value::Bool(index + 1 == len)),
        "length" => number(len),
        "depth" => number(state.depth + 1),
        "depth0" => number(state.depth),
        "previtem" => item(index.checked_sub(1)),
        "nextitem" => item(Some(index + 1)),
        _ => None,
    })
}

/// `value[key]`: an item, or else an attribute.
pub(super) fn item(value: &Value, key: &Value, meter: &Meter) -> Result<Value> {
    value.check_defined()?;
    let found = match (value, key.as_number()) {
        (Value::Dict(dict), _) => match key.check_hashable(meter) {
            Ok(()) => dict.get(key, meter)?.cloned(),
            Err(_no_key) => None,
        },
        (_, Some(Number::Int(index))) => at(value, index, meter)?,
        _ => None,
    };
    if let Some(found) = found {
        return Ok(found);
    }
    if let Value::Str(name) = key
        && let Some(found) = own_attribute(value, name.as_str())?
    {
        return Ok(found);
    }
    let name = match key {
        Value::Str(name) => super::excerpt(name.as_str()),
        Value::Int(index) => index.to_string(),
        _ => "item".to_string(),
    };
    Ok(Value::undefined(&name))
}

/// The item with an index; one below zero counts from the end.
fn at(value: &Value, index: i64, meter: &Meter) -> Result<Option<Value>> {
    let within = |len: usize| {
        let index = if index < 0 { index + len as i64 } else { index };
        usize::try_from(index).ok().filter(|index| *index < len)
    };
    Ok(match value {
        Value::List(list) | Value::Tuple(list) => {
            within(list.len()).map(|index| list.items()[index].clone())
        }
        Value::Range(range) => within(range.len()).map(|index| range.get(index)),
        Value::Str(text) => match within(text.num_chars()) {
            Some(index) => Some(Value::Str(part(text, index, index + 1, meter)?)),
            None => None,
        },
        Value::Markup(_) => return Err(unsupported("an item of a safe string")),
        _ => None,
    })
}

/// Some characters of a text.
pub(super) fn part(text: &Text, start: usize, end: usize, meter: &Meter) -> Result<Text> {
    let bytes = text.byte_of(start, meter)?..text.byte_of(end, meter)?;
    text.slice(bytes, meter)
}

/// `value[start:stop:step]`.
pub(super) fn slice(value: &Value, bounds: [Option<Value>; 3], meter: &Meter) -> Result<Value> {
    value.check_defined()?;
    let [start, stop, step] = bounds;
    let bound = |value: Option<Value>| match value {
        None | Some(Value::None) => Some(None),
        Some(value) => match value.as_number() {
            Some(Number::Int(bound)) => Some(Some(bound)),
            _ => None,
        },
    };
    // What is no slice is no error, but like any item that is not there.
    let (Some(start), Some(stop), Some(step)) = (bound(start), bound(stop), bound(step)) else {
        return Ok(Value::undefined("a slice"));
    };
    let step = step.unwrap_or(1);
    let is_sliced = matches!(value, Value::List(_) | Value::Tuple(_) | Value::Str(_));
    if step == 0 && is_sliced {
        return Err(failure("the step of a slice is zero"));
    }
    let indices = |len: usize| indices(len, start, stop, step, meter);
    match value {
        Value::List(list) => sliced(list, &indices(list.len())?, meter).map(Value::List),
        Value::Tuple(list) => sliced(list, &indices(list.len())?, meter).map(Value::Tuple),
        Value::Str(text) if step == 1 => {
            let (start, stop) = contiguous(text.num_chars(), start, stop);
            part(text, start, stop, meter).map(Value::Str)
        }
        Value::Str(text) => picked(text, &indices(text.num_chars())?, meter).map(Value::Str),
        // Python fails or finds nothing, by how the value is written.
        _ => Err(unsupported(format!("slicing a {}", value.kind_name()))),
    }
}

fn sliced(list: &List, indices: &[usize], meter: &Meter) -> Result<List> {
    let items = indices.iter().map(|at| list.items()[*at].clone());
    List::cut_by(items.collect(), list.author_of_cuts(), meter)
}

fn picked(text: &Text, indices: &[usize], meter: &Meter) -> Result<Text> {
    meter.values(text.num_chars())?;
    let characters: Vec<_> = text.chars().collect();
    let foreign = text.foreign_author();
    let mut builder = TextBuilder::new(meter);
    let mut next = None;
    for at in indices {
        // What stood between characters that come to stand side by side still parts them.
        if let Some(author) = foreign.filter(|_| next != Some(*at)) {
            builder.push("", author)?;
        }
        let (c, author) = characters[*at];
        builder.push_char(c, author)?;
        next = Some(at + 1);
    }
    if let Some(author) = foreign {
        builder.push("", author)?;
    }
    Ok(builder.finish())
}

fn clamped(bound: i64, len: i64, lowest: i64, highest: i64) -> i64 {
    let bound = if bound < 0 {
        bound.saturating_add(len)
    } else {
        bound
    };
    bound.clamp(lowest, highest)
}

/// The bounds of a slice without a step.
fn contiguous(len: usize, start: Option<i64>, stop: Option<i64>) -> (usize, usize) {
    let len = len as i64;
    let start = start.map_or(0, |start| clamped(start, len, 0, len));
    let stop = stop.map_or(len, |stop| clamped(stop, len, 0, len));
    (start as usize, stop.max(start) as usize)
}

/// The indices that a slice picks.
fn indices(
    len: usize,
    start: Option<i64>,
    stop: Option<i64>,
    step: i64,
    meter: &Meter,
) -> Result<Vec<usize>> {
    let len = len as i64;
    let (lowest, highest) = if step > 0 { (0, len) } else { (-1, len - 1) };
    let (first, end) = if step > 0 { (0, len) } else { (len - 1, -1) };
    let start = start.map_or(first, |start| clamped(start, len, lowest, highest));
    let stop = stop.map_or(end, |stop| clamped(stop, len, lowest, highest));
    let range = Range { start, stop, step };
    meter.values(range.len())?;
    Ok((0..range.len())
        .map(|at| (range.start + range.step * at as i64) as usize)
        .collect())
}
