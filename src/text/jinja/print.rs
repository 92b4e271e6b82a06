//! How Python prints values.

use super::meter::Meter;
use super::text::{Author, Text, TextBuilder};
use super::value::{Result, Value, unsupported};

impl Value {
    /// The value as `str()` has it.
    pub(super) fn to_text(&self, meter: &Meter) -> Result<Text> {
        if let Some(text) = self.as_text() {
            return Ok(text.clone());
        }
        let mut builder = TextBuilder::new(meter);
        self.print(&mut builder)?;
        Ok(builder.finish())
    }

    /// Prints the value as `str()` has it.
    pub(super) fn print(&self, out: &mut TextBuilder<'_>) -> Result<()> {
        match self {
            Self::Str(text) | Self::Markup(text) => out.push_text(text),
            Self::Undefined(_) => Ok(()),
            _ => self.print_repr(out),
        }
    }

    /// Prints the value as `repr()` has it.
    pub(super) fn print_repr(&self, out: &mut TextBuilder<'_>) -> Result<()> {
        out.meter().steps(1)?;
        match self {
            Self::Undefined(_) => out.push("Undefined", Author::Computed),
            Self::None => out.push("None", Author::Computed),
            Self::Bool(true) => out.push("True", Author::Computed),
            Self::Bool(false) => out.push("False", Author::Computed),
            Self::Int(value) => out.push(&value.to_string(), Author::Computed),
            Self::Float(value) => out.push(&float(*value), Author::Computed),
            Self::Str(text) => print_quoted(text, out),
            Self::List(list) => print_items(list.items(), ["[", "]"], out),
            Self::Tuple(list) => {
                let end = if list.len() == 1 { ",)" } else { ")" };
                print_items(list.items(), ["(", end], out)
            }
            Self::Dict(dict) => {
                out.push("{", Author::Computed)?;
                for (index, (key, value)) in dict.entries().iter().enumerate() {
                    if index > 0 {
                        out.push(", ", Author::Computed)?;
                    }
                    key.print_repr(out)?;
                    out.push(": ", Author::Computed)?;
                    value.print_repr(out)?;
                }
                out.push("}", Author::Computed)
            }
            Self::Range(range) => {
                let (start, stop, step) = (range.start, range.stop, range.step);
                let text = match step {
                    1 => format!("range({start}, {stop})"),
                    _ => format!("range({start}, {stop}, {step})"),
                };
                out.push(&text, Author::Computed)
            }
            _ => Err(unsupported(format!("printing a {}", self.kind_name()))),
        }
    }
}

fn print_items(items: &[Value], ends: [&str; 2], out: &mut TextBuilder<'_>) -> Result<()> {
    out.push(ends[0], Author::Computed)?;
    for (index, item) in items.iter().enumerate() {
        if index > 0 {
            out.push(", ", Author::Computed)?;
        }
        item.print_repr(out)?;
    }
    out.push(ends[1], Author::Computed)
}

fn print_quoted(text: &Text, out: &mut TextBuilder<'_>) -> Result<()> {
    let string = text.as_str();
    let quote = if string.contains('\'') && !string.contains('"') {
        '"'
    } else {
        '\''
    };
    out.push_char(quote, Author::Computed)?;
    for (part, author) in text.runs() {
        out.push("", author)?;
        for c in part.chars() {
            match c {
                '\\' => out.push("\\\\", author)?,
                '\n' => out.push("\\n", author)?,
                '\r' => out.push("\\r", author)?,
                '\t' => out.push("\\t", author)?,
                c if c == quote => out.push(&format!("\\{c}"), author)?,
                c if is_printable(c) => out.push_char(c, author)?,
                c => {
                    let code = u32::from(c);
                    let escape = match code {
                        0..=0xff => format!("\\x{code:02x}"),
                        0x100..=0xffff => format!("\\u{code:04x}"),
                        _ => format!("\\U{code:08x}"),
                    };
                    out.push(&escape, author)?;
                }
            }
        }
    }
    out.push_char(quote, Author::Computed)
}

/// `str.isprintable` of one character.
pub(super) fn is_printable(c: char) -> bool {
    if c.is_ascii() {
        return !c.is_ascii_control();
    }
    // Rust prints text by the same rule, but escapes a combining character that comes first.
    format!("{:?}", format!("a{c}")).contains(c)
}

/// `repr` of a float: the shortest digits that read back the same.
pub(super) fn float(value: f64) -> String {
    if value.is_nan() {
        return "nan".to_string();
    }
    if value.is_infinite() {
        return if value > 0.0 { "inf" } else { "-inf" }.to_string();
    }
    let scientific = format!("{value:e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or_default();
    if (-4..16).contains(&exponent) {
        let plain = format!("{value}");
        let has_point = plain.contains('.');
        return if has_point {
            plain
        } else {
            format!("{plain}.0")
        };
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.abs())
}
