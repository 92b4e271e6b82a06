//! The tests that stand behind `is`.

use std::cmp::Ordering;

use super::calls::{Call, required};
use super::filter_names;
use super::operators::arithmetic;
use super::strings;
use super::syntax::Operator;
use super::value::{Result, Value, failure, unsupported};

const TESTS: [&str; 35] = [
    "boolean",
    "callable",
    "defined",
    "divisibleby",
    "eq",
    "equalto",
    "escaped",
    "even",
    "false",
    "filter",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sameas",
    "sequence",
    "string",
    "test",
    "true",
    "undefined",
    "upper",
    "==",
    "!=",
];

/// Whether a test holds for a value.
pub(super) fn check(name: &str, value: &Value, call: Call<'_>) -> Result<bool> {
    match name {
        "divisibleby" | "eq" | "equalto" | "==" | "ne" | "!=" | "lt" | "<" | "lessthan" | "le"
        | "<=" | "gt" | ">" | "greaterthan" | "ge" | ">=" | "in" | "sameas" => {
            let [other] = call_bound(call)?;
            check_with(name, value, &other.1, other.0)
        }
        _ => {
            let meter = call.meter;
            let [] = call.bind([])?;
            check_alone(name, value, meter)
        }
    }
}

type Bound<'a> = (&'a super::meter::Meter, Value);

fn call_bound(call: Call<'_>) -> Result<[Bound<'_>; 1]> {
    let meter = call.meter;
    let [other] = call.bind_positional()?;
    Ok([(meter, required(other, "other")?)])
}

fn check_with(
    name: &str,
    value: &Value,
    other: &Value,
    meter: &super::meter::Meter,
) -> Result<bool> {
    let order = || value.compare(other, meter);
    Ok(match name {
        "divisibleby" => {
            let rest = arithmetic(Operator::Rem, value, other, meter)?;
            rest.equals(&Value::Int(0), meter)?
        }
        "eq" | "equalto" | "==" => value.equals(other, meter)?,
        "ne" | "!=" => !value.equals(other, meter)?,
        "lt" | "lessthan" | "<" => order()? == Some(Ordering::Less),
        "le" | "<=" => order()?.is_some_and(Ordering::is_le),
        "gt" | "greaterthan" | ">" => order()? == Some(Ordering::Greater),
        "ge" | ">=" => order()?.is_some_and(Ordering::is_ge),
        "in" => other.contains(value, meter)?,
        _ => is_same(value, other)?,
    })
}

fn is_same(value: &Value, other: &Value) -> Result<bool> {
    match (value, other) {
        (Value::None, Value::None) => Ok(true),
        (Value::Bool(value), Value::Bool(other)) => Ok(value == other),
        (Value::None | Value::Bool(_), _) | (_, Value::None | Value::Bool(_)) => Ok(false),
        _ => Err(unsupported("`sameas` of other than true, false and none")),
    }
}

fn check_alone(name: &str, value: &Value, meter: &super::meter::Meter) -> Result<bool> {
    let rest_of_two = || arithmetic(Operator::Rem, value, &Value::Int(2), meter);
    let is_callable = matches!(
        value,
        Value::Undefined(_)
            | Value::Function(_)
            | Value::Macro(_)
            | Value::Method(_)
            | Value::Joiner(_)
            | Value::Loop(_)
    );
    let is_sequence = matches!(
        value,
        Value::Undefined(_)
            | Value::Str(_)
            | Value::Markup(_)
            | Value::List(_)
            | Value::Tuple(_)
            | Value::Dict(_)
            | Value::Range(_)
    );
    Ok(match name {
        "boolean" => matches!(value, Value::Bool(_)),
        "callable" => is_callable,
        "defined" => !matches!(value, Value::Undefined(_)),
        "undefined" => matches!(value, Value::Undefined(_)),
        "escaped" => matches!(value, Value::Markup(_)),
        "even" => rest_of_two()?.equals(&Value::Int(0), meter)?,
        "odd" => rest_of_two()?.equals(&Value::Int(1), meter)?,
        "true" => matches!(value, Value::Bool(true)),
        "false" => matches!(value, Value::Bool(false)),
        "float" => matches!(value, Value::Float(_)),
        "integer" => matches!(value, Value::Int(_)),
        "number" => value.as_number().is_some(),
        "mapping" => matches!(value, Value::Dict(_)),
        "none" => matches!(value, Value::None),
        "string" => value.as_text().is_some(),
        "sequence" => is_sequence,
        "iterable" => {
            let is_read_only =
                matches!(value, Value::View(_) | Value::Iterator(_) | Value::Loop(_));
            is_sequence || is_read_only
        }
        "lower" | "upper" => {
            let text = value.to_text(meter)?;
            meter.bytes(2 * text.as_str().len())?;
            match name {
                "lower" => strings::is_lower(&text),
                _ => strings::is_upper(&text),
            }
        }
        "filter" | "test" => is_known(name, value)?,
        _ => return Err(failure(format!("there is no test `{name}`"))),
    })
}

fn is_known(kind: &str, value: &Value) -> Result<bool> {
    let Value::Str(name) = value else {
        return Err(unsupported("asking for other than the name of a filter"));
    };
    Ok(match kind {
        "filter" => filter_names::is_known(name.as_str()),
        _ => TESTS.contains(&name.as_str()) || ["<", "<=", ">", ">="].contains(&name.as_str()),
    })
}
