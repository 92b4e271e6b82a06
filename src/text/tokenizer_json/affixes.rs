//! What a `tokenizer.json` puts around a text.

use serde_json::Value;

/// Most ids on one side of a text; the most seen are two.
const MAX_IDS: usize = 64;

/// The ids that are put around a text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Affixes {
    /// In front of it.
    pub(crate) prefix: Vec<u32>,
    /// Behind it.
    pub(crate) suffix: Vec<u32>,
}

impl Affixes {
    /// Reads a post-processor.
    pub(super) fn of(processor: &Value) -> Result<Self, String> {
        let mut affixes = Self::default();
        affixes.put_around(processor)?;
        Ok(affixes)
    }

    fn put_around(&mut self, processor: &Value) -> Result<(), String> {
        if processor.is_null() {
            return Ok(());
        }
        match processor.get("type").and_then(Value::as_str) {
            Some("ByteLevel") => Ok(()),
            Some("BertProcessing" | "RobertaProcessing") => {
                let id = |field: &str| {
                    let id = processor.get(field).and_then(|pair| id_of(pair.get(1)?));
                    id.ok_or_else(|| format!("the post-processor has no {field}"))
                };
                self.add(&[id("cls")?], &[id("sep")?])
            }
            Some("TemplateProcessing") => self.put_template_around(processor),
            Some("Sequence") => {
                let processors = processor.get("processors").and_then(Value::as_array);
                let processors = processors.ok_or("a sequence has no processors")?;
                processors.iter().try_for_each(|it| self.put_around(it))
            }
            Some(kind) => Err(format!("a post-processor is of the unknown type {kind}")),
            None => Err("a post-processor has no type".to_string()),
        }
    }

    fn put_template_around(&mut self, processor: &Value) -> Result<(), String> {
        let template = processor.get("single").and_then(Value::as_array);
        let template = template.ok_or("the post-processor has no template")?;
        let (mut prefix, mut suffix, mut num_texts) = (Vec::new(), Vec::new(), 0);
        for piece in template {
            match piece.pointer("/SpecialToken/id").and_then(Value::as_str) {
                Some(name) => {
                    let side = if num_texts == 0 {
                        &mut prefix
                    } else {
                        &mut suffix
                    };
                    side.extend(ids_of(processor, name)?);
                    if side.len() > MAX_IDS {
                        return Err(too_many());
                    }
                }
                None if piece.pointer("/Sequence/id") == Some(&Value::from("A")) => num_texts += 1,
                None => return Err("the post-processor asks for more than one text".to_string()),
            }
        }
        if num_texts != 1 {
            return Err(format!(
                "the post-processor shows the text {num_texts} times"
            ));
        }
        self.add(&prefix, &suffix)
    }

    fn add(&mut self, prefix: &[u32], suffix: &[u32]) -> Result<(), String> {
        self.prefix.splice(0..0, prefix.iter().copied());
        self.suffix.extend(suffix);
        if self.prefix.len().max(self.suffix.len()) > MAX_IDS {
            return Err(too_many());
        }
        Ok(())
    }
}

fn too_many() -> String {
    format!("the post-processor adds more than {MAX_IDS} ids")
}

/// The ids of a token of a template.
fn ids_of(processor: &Value, name: &str) -> Result<Vec<u32>, String> {
    let defined = processor.get("special_tokens").and_then(|it| it.get(name));
    let ids = defined
        .and_then(|it| it.get("ids"))
        .and_then(Value::as_array);
    let ids = ids.and_then(|ids| ids.iter().map(id_of).collect::<Option<Vec<_>>>());
    ids.ok_or_else(|| format!("the post-processor uses `{name}`, which it does not define"))
}

fn id_of(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|id| u32::try_from(id).ok())
}
