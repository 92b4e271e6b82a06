//! `tojson`, which `transformers` makes Python's `json.dumps`.

use super::calls::Call;
use super::compare::sort_by_key;
use super::meter::Meter;
use super::print::float;
use super::text::{Author, Text, TextBuilder};
use super::value::{Dict, Result, Value, failure, unsupported};

/// Widest indentation.
const MAX_INDENT: usize = 64;

struct Style {
    is_ascii: bool,
    indent: Option<Text>,
    separators: [Text; 2],
    is_sorted: bool,
}

/// The filter `tojson(ensure_ascii=False, indent=None, separators=None, sort_keys=False)`.
pub(super) fn to_json(value: &Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let names = ["ensure_ascii", "indent", "separators", "sort_keys"];
    let [is_ascii, indent, separators, is_sorted] = call.bind(names)?;
    let is_set = |value: &Option<Value>| value.as_ref().is_some_and(Value::is_true);
    let indent = indentation(indent, meter)?;
    let style = Style {
        is_ascii: is_set(&is_ascii),
        separators: separators_of(separators, indent.is_some(), meter)?,
        is_sorted: is_set(&is_sorted),
        indent,
    };
    let mut out = TextBuilder::new(meter);
    style.write(value, 0, &mut out)?;
    Ok(Value::Str(out.finish()))
}

fn indentation(indent: Option<Value>, meter: &Meter) -> Result<Option<Text>> {
    match indent {
        None | Some(Value::None) => Ok(None),
        Some(Value::Str(text)) if text.num_chars() <= MAX_INDENT => Ok(Some(text)),
        Some(value) => {
            let width = match value.as_number() {
                Some(super::compare::Number::Int(width)) => usize::try_from(width).unwrap_or(0),
                _ => return Err(failure("an indent is a number or a string")),
            };
            if width > MAX_INDENT {
                return Err(unsupported(format!("an indent of more than {MAX_INDENT}")));
            }
            Text::new(&" ".repeat(width), Author::Computed, meter).map(Some)
        }
    }
}

fn separators_of(separators: Option<Value>, is_indented: bool, meter: &Meter) -> Result<[Text; 2]> {
    let own = |text| Text::new(text, Author::Computed, meter);
    match separators {
        None | Some(Value::None) => Ok([own(if is_indented { "," } else { ", " })?, own(": ")?]),
        Some(value) => match value.items(meter)?.as_slice() {
            [Value::Str(item), Value::Str(key)] => Ok([item.clone(), key.clone()]),
            _ => Err(failure("separators are two strings")),
        },
    }
}

impl Style {
    fn write(&self, value: &Value, level: usize, out: &mut TextBuilder<'_>) -> Result<()> {
        out.meter().steps(1)?;
        match value {
            Value::Str(text) => self.write_string(text, out),
            Value::List(list) | Value::Tuple(list) => {
                let items = list.items();
                self.write_all(items.len(), ["[", "]"], level, out, |at, out| {
                    self.write(&items[at], level + 1, out)
                })
            }
            Value::Dict(dict) => self.write_dict(dict, level, out),
            _ => out.push(&scalar(value)?, Author::Computed),
        }
    }

    fn write_dict(&self, dict: &Dict, level: usize, out: &mut TextBuilder<'_>) -> Result<()> {
        out.meter().values(dict.entries().len())?;
        let mut entries = dict.entries().to_vec();
        if self.is_sorted {
            let mut keyed: Vec<(Value, Value)> = Vec::new();
            for (key, value) in entries {
                let pair = Value::tuple(vec![key.clone(), value], out.meter())?;
                keyed.push((key, pair));
            }
            sort_by_key(&mut keyed, false, out.meter())?;
            let pair = |pair: Value| match pair {
                Value::Tuple(pair) => (pair.items()[0].clone(), pair.items()[1].clone()),
                other => (other, Value::None),
            };
            entries = keyed.into_iter().map(|(_, value)| pair(value)).collect();
        }
        self.write_all(entries.len(), ["{", "}"], level, out, |at, out| {
            let (key, value) = &entries[at];
            match key {
                Value::Str(text) => self.write_string(text, out)?,
                Value::Tuple(_) => return Err(failure("a tuple is no key of JSON")),
                key => out.push(&format!("\"{}\"", scalar(key)?), Author::Computed)?,
            }
            out.push_text(&self.separators[1])?;
            self.write(value, level + 1, out)
        })
    }

    fn write_all(
        &self,
        len: usize,
        ends: [&str; 2],
        level: usize,
        out: &mut TextBuilder<'_>,
        write: impl Fn(usize, &mut TextBuilder<'_>) -> Result<()>,
    ) -> Result<()> {
        out.push(ends[0], Author::Computed)?;
        for at in 0..len {
            if at > 0 {
                out.push_text(&self.separators[0])?;
            }
            self.write_line(level + 1, out)?;
            write(at, out)?;
        }
        if len > 0 {
            self.write_line(level, out)?;
        }
        out.push(ends[1], Author::Computed)
    }

    fn write_line(&self, level: usize, out: &mut TextBuilder<'_>) -> Result<()> {
        let Some(indent) = &self.indent else {
            return Ok(());
        };
        out.push("\n", Author::Computed)?;
        out.push_repeated(indent, level)
    }

    fn write_string(&self, text: &Text, out: &mut TextBuilder<'_>) -> Result<()> {
        out.push("\"", Author::Computed)?;
        for (part, author) in text.runs() {
            out.push("", author)?;
            for c in part.chars() {
                match c {
                    '"' => out.push("\\\"", author)?,
                    '\\' => out.push("\\\\", author)?,
                    '\n' => out.push("\\n", author)?,
                    '\r' => out.push("\\r", author)?,
                    '\t' => out.push("\\t", author)?,
                    '\u{8}' => out.push("\\b", author)?,
                    '\u{c}' => out.push("\\f", author)?,
                    c if c < ' ' => out.push(&format!("\\u{:04x}", u32::from(c)), author)?,
                    c if self.is_ascii && !c.is_ascii() => {
                        for unit in c.encode_utf16(&mut [0; 2]) {
                            out.push(&format!("\\u{unit:04x}"), author)?;
                        }
                    }
                    c => out.push_char(c, author)?,
                }
            }
        }
        out.push("\"", Author::Computed)
    }
}

fn scalar(value: &Value) -> Result<String> {
    Ok(match value {
        Value::None => "null".to_string(),
        Value::Bool(value) => value.to_string(),
        Value::Int(value) => value.to_string(),
        Value::Float(value) if value.is_nan() => "NaN".to_string(),
        Value::Float(value) if value.is_infinite() && *value > 0.0 => "Infinity".to_string(),
        Value::Float(value) if value.is_infinite() => "-Infinity".to_string(),
        Value::Float(value) => float(*value),
        Value::Markup(_) => return Err(unsupported("JSON of a safe string")),
        other => {
            return Err(failure(format!(
                "a {} cannot be written as JSON",
                other.kind_name()
            )));
        }
    })
}
