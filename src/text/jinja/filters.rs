//! Jinja's filters.

mod numbers;
mod select;
mod sequences;
mod texts;

use super::attributes;
use super::calls::{Call, flag, integer, number_flag, required, size, text};
use super::compare::Number;
use super::filter_names::{MISSING, is_known};
use super::interpreter::Interpreter;
use super::json::to_json;
use super::text::Text;
use super::value::{List, Result, Value, failure, unsupported};

/// Applies the filter that a call names.
pub(super) fn apply(
    interpreter: &mut Interpreter<'_>,
    value: Value,
    call: Call<'_>,
) -> Result<Value> {
    let name = call.name;
    if MISSING.contains(&name) {
        return Err(unsupported(format!("the filter `{name}`")));
    }
    if !is_known(name) {
        return Err(failure(format!("there is no filter `{name}`")));
    }
    let takes_markup = ["safe", "escape", "e", "default", "d", "string"].contains(&name);
    if matches!(value, Value::Markup(_)) && !takes_markup {
        return Err(unsupported(format!("the filter `{name}` of a safe string")));
    }
    match name {
        "default" | "d" => default(value, call),
        "tojson" => to_json(&value, call),
        "attr" => {
            let (meter, [name]) = (call.meter, call.bind(["name"])?);
            attributes::only_attribute(&value, text(name, "name")?.as_str(), meter)
        }
        "abs" | "int" | "float" | "round" => numbers::apply(&value, call),
        "map" | "select" | "reject" | "selectattr" | "rejectattr" => {
            select::apply(interpreter, &value, call)
        }
        "batch" | "slice" | "first" | "last" | "items" | "list" | "length" | "count"
        | "dictsort" | "sort" | "unique" | "min" | "max" | "sum" | "reverse" | "join" => {
            sequences::apply(value, call)
        }
        _ => texts::apply(value, call),
    }
}

fn default(value: Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let [default, boolean] = call.bind(["default_value", "boolean"])?;
    let is_missing = match flag(boolean, false) {
        true => !value.is_true(),
        false => matches!(value, Value::Undefined(_)),
    };
    match (is_missing, default) {
        (false, _) => Ok(value),
        (true, Some(default)) => Ok(default),
        (true, None) => Value::computed("", meter),
    }
}

/// The attribute of an item that `attribute="a.b.0"` names.
fn attribute_of(
    item: &Value,
    path: &Value,
    default: Option<&Value>,
    meter: &super::meter::Meter,
) -> Result<Value> {
    let mut found = item.clone();
    let parts = match path {
        Value::Str(path) => {
            let dots = path.as_str().matches('.').count();
            meter.values(dots)?;
            path.as_str().split('.').map(str::to_string).collect()
        }
        Value::Int(_) => Vec::new(),
        Value::None => return Ok(found),
        other => {
            return Err(unsupported(format!(
                "a {} as an attribute",
                other.kind_name()
            )));
        }
    };
    if let Value::Int(_) = path {
        found = attributes::item(&found, path, meter)?;
    }
    for part in parts {
        let key = match part.parse::<i64>() {
            Ok(index) if part.bytes().all(|byte| byte.is_ascii_digit()) => Value::Int(index),
            _ => Value::computed(&part, meter)?,
        };
        found = attributes::item(&found, &key, meter)?;
        if let (Value::Undefined(_), Some(default)) = (&found, default) {
            found = default.clone();
        }
    }
    Ok(found)
}
