//! Filters of text.

use super::{Call, Result, Text, Value, failure, flag, integer, required, unsupported};
use crate::text::jinja::attributes::part;
use crate::text::jinja::calls::size;
use crate::text::jinja::format::format_percent;
use crate::text::jinja::meter::Meter;
use crate::text::jinja::strings::{
    capitalized, centered, lines, lowered, replaced, stripped, titled_words, uppered,
};
use crate::text::jinja::text::{Author, TextBuilder};
use crate::text::jinja::value::Dict;

pub(super) fn apply(value: Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    match call.name {
        "string" | "safe" | "escape" | "e" | "forceescape" => {
            let name = call.name;
            let [] = call.bind([])?;
            marked(value, name, meter)
        }
        "upper" | "lower" | "capitalize" | "title" | "wordcount" => {
            let name = call.name;
            let [] = call.bind([])?;
            let text = value.to_text(meter)?;
            match name {
                "upper" => uppered(&text, meter).map(Value::Str),
                "lower" => lowered(&text, meter).map(Value::Str),
                "capitalize" => capitalized(&text, meter).map(Value::Str),
                "title" => titled_words(&text, meter).map(Value::Str),
                _ => wordcount(&text, meter),
            }
        }
        "trim" => {
            let [characters] = call.bind(["chars"])?;
            stripped(&value.to_text(meter)?, characters, [true, true], meter).map(Value::Str)
        }
        "replace" => replace(&value, call).map(Value::Str),
        "center" => {
            let [width] = call.bind(["width"])?;
            let width = integer(width, "width")?.unwrap_or(80);
            centered(&value.to_text(meter)?, width, meter).map(Value::Str)
        }
        "indent" => indent(&value, call).map(Value::Str),
        "truncate" => truncate(&value, call).map(Value::Str),
        "format" => format(&value, call),
        "urlencode" => {
            let [] = call.bind([])?;
            urlencode(&value, meter).map(Value::Str)
        }
        name => Err(unsupported(format!("the filter `{name}`"))),
    }
}

/// The text of a value as safe HTML, or made so.
fn marked(value: Value, name: &str, meter: &Meter) -> Result<Value> {
    match (name, value) {
        ("string", value @ Value::Markup(_)) => Ok(value),
        ("string", value) => value.to_text(meter).map(Value::Str),
        ("safe" | "escape" | "e", Value::Markup(text)) => Ok(Value::Markup(text)),
        ("safe", value) => value.to_text(meter).map(Value::Markup),
        (_, value) => escaped(&value.to_text(meter)?, meter).map(Value::Markup),
    }
}

fn escaped(text: &Text, meter: &Meter) -> Result<Text> {
    let mut out = TextBuilder::new(meter);
    for (part, author) in text.runs() {
        out.push("", author)?;
        for c in part.chars() {
            match c {
                '&' => out.push("&amp;", author)?,
                '<' => out.push("&lt;", author)?,
                '>' => out.push("&gt;", author)?,
                '\'' => out.push("&#39;", author)?,
                '"' => out.push("&#34;", author)?,
                c => out.push_char(c, author)?,
            }
        }
    }
    Ok(out.finish())
}

fn wordcount(text: &Text, meter: &Meter) -> Result<Value> {
    meter.bytes(text.as_str().len())?;
    if !text.as_str().is_ascii() {
        return Err(unsupported("`wordcount` beyond ASCII"));
    }
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = text.as_str().split(|c| !is_word(c));
    let count = words.filter(|word| !word.is_empty()).count();
    Ok(Value::Int(count as i64))
}

fn replace(value: &Value, call: Call<'_>) -> Result<Text> {
    let meter = call.meter;
    let [old, new, count] = call.bind(["old", "new", "count"])?;
    let count = match count {
        Some(Value::None) => None,
        count => integer(count, "count")?,
    };
    let count = count.and_then(|count| usize::try_from(count).ok());
    let old = required(old, "old")?.to_text(meter)?;
    let new = required(new, "new")?.to_text(meter)?;
    replaced(&value.to_text(meter)?, &old, &new, count, meter)
}

/// `indent(width=4, first=False, blank=False)`.
fn indent(value: &Value, call: Call<'_>) -> Result<Text> {
    let meter = call.meter;
    let [width, first, blank] = call.bind(["width", "first", "blank"])?;
    let Value::Str(text) = value else {
        return Err(failure(format!("a {} is not indented", value.kind_name())));
    };
    let indentation = match width {
        Some(Value::Str(text)) => text,
        width => {
            let mut spaces = TextBuilder::new(meter);
            let space = Text::new(" ", Author::Computed, meter)?;
            spaces.push_repeated(&space, size(width, "width", 4)?)?;
            spaces.finish()
        }
    };
    let (is_first_indented, are_blank_indented) = (flag(first, false), flag(blank, false));
    let mut out = TextBuilder::new(meter);
    // Lines are ended here, so that a last empty one counts.
    let mut ended = TextBuilder::new(meter);
    ended.push_text(text)?;
    ended.push("\n", Author::Computed)?;
    for (index, line) in lines(&ended.finish(), false, meter)?.iter().enumerate() {
        let is_indented = match index {
            0 => is_first_indented,
            _ => are_blank_indented || !line.is_empty(),
        };
        if index > 0 {
            out.push("\n", Author::Computed)?;
        }
        if is_indented {
            // What parts the lines of a text is its authors'.
            let author = text.foreign_author();
            match author {
                Some(author) => out.push(indentation.as_str(), author)?,
                None => out.push_text(&indentation)?,
            }
        }
        out.push_text(line)?;
    }
    Ok(out.finish())
}

/// `truncate(length=255, killwords=False, end='...', leeway=5)`.
fn truncate(value: &Value, call: Call<'_>) -> Result<Text> {
    let meter = call.meter;
    let [length, killwords, end, leeway] = call.bind(["length", "killwords", "end", "leeway"])?;
    let Value::Str(text) = value else {
        return Err(failure(format!("a {} is not cut", value.kind_name())));
    };
    let length = size(length, "length", 255)?;
    let leeway = match leeway {
        Some(Value::None) => 5,
        leeway => size(leeway, "leeway", 5)?,
    };
    let end = match end {
        None => Text::new("...", Author::Computed, meter)?,
        Some(end) => end.to_text(meter)?,
    };
    let room = length.checked_sub(end.num_chars());
    let room = room.ok_or_else(|| failure("the end is longer than the length"))?;
    if text.num_chars() <= length.saturating_add(leeway) {
        return Ok(text.clone());
    }
    let mut cut = part(text, 0, room, meter)?;
    if !flag(killwords, false)
        && let Some(at) = cut.as_str().rfind(' ')
    {
        cut = cut.slice(0..at, meter)?;
    }
    let mut out = TextBuilder::new(meter);
    out.push_text(&cut)?;
    out.push_text(&end)?;
    Ok(out.finish())
}

/// `format % arguments`, or the named ones.
fn format(value: &Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let text = value.to_text(meter)?;
    let arguments = match (call.positional.is_empty(), call.named.is_empty()) {
        (false, false) => return Err(failure("`format` takes arguments of one kind")),
        (_, true) => Value::tuple(call.positional, meter)?,
        (true, false) => {
            let mut entries = Vec::new();
            for (name, value) in call.named {
                entries.push((Value::computed(&name, meter)?, value));
            }
            Value::Dict(Dict::new(entries, meter)?)
        }
    };
    format_percent(&text, &arguments, meter)
}

fn urlencode(value: &Value, meter: &Meter) -> Result<Text> {
    let Value::Str(text) = value else {
        return Err(unsupported(format!(
            "`urlencode` of a {}",
            value.kind_name()
        )));
    };
    let mut out = TextBuilder::new(meter);
    for (part, author) in text.runs() {
        out.push("", author)?;
        for c in part.chars() {
            if c.is_ascii_alphanumeric() || "_.-~/".contains(c) {
                out.push_char(c, author)?;
                continue;
            }
            for byte in c.encode_utf8(&mut [0; 4]).bytes() {
                out.push(&format!("%{byte:02X}"), Author::Computed)?;
            }
        }
    }
    Ok(out.finish())
}
