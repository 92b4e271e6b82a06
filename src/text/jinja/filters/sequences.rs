//! Filters of lists.

use super::{
    Call, List, Result, Text, Value, attribute_of, failure, flag, number_flag, required, size,
    text, unsupported,
};
use crate::text::jinja::attributes::{self, slice};
use crate::text::jinja::compare::{holds, sort_by_key};
use crate::text::jinja::meter::Meter;
use crate::text::jinja::operators::arithmetic;
use crate::text::jinja::strings::{joined, lowered};
use crate::text::jinja::syntax::Operator;

pub(super) fn apply(value: Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    match call.name {
        "batch" | "slice" => batches(&value, call),
        "first" | "last" => {
            let is_first = call.name == "first";
            let [] = call.bind([])?;
            end_of(&value, is_first, meter)
        }
        "length" | "count" => {
            let [] = call.bind([])?;
            length(&value).map(|len| Value::Int(len as i64))
        }
        "list" => {
            let [] = call.bind([])?;
            value.to_list(meter).map(Value::List)
        }
        "items" => {
            let [] = call.bind([])?;
            items(&value, meter)
        }
        "reverse" => {
            let [] = call.bind([])?;
            reversed(&value, meter)
        }
        "join" => join(&value, call),
        "sum" => sum(&value, call),
        "dictsort" => dictsort(&value, call),
        _ => ordered(&value, call),
    }
}

fn length(value: &Value) -> Result<usize> {
    match value {
        Value::Undefined(_) => Ok(0),
        Value::Str(text) => Ok(text.num_chars()),
        Value::List(list) | Value::Tuple(list) | Value::View(list) => Ok(list.len()),
        Value::Dict(dict) => Ok(dict.entries().len()),
        Value::Range(range) => Ok(range.len()),
        Value::Loop(state) => Ok(state.items.len()),
        _ => Err(failure(format!("a {} has no length", value.kind_name()))),
    }
}

fn end_of(value: &Value, is_first: bool, meter: &Meter) -> Result<Value> {
    let found = match value {
        Value::Str(text) if text.is_empty() => None,
        Value::Str(_) => {
            let index = Value::Int(if is_first { 0 } else { -1 });
            Some(attributes::item(value, &index, meter)?)
        }
        Value::Iterator(_) if !is_first => return Err(failure("an iterator has no last item")),
        Value::Iterator(iterator) => {
            let at = iterator.next.get();
            let found = iterator.items.items().get(at).cloned();
            iterator.next.set(iterator.items.len().min(at + 1));
            found
        }
        _ => {
            let list = value.to_list(meter)?;
            let found = match is_first {
                true => list.items().first(),
                false => list.items().last(),
            };
            found.cloned()
        }
    };
    Ok(found.unwrap_or_else(|| Value::undefined("an item of an empty sequence")))
}

fn items(value: &Value, meter: &Meter) -> Result<Value> {
    let mut pairs = Vec::new();
    match value {
        Value::Dict(dict) => {
            for (key, value) in dict.entries() {
                pairs.push(Value::tuple(vec![key.clone(), value.clone()], meter)?);
            }
        }
        Value::Undefined(_) => {}
        _ => return Err(failure(format!("a {} has no entries", value.kind_name()))),
    }
    List::new(pairs, meter).map(Value::iterator)
}

fn reversed(value: &Value, meter: &Meter) -> Result<Value> {
    if let Value::Str(_) = value {
        return slice(value, [None, None, Some(Value::Int(-1))], meter);
    }
    let list = value.to_list(meter)?;
    let mut items = list.items().to_vec();
    items.reverse();
    let list = List::cut_by(items, list.author_of_cuts(), meter)?;
    match value {
        // What cannot be read backwards is read first.
        Value::Iterator(_) => Ok(Value::List(list)),
        _ => Ok(Value::iterator(list)),
    }
}

fn join(value: &Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let [separator, attribute] = call.bind(["d", "attribute"])?;
    let separator = match separator {
        Some(separator) => separator.to_text(meter)?,
        None => Text::new("", crate::text::jinja::text::Author::Template, meter)?,
    };
    let list = value.to_list(meter)?;
    let list = match attribute {
        None | Some(Value::None) => list,
        Some(path) => {
            let items = list.items().iter();
            let items = items.map(|item| attribute_of(item, &path, None, meter));
            List::cut_by(items.collect::<Result<_>>()?, list.author_of_cuts(), meter)?
        }
    };
    joined(&separator, &list, meter).map(Value::Str)
}

fn sum(value: &Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let [attribute, start] = call.bind(["attribute", "start"])?;
    let mut sum = start.unwrap_or(Value::Int(0));
    if let Value::Str(_) = sum {
        return Err(failure("`sum` does not add strings"));
    }
    for item in value.items(meter)? {
        let item = match &attribute {
            None | Some(Value::None) => item,
            Some(path) => attribute_of(&item, path, None, meter)?,
        };
        sum = arithmetic(Operator::Add, &sum, &item, meter)?;
    }
    Ok(sum)
}

/// What a value is ordered by: without case, unless that counts.
fn sort_key(value: Value, is_case_sensitive: bool, meter: &Meter) -> Result<Value> {
    match value {
        Value::Str(text) if !is_case_sensitive => lowered(&text, meter).map(Value::Str),
        other => Ok(other),
    }
}

fn dictsort(value: &Value, call: Call<'_>) -> Result<Value> {
    let meter = call.meter;
    let [case_sensitive, by, reverse] = call.bind(["case_sensitive", "by", "reverse"])?;
    let is_case_sensitive = flag(case_sensitive, false);
    let by_value = match by {
        None => false,
        by => match text(by, "by")?.as_str() {
            "key" => false,
            "value" => true,
            _ => return Err(failure("`dictsort` sorts by key or value")),
        },
    };
    let Value::Dict(dict) = value else {
        return Err(failure(format!("a {} has no entries", value.kind_name())));
    };
    let mut keyed = Vec::new();
    for (key, value) in dict.entries() {
        let by = if by_value { value } else { key };
        let pair = Value::tuple(vec![key.clone(), value.clone()], meter)?;
        keyed.push((sort_key(by.clone(), is_case_sensitive, meter)?, pair));
    }
    sort_by_key(&mut keyed, number_flag(reverse, false)?, meter)?;
    Value::list(keyed.into_iter().map(|(_, pair)| pair).collect(), meter)
}

/// `sort`, `unique`, `min` and `max`.
fn ordered(value: &Value, call: Call<'_>) -> Result<Value> {
    let (name, meter) = (call.name, call.meter);
    let [reverse, case_sensitive, attribute] = match name {
        "sort" => call.bind(["reverse", "case_sensitive", "attribute"])?,
        _ => {
            let [case_sensitive, attribute] = call.bind(["case_sensitive", "attribute"])?;
            [None, case_sensitive, attribute]
        }
    };
    let list = value.to_list(meter)?;
    let is_case_sensitive = flag(case_sensitive, false);
    let mut keyed = Vec::new();
    for item in list.items() {
        let key = match &attribute {
            Some(Value::Str(path)) if path.as_str().contains(',') => {
                return Err(unsupported("several attributes of `sort`"));
            }
            Some(path) => attribute_of(item, path, None, meter)?,
            None => item.clone(),
        };
        keyed.push((sort_key(key, is_case_sensitive, meter)?, item.clone()));
    }
    let mut items: Vec<Value> = match name {
        "unique" => return unique(keyed, &list, meter),
        _ => {
            sort_by_key(&mut keyed, number_flag(reverse, false)?, meter)?;
            keyed.iter().map(|(_, item)| item.clone()).collect()
        }
    };
    match name {
        "sort" => List::cut_by(items, list.author_of_cuts(), meter).map(Value::List),
        "min" if !items.is_empty() => Ok(items.swap_remove(0)),
        "max" => first_largest(&keyed, meter),
        _ => Ok(Value::undefined("an item of an empty sequence")),
    }
}

/// Of several equal items the first is the largest.
fn first_largest(sorted: &[(Value, Value)], meter: &Meter) -> Result<Value> {
    let Some((largest, _)) = sorted.last() else {
        return Ok(Value::undefined("an item of an empty sequence"));
    };
    for (key, item) in sorted {
        if key.equals(largest, meter)? {
            return Ok(item.clone());
        }
    }
    Ok(Value::None)
}

fn unique(keyed: Vec<(Value, Value)>, list: &List, meter: &Meter) -> Result<Value> {
    let (mut seen, mut found) = (Vec::new(), Vec::new());
    for (key, item) in keyed {
        key.check_hashable(meter)?;
        if !holds(&seen, &key, meter)? {
            seen.push(key);
            found.push(item);
        }
    }
    List::cut_by(found, list.author_of_cuts(), meter).map(Value::iterator)
}

/// `batch(linecount, fill_with=None)` and `slice(slices, fill_with=None)`.
fn batches(value: &Value, call: Call<'_>) -> Result<Value> {
    let (name, meter) = (call.name, call.meter);
    let parameter = if name == "batch" {
        "linecount"
    } else {
        "slices"
    };
    let [count, fill] = call.bind([parameter, "fill_with"])?;
    let count = size(Some(required(count, parameter)?), parameter, 0)?;
    let fill = fill.filter(|fill| !matches!(fill, Value::None));
    if count == 0 {
        return Err(unsupported(format!("`{name}` into nothing")));
    }
    let list = value.to_list(meter)?;
    let parts = match name {
        "batch" => batch(&list, count, fill, meter),
        _ => slices(&list, count, fill, meter),
    }?;
    let parts = List::cut_by(parts, list.author_of_cuts(), meter)?;
    Ok(Value::iterator(parts))
}

fn batch(list: &List, count: usize, fill: Option<Value>, meter: &Meter) -> Result<Vec<Value>> {
    let mut parts = Vec::new();
    for part in list.items().chunks(count) {
        let mut part = part.to_vec();
        if let Some(fill) = &fill {
            meter.values(count)?;
            part.resize(count, fill.clone());
        }
        parts.push(List::cut_by(part, list.author_of_cuts(), meter).map(Value::List)?);
    }
    Ok(parts)
}

fn slices(list: &List, count: usize, fill: Option<Value>, meter: &Meter) -> Result<Vec<Value>> {
    meter.values(count.saturating_mul(2))?;
    let (len, longer) = (list.len() / count, list.len() % count);
    let mut parts = Vec::new();
    let mut start = 0;
    for index in 0..count {
        let end = start + len + usize::from(index < longer);
        let mut part = list.items()[start..end].to_vec();
        part.extend(fill.clone().filter(|_| index >= longer));
        parts.push(List::cut_by(part, list.author_of_cuts(), meter).map(Value::List)?);
        start = end;
    }
    Ok(parts)
}
