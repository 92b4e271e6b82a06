//! YAML as far as configuration files need it: values and nothing that refers to another.

use saphyr_parser::{Event, Parser, ScalarStyle, Tag};
use serde_json::{Map, Number, Value};

/// Deepest nesting that is read.
const MAX_DEPTH: usize = 64;

/// Reads the one document of `text`.
///
/// An alias is refused: nine lines of them can stand for more values than any memory holds.
///
/// # Errors
///
/// Why it cannot be read, in words.
pub(super) fn parse(text: &str) -> Result<Value, String> {
    let mut builder = Builder::default();
    for event in Parser::new_from_str(text) {
        let (event, span) = event.map_err(|error| error.to_string())?;
        let outcome = builder.take(event);
        outcome.map_err(|reason| format!("line {}: {reason}", span.start.line()))?;
    }
    builder.root.ok_or_else(|| "the file is empty".to_string())
}

#[derive(Default)]
struct Builder {
    /// What was begun and not ended, outermost first.
    open: Vec<Open>,
    root: Option<Value>,
}

enum Open {
    List(Vec<Value>),
    Object {
        object: Map<String, Value>,
        key: Option<String>,
    },
}

impl Builder {
    fn take(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Nothing
            | Event::StreamStart
            | Event::StreamEnd
            | Event::DocumentStart(_)
            | Event::DocumentEnd => Ok(()),
            Event::Alias(_) => Err("an alias is not supported; write the value out".to_string()),
            Event::Scalar(text, style, _, tag) => self.scalar(&text, style, tag.as_deref()),
            Event::SequenceStart(_, tag) => self.begin(Open::List(Vec::new()), tag.as_deref()),
            Event::MappingStart(_, tag) => {
                let (object, key) = (Map::new(), None);
                self.begin(Open::Object { object, key }, tag.as_deref())
            }
            Event::SequenceEnd | Event::MappingEnd => self.end(),
        }
    }

    fn begin(&mut self, open: Open, tag: Option<&Tag>) -> Result<(), String> {
        if let Some(tag) = tag {
            return Err(format!("the tag {tag} is not supported"));
        }
        if self.open.len() == MAX_DEPTH {
            return Err(format!("values are nested deeper than {MAX_DEPTH}"));
        }
        if let Some(Open::Object { key: None, .. }) = self.open.last() {
            return Err("a key is no text".to_string());
        }
        self.open.push(open);
        Ok(())
    }

    fn end(&mut self) -> Result<(), String> {
        match self.open.pop() {
            Some(Open::List(list)) => self.put(Value::Array(list)),
            Some(Open::Object { object, .. }) => self.put(Value::Object(object)),
            None => Err("something ends that was never begun".to_string()),
        }
    }

    fn scalar(&mut self, text: &str, style: ScalarStyle, tag: Option<&Tag>) -> Result<(), String> {
        if let Some(Open::Object {
            key: key @ None, ..
        }) = self.open.last_mut()
        {
            *key = Some(text.to_string());
            return Ok(());
        }
        match tag {
            None if style == ScalarStyle::Plain => self.put(plain(text)),
            None => self.put(Value::String(text.to_string())),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => {
                self.put(Value::String(text.to_string()))
            }
            Some(tag) => Err(format!("the tag {tag} is not supported")),
        }
    }

    fn put(&mut self, value: Value) -> Result<(), String> {
        match self.open.last_mut() {
            Some(Open::List(list)) => list.push(value),
            Some(Open::Object { object, key }) => {
                let key = key.take().ok_or("a key is no text")?;
                if object.contains_key(&key) {
                    return Err(format!("the key {key:?} is there twice"));
                }
                object.insert(key, value);
            }
            None if self.root.is_some() => return Err("a second document begins".to_string()),
            None => self.root = Some(value),
        }
        Ok(())
    }
}

/// What an unquoted text stands for, by the core schema of YAML 1.2.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Ok(integer) = text.parse::<i64>() {
        return Value::Number(integer.into());
    }
    // Rust also reads `nan` and `infinity`, which are texts in YAML.
    let is_number = text.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
    let number = text.parse().ok().filter(|_| is_number);
    match number.and_then(Number::from_f64) {
        Some(number) => Value::Number(number),
        None => Value::String(text.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_values_of_a_configuration_are_read() {
        let text = "model:\n  arch: minigpt4 # the family\n  low_resource: False\n  end_sym: \"###\"\n  \
                    template: '###Human: {} ###Assistant: '\n  vit: {\"depth\": 39, eps: 1e-6}\n  ckpt:\n\
                    datasets:\n- a\n- [1, -2.5]\n";
        let expected = json!({
            "model": {
                "arch": "minigpt4",
                "low_resource": false,
                "end_sym": "###",
                "template": "###Human: {} ###Assistant: ",
                "vit": {"depth": 39, "eps": 1e-6},
                "ckpt": null,
            },
            "datasets": ["a", [1, -2.5]],
        });
        assert_eq!(parse(text).unwrap(), expected);
        assert_eq!(parse("nan").unwrap(), json!("nan"));
    }

    #[test]
    fn what_could_grow_or_be_meant_in_two_ways_is_refused() {
        let refused = |text: &str, reason: &str| {
            let error = parse(text).unwrap_err();
            assert!(error.contains(reason), "{text:?}: {error}");
        };
        refused("a: &x [1]\nb: *x\n", "alias");
        refused("a: 1\na: 2\n", "line 2: the key \"a\" is there twice");
        refused("? [1]\n: 2\n", "a key is no text");
        refused("a: !!python/object:os.system x\n", "tag");
        refused("a: 1\n---\nb: 2\n", "second document");
        refused(&"[".repeat(100), "nested deeper");
        refused("", "empty");
    }
}
