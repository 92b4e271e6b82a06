//! The methods of Python's types.

use super::calls::{Call, integer, required};
use super::strings;
use super::value::{Dict, List, LoopValue, Result, Value, failure, unsupported};

/// Calls a method.
pub(super) fn call(value: &Value, method: &'static str, call: Call<'_>) -> Result<Value> {
    match value {
        Value::Str(text) => strings::call(text, method, call),
        Value::Dict(dict) => of_dict(dict, method, call),
        Value::List(list) | Value::Tuple(list) => of_list(value, list, method, call),
        Value::Loop(state) => of_loop(state, method, call),
        Value::Cycler(cycler) => {
            let [] = call.bind([])?;
            let at = match method {
                "reset" => {
                    cycler.next.set(0);
                    return Ok(Value::None);
                }
                _ => cycler.next.get(),
            };
            cycler.next.set((at + 1) % cycler.items.len().max(1));
            Ok(cycler.items.items()[at].clone())
        }
        _ => Err(unsupported(format!(
            "the method `{method}` of a {}",
            value.kind_name()
        ))),
    }
}

fn of_dict(dict: &Dict, method: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    if method == "get" {
        let [key, default] = call.bind_positional()?;
        let key = required(key, "key")?;
        key.check_hashable(meter)?;
        let found = dict.get(&key, meter)?.cloned();
        return Ok(found.or(default).unwrap_or(Value::None));
    }
    let [] = call.bind([])?;
    let entries = dict.entries().iter();
    let items = match method {
        "copy" => return Ok(Value::Dict(dict.clone())),
        "keys" => dict.keys(),
        "values" => entries.map(|(_, value)| value.clone()).collect(),
        _ => entries
            .map(|(key, value)| Value::tuple(vec![key.clone(), value.clone()], meter))
            .collect::<Result<_>>()?,
    };
    List::new(items, meter).map(Value::View)
}

fn of_list(value: &Value, list: &List, method: &str, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    match method {
        "copy" => {
            let [] = call.bind([])?;
            Ok(value.clone())
        }
        "count" => {
            let [item] = call.bind_positional()?;
            let item = required(item, "value")?;
            let mut count = 0;
            for found in list.items() {
                count += i64::from(found.equals(&item, meter)?);
            }
            Ok(Value::Int(count))
        }
        _ => {
            let [item, start, stop] = call.bind_positional()?;
            if integer(start, "start")?.is_some() || stop.is_some() {
                return Err(unsupported("`index` with bounds"));
            }
            let item = required(item, "value")?;
            for (index, found) in list.items().iter().enumerate() {
                if found.equals(&item, meter)? {
                    return Ok(Value::Int(index as i64));
                }
            }
            Err(failure("the value is not in the list"))
        }
    }
}

fn of_loop(state: &LoopValue, method: &str, call: Call<'_>) -> Result<Value> {
    if let Some((name, _)) = call.named.first() {
        return Err(failure(format!("`{method}` takes no argument `{name}`")));
    }
    let (values, meter) = (call.positional, call.meter);
    if method == "cycle" {
        let count = values.len();
        let value = match count {
            0 => None,
            _ => values.into_iter().nth(state.index.get() % count),
        };
        return value.ok_or_else(|| failure("`cycle` needs items"));
    }
    if let Some(value) = values.iter().find(|value| value.is_reference()) {
        let kind = value.kind_name();
        return Err(unsupported(format!("asking whether a {kind} has changed")));
    }
    let mut last = state.last_changed.borrow_mut();
    let is_same = match last.as_deref() {
        Some(last) if last.len() == values.len() => {
            let mut pairs = last.iter().zip(&values);
            pairs.try_fold(true, |same, (left, right)| {
                Ok::<_, crate::error::TemplateError>(same && left.equals(right, meter)?)
            })?
        }
        _ => false,
    };
    if !is_same {
        *last = Some(values);
    }
    Ok(Value::Bool(!is_same))
}
