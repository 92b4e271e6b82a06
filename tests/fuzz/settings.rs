//! JSON files that are sound as JSON and say something else than they did.

use serde_json::{Map, Value, json};

use crate::random::Random;

/// Changes one to three values of a file.
pub(crate) fn damage(random: &mut Random, bytes: &mut Vec<u8>) {
    let mut root: Value = serde_json::from_slice(bytes).expect("the fixture is sound");
    for _ in 0..=random.below(3) {
        change(random, &mut root);
    }
    *bytes = root.to_string().into_bytes();
}

/// Changes a value somewhere inside of another: any may be met, those near the root more often.
fn change(random: &mut Random, value: &mut Value) {
    let goes_down = random.below(8) > 0;
    match value {
        Value::Object(entries) if goes_down && !entries.is_empty() => {
            change_entry(random, entries);
        }
        Value::Array(items) if goes_down && !items.is_empty() => {
            let at = random.below(items.len());
            match random.below(6) {
                0 => drop(items.remove(at)),
                1 => items.push(items[at].clone()),
                _ => change(random, &mut items[at]),
            }
        }
        _ => *value = other(random, value),
    }
}

fn change_entry(random: &mut Random, entries: &mut Map<String, Value>) {
    let names: Vec<String> = entries.keys().cloned().collect();
    let name = random.pick(&names);
    match random.below(8) {
        0 => drop(entries.remove(name)),
        1 => {
            // A value that stands elsewhere in the file is of a kind that somebody reads.
            let from = entries[random.pick(&names)].clone();
            entries.insert(name.clone(), from);
        }
        _ => change(random, &mut entries[name]),
    }
}

/// What is written instead of a value: often a neighbour of it, else anything.
fn other(random: &mut Random, value: &Value) -> Value {
    let near = match value {
        Value::Number(number) => number.as_f64().map(|number| {
            let factors = [-1.0, 0.0, 0.5, 2.0, 3.0, 1000.0];
            match random.below(3) {
                0 => json!(number as i64 + 1),
                1 => json!(number as i64 - 1),
                _ => json!((number * random.pick(&factors)) as i64),
            }
        }),
        Value::Bool(value) => Some(json!(!value)),
        Value::String(text) => Some(json!(format!("{text}{text}"))),
        _ => None,
    };
    match near {
        Some(near) if random.below(2) == 0 => near,
        _ => random.pick(&hostile()).clone(),
    }
}

fn hostile() -> [Value; 16] {
    [
        json!(null),
        json!(true),
        json!(0),
        json!(-1),
        json!(1),
        json!(1.5),
        json!(65_537),
        json!(1_u64 << 31),
        json!(1_u64 << 32),
        json!(u64::MAX),
        json!(1e308),
        json!(""),
        json!("\u{1b}[2J"),
        json!("x".repeat(5000)),
        json!([]),
        json!({}),
    ]
}
