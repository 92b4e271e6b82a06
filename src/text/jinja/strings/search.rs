//! Finding strings in strings.

use crate::text::jinja::attributes::part;
use crate::text::jinja::calls::{Call, integer, required, text};
use crate::text::jinja::meter::Meter;
use crate::text::jinja::text::Text;
use crate::text::jinja::value::{Result, Value, failure};

/// Calls a method that looks for something between two bounds.
pub(super) fn call(value: &Text, method: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let [sought, start, end] = call.bind_positional()?;
    let not_none = |bound: Option<Value>| bound.filter(|bound| !matches!(bound, Value::None));
    let start = integer(not_none(start), "start")?;
    let end = integer(not_none(end), "end")?;
    let window = window(value, start, end, meter)?;
    match method {
        "startswith" | "endswith" => {
            let sought = required(sought, "prefix")?;
            affix(window.as_ref().map(|(text, _)| text), &sought, method).map(Value::Bool)
        }
        "count" => {
            let sought = text(sought, "sub")?;
            let count = window.map_or(0, |(window, _)| match sought.is_empty() {
                true => window.num_chars() + 1,
                false => window.as_str().matches(sought.as_str()).count(),
            });
            Ok(Value::Int(count as i64))
        }
        _ => {
            let sought = text(sought, "sub")?;
            let at = window.and_then(|(window, offset)| {
                let at = match method {
                    "find" | "index" => window.as_str().find(sought.as_str()),
                    _ => window.as_str().rfind(sought.as_str()),
                }?;
                Some(offset + window.as_str()[..at].chars().count())
            });
            match at {
                Some(at) => Ok(Value::Int(at as i64)),
                None if method.ends_with("find") => Ok(Value::Int(-1)),
                None => Err(failure("the substring is not found")),
            }
        }
    }
}

/// The text between two bounds, and where it begins, in characters.
fn window(
    text: &Text,
    start: Option<i64>,
    end: Option<i64>,
    meter: &Meter,
) -> Result<Option<(Text, usize)>> {
    if start.is_none() && end.is_none() {
        return Ok(Some((text.clone(), 0)));
    }
    let len = text.num_chars() as i64;
    let clamped = |bound: i64| match bound < 0 {
        true => bound.saturating_add(len).max(0),
        false => bound,
    };
    let (start, end) = (
        clamped(start.unwrap_or(0)),
        clamped(end.unwrap_or(len)).min(len),
    );
    if start > end {
        return Ok(None);
    }
    let window = part(text, start as usize, end as usize, meter)?;
    Ok(Some((window, start as usize)))
}

fn affix(window: Option<&Text>, sought: &Value, method: &str) -> Result<bool> {
    let is_there = |affix: &Text| {
        window.is_some_and(|window| match method {
            "startswith" => window.as_str().starts_with(affix.as_str()),
            _ => window.as_str().ends_with(affix.as_str()),
        })
    };
    let wrong = || failure(format!("`{method}` takes a string or a tuple of strings"));
    match sought {
        Value::Str(affix) => Ok(is_there(affix)),
        Value::Tuple(affixes) => {
            for affix in affixes.items() {
                let Value::Str(affix) = affix else {
                    return Err(wrong());
                };
                if is_there(affix) {
                    return Ok(true);
                }
            }
            Ok(false)
        }
        _ => Err(wrong()),
    }
}
