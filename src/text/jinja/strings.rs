//! The methods of Python's strings.

mod case;
mod cut;
mod fill;
mod search;

pub(super) use self::case::{capitalized, is_lower, is_upper, lowered, titled_words, uppered};
pub(super) use self::cut::{lines, stripped};
pub(super) use self::fill::{centered, joined, replaced};

use super::calls::{Call, integer, number_flag, required, text};
use super::format::format_braces;
use super::lexer::is_space;
use super::meter::Meter;
use super::print::is_printable;
use super::text::Text;
use super::value::{List, Result, Value, failure, unsupported};

/// Calls a method of a string.
pub(super) fn call(text: &Text, method: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    meter.bytes(text.as_str().len())?;
    match method {
        "split" | "rsplit" | "splitlines" | "partition" | "rpartition" | "strip" | "lstrip"
        | "rstrip" | "removeprefix" | "removesuffix" => cut(text, method, call),
        "find" | "rfind" | "index" | "rindex" | "count" | "startswith" | "endswith" => {
            search::call(text, method, call)
        }
        "ljust" | "rjust" | "center" | "zfill" | "join" | "replace" => fill(text, method, call),
        "format" => format_braces(text, call).map(Value::Str),
        "upper" | "lower" | "title" | "capitalize" | "swapcase" | "casefold" => {
            let [] = call.bind([])?;
            changed_case(text, method, meter).map(Value::Str)
        }
        _ if method.starts_with("is") => {
            let [] = call.bind([])?;
            is(text, method).map(Value::Bool)
        }
        _ => Err(unsupported(format!("the method `{method}` of a string"))),
    }
}

fn cut(value: &Text, method: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    match method {
        "split" | "rsplit" => {
            let [separator, limit] = call.bind(["sep", "maxsplit"])?;
            let limit = integer(limit, "maxsplit")?;
            let limit = limit.and_then(|limit| usize::try_from(limit).ok());
            let limit = limit.unwrap_or(usize::MAX);
            let parts = match separator {
                None | Some(Value::None) => cut::at_spaces(value, limit, method == "rsplit", meter),
                separator => {
                    let separator = text(separator, "sep")?;
                    cut::at(value, separator.as_str(), limit, method == "rsplit", meter)
                }
            }?;
            list_of(value, parts, meter).map(Value::List)
        }
        "splitlines" => {
            let [keeps_ends] = call.bind(["keepends"])?;
            let parts = lines(value, number_flag(keeps_ends, false)?, meter)?;
            list_of(value, parts, meter).map(Value::List)
        }
        "partition" | "rpartition" => {
            let [separator] = call.bind_positional()?;
            let separator = text(separator, "sep")?;
            let parts = cut::partition(value, separator.as_str(), method, meter)?;
            list_of(value, parts, meter).map(Value::Tuple)
        }
        "removeprefix" | "removesuffix" => {
            let [affix] = call.bind_positional()?;
            let affix = text(affix, "affix")?;
            cut::without_affix(value, affix.as_str(), method, meter).map(Value::Str)
        }
        _ => {
            let [characters] = call.bind_positional()?;
            let sides = [method != "rstrip", method != "lstrip"];
            stripped(value, characters, sides, meter).map(Value::Str)
        }
    }
}

/// Parts of a text as a list whose length its authors decided.
pub(super) fn list_of(text: &Text, parts: Vec<Text>, meter: &Meter) -> Result<List> {
    let items = parts.into_iter().map(Value::Str).collect();
    List::cut_by(items, text.foreign_author(), meter)
}

fn fill(value: &Text, method: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    match method {
        "join" => {
            let [items] = call.bind_positional()?;
            let items = required(items, "iterable")?;
            items.check_defined()?;
            let items = items.to_list(meter)?;
            if items
                .items()
                .iter()
                .any(|item| !matches!(item, Value::Str(_)))
            {
                return Err(failure("`join` takes strings only"));
            }
            joined(value, &items, meter).map(Value::Str)
        }
        "replace" => {
            let [old, new, count] = call.bind_positional()?;
            let (old, new) = (text(old, "old")?, text(new, "new")?);
            let count = integer(count, "count")?;
            let count = count.and_then(|count| usize::try_from(count).ok());
            replaced(value, &old, &new, count, meter).map(Value::Str)
        }
        "zfill" => {
            let [width] = call.bind_positional()?;
            let width = integer(Some(required(width, "width")?), "width")?;
            fill::with_zeros(value, width, meter).map(Value::Str)
        }
        _ => {
            let [width, fill] = call.bind_positional()?;
            let width = integer(Some(required(width, "width")?), "width")?;
            let fill = fill.map(|fill| text(Some(fill), "fillchar")).transpose()?;
            fill::padded(value, width, fill, method, meter).map(Value::Str)
        }
    }
}

fn changed_case(text: &Text, method: &str, meter: &Meter) -> Result<Text> {
    match method {
        "upper" => uppered(text, meter),
        "lower" => lowered(text, meter),
        "title" => case::titled(text, meter),
        "capitalize" => capitalized(text, meter),
        "swapcase" if text.as_str().is_ascii() => case::swapped(text, meter),
        "casefold" if text.as_str().is_ascii() => lowered(text, meter),
        _ => Err(unsupported(format!("`{method}` beyond ASCII"))),
    }
}

fn is(text: &Text, method: &str) -> Result<bool> {
    let string = text.as_str();
    let all = |is: fn(char) -> bool| !string.is_empty() && string.chars().all(is);
    Ok(match method {
        "isascii" => string.is_ascii(),
        "islower" => is_lower(text),
        "isupper" => is_upper(text),
        "isspace" => all(is_space),
        "isprintable" => string.chars().all(is_printable),
        "isalpha" => all_known(string, |c| c.is_ascii_alphabetic(), is_letter)?,
        "isalnum" => all_known(string, |c| c.is_ascii_alphanumeric(), is_letter)?,
        "isdigit" | "isdecimal" | "isnumeric" => {
            let is_digit = |c: char| if c.is_numeric() { None } else { Some(false) };
            all_known(string, |c| c.is_ascii_digit(), is_digit)?
        }
        _ => return Err(unsupported(format!("the method `{method}` of a string"))),
    })
}

/// Whether a character beyond ASCII is a letter, where that is known.
fn is_letter(c: char) -> Option<bool> {
    let is_known = matches!(c,
        'à'..='ö' | 'ø'..='ÿ' | 'À'..='Ö' | 'Ø'..='ß' | 'Ā'..='ƿ' | 'Α'..='Ρ' | 'Σ'..='ώ'
        | 'А'..='я' | 'ѐ'..='ѿ' | 'א'..='ת' | 'ぁ'..='ゖ' | 'ァ'..='ヺ'
        | '\u{4e00}'..='\u{9fff}' | '\u{ac00}'..='\u{d7a3}');
    match is_known {
        true => Some(true),
        false if !c.is_alphanumeric() => Some(false),
        false => None,
    }
}

fn all_known(
    string: &str,
    is_ascii_one: fn(&char) -> bool,
    is_one: fn(char) -> Option<bool>,
) -> Result<bool> {
    for c in string.chars() {
        let found = match c.is_ascii() {
            true => is_ascii_one(&c),
            false => is_one(c).ok_or_else(|| unsupported(format!("the kind of `{c}`")))?,
        };
        if !found {
            return Ok(false);
        }
    }
    Ok(!string.is_empty())
}
