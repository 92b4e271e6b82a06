//! The metadata of a GGUF file as the fields of a configuration.

use serde_json::{Map, Value};

use crate::weights::{GgufMetadata, GgufValue};

/// Longest list that may be a field of a configuration; vocabularies are none.
const MAX_LIST: usize = 4096;

/// Every entry that is no vocabulary, under its own key.
pub(super) fn fields_of(metadata: &GgufMetadata) -> Map<String, Value> {
    let entries = metadata.iter();
    entries
        .filter_map(|(key, value)| Some((key.to_string(), field(value)?)))
        .collect()
}

fn field(value: &GgufValue) -> Option<Value> {
    Some(match value {
        GgufValue::Bool(value) => Value::from(*value),
        GgufValue::Integer(value) => Value::from(*value),
        GgufValue::Float(value) => number(*value),
        GgufValue::Text(value) => Value::from(value.as_str()),
        GgufValue::Bools(values) => Value::from(short(values)?),
        GgufValue::Integers(values) => Value::from(short(values)?),
        GgufValue::Floats(values) => {
            let values = short(values)?.iter().map(|value| number((*value).into()));
            Value::Array(values.collect())
        }
        GgufValue::Texts(values) => Value::from(short(values)?),
        GgufValue::Lists => return None,
    })
}

/// What JSON has no number for is told as its name, so that a range refuses it by that.
fn number(value: f64) -> Value {
    match serde_json::Number::from_f64(value) {
        Some(number) => Value::Number(number),
        None => Value::from(value.to_string()),
    }
}

fn short<T>(values: &[T]) -> Option<&[T]> {
    (values.len() <= MAX_LIST).then_some(values)
}
