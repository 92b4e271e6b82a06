//! Filters that make numbers.

use super::{Call, Number, Result, Value, failure, integer, text, unsupported};

pub(super) fn apply(value: &Value, call: Call<'_>) -> Result<Value> {
    match call.name {
        "abs" => {
            let [] = call.bind([])?;
            value.check_defined()?;
            match value.as_number() {
                Some(Number::Int(value)) => value
                    .checked_abs()
                    .map(Value::Int)
                    .ok_or_else(|| unsupported("an integer of more than 64 bits")),
                Some(Number::Float(value)) => Ok(Value::Float(value.abs())),
                None => Err(failure(format!("a {} has no sign", value.kind_name()))),
            }
        }
        "int" => to_int(value, call),
        "float" => {
            let [default] = call.bind(["default"])?;
            value.check_defined()?;
            let found = match value {
                Value::Str(text) => parsed_float(text.as_str())?,
                other => other.as_number().map(Number::as_float),
            };
            let default = default.unwrap_or(Value::Float(0.0));
            Ok(found.map_or(default, Value::Float))
        }
        _ => round(value, call),
    }
}

fn to_int(value: &Value, call: Call<'_>) -> Result<Value> {
    let [default, base] = call.bind(["default", "base"])?;
    let base = integer(base, "base")?.unwrap_or(10);
    value.check_defined()?;
    let default = default.unwrap_or(Value::Int(0));
    let found = match value {
        Value::Str(text) => match parsed_int(text.as_str(), base)? {
            Some(whole) => Some(whole),
            None => match parsed_float(text.as_str())? {
                Some(value) => truncated(value)?,
                None => None,
            },
        },
        other => match other.as_number() {
            Some(Number::Int(value)) => Some(value),
            Some(Number::Float(value)) => truncated(value)?,
            None => None,
        },
    };
    Ok(found.map_or(default, Value::Int))
}

fn truncated(value: f64) -> Result<Option<i64>> {
    if !value.is_finite() {
        return Err(unsupported("an integer of an infinite float"));
    }
    match value.abs() < 9e18 {
        true => Ok(Some(value.trunc() as i64)),
        false => Err(unsupported("an integer of more than 64 bits")),
    }
}

/// `int(text, base)`.
fn parsed_int(text: &str, base: i64) -> Result<Option<i64>> {
    let text = text.trim_matches(crate::text::jinja::lexer::is_space);
    if !text.is_ascii() {
        return Err(unsupported("numbers beyond ASCII"));
    }
    if base != 10 {
        return Err(unsupported("numbers of another base"));
    }
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    let parts = digits.split('_');
    let is_number = parts
        .into_iter()
        .all(|part| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit()));
    if !is_number {
        return Ok(None);
    }
    let whole = text.replace('_', "").parse();
    whole
        .map(Some)
        .map_err(|_too_large| unsupported("an integer of more than 64 bits"))
}

/// `float(text)`.
fn parsed_float(text: &str) -> Result<Option<f64>> {
    let text = text.trim_matches(crate::text::jinja::lexer::is_space);
    if !text.is_ascii() {
        return Err(unsupported("numbers beyond ASCII"));
    }
    if text.contains('_') {
        return Err(unsupported("`_` in a float"));
    }
    Ok(text.parse().ok())
}

fn round(value: &Value, call: Call<'_>) -> Result<Value> {
    let [precision, method] = call.bind(["precision", "method"])?;
    let precision = integer(precision, "precision")?.unwrap_or(0);
    let method = match method {
        None => "common".to_string(),
        method => text(method, "method")?.as_str().to_string(),
    };
    value.check_defined()?;
    let precision = match usize::try_from(precision) {
        Ok(precision) if precision <= 15 => precision,
        _ => return Err(unsupported("such a precision of `round`")),
    };
    let scale = 10_f64.powi(precision as i32);
    match (value.as_number(), method.as_str()) {
        (Some(Number::Int(value)), "common") => Ok(Value::Int(value)),
        (Some(Number::Float(value)), "common") => {
            let text = format!("{value:.precision$}");
            Ok(Value::Float(text.parse().unwrap_or(value)))
        }
        (Some(number), "ceil") => Ok(Value::Float((number.as_float() * scale).ceil() / scale)),
        (Some(number), "floor") => Ok(Value::Float((number.as_float() * scale).floor() / scale)),
        (None, _) => Err(failure(format!(
            "a {} cannot be rounded",
            value.kind_name()
        ))),
        _ => Err(failure("the method of `round` is common, ceil or floor")),
    }
}
