//! Filters that apply filters and tests to each item.

use super::{Call, List, Result, Value, attribute_of, failure, required};
use crate::text::jinja::checks::check;
use crate::text::jinja::interpreter::Interpreter;

pub(super) fn apply(
    interpreter: &mut Interpreter<'_>,
    value: &Value,
    call: Call<'_>,
) -> Result<Value> {
    let meter = call.meter;
    let list = match value {
        // Whoever emptied a text or a list decided that there are no items.
        Value::Str(_) | Value::Markup(_) | Value::List(_) | Value::Tuple(_) | Value::View(_) => {
            value.to_list(meter)?
        }
        _ if value.is_true() => value.to_list(meter)?,
        // What is false is not even looked into.
        _ => List::new(Vec::new(), meter)?,
    };
    let mut found = Vec::new();
    for item in list.items() {
        meter.steps(2)?;
        if call.name == "map" {
            found.push(mapped(interpreter, item, &call)?);
        } else if is_selected(item, &call)? {
            found.push(item.clone());
        }
    }
    let list = List::cut_by(found, list.author_of_cuts(), meter)?;
    Ok(Value::iterator(list))
}

fn mapped(interpreter: &mut Interpreter<'_>, item: &Value, call: &Call<'_>) -> Result<Value> {
    if let Some((name, arguments)) = call.positional.split_first() {
        let Value::Str(name) = name else {
            return Err(failure("`map` takes the name of a filter"));
        };
        let call = Call {
            name: name.as_str(),
            positional: arguments.to_vec(),
            named: call.named.clone(),
            meter: call.meter,
        };
        return interpreter.filter(item.clone(), call);
    }
    let call = Call {
        name: "map",
        positional: Vec::new(),
        named: call.named.clone(),
        meter: call.meter,
    };
    let meter = call.meter;
    let [attribute, default] = call.bind(["attribute", "default"])?;
    let attribute = required(attribute, "attribute")?;
    let default = default.filter(|default| !matches!(default, Value::None));
    attribute_of(item, &attribute, default.as_ref(), meter)
}

/// Whether the test that a call names holds for an item, or for an attribute of it.
fn is_selected(item: &Value, call: &Call<'_>) -> Result<bool> {
    let mut arguments = call.positional.as_slice();
    let mut tested = item.clone();
    if call.name.ends_with("attr") {
        let (path, rest) = arguments
            .split_first()
            .ok_or_else(|| failure(format!("`{}` takes an attribute", call.name)))?;
        tested = attribute_of(item, path, None, call.meter)?;
        arguments = rest;
    }
    let holds = match arguments.split_first() {
        None => tested.is_true(),
        Some((Value::Str(name), rest)) => {
            let call = Call {
                name: name.as_str(),
                positional: rest.to_vec(),
                named: call.named.clone(),
                meter: call.meter,
            };
            check(name.as_str(), &tested, call)?
        }
        Some(_) => return Err(failure(format!("`{}` takes the name of a test", call.name))),
    };
    Ok(holds != call.name.starts_with("reject"))
}
