//! Finding the chat template of a model folder.

use std::path::Path;

use serde_json::Value;

use crate::error::{Result, TemplateError, visible_line};
use crate::text::files;

const TEMPLATE_FILE: &str = "chat_template.jinja";

/// The one of a folder of templates that is taken unless another is named.
const ADDITIONAL_FILE: &str = "additional_chat_templates/default.jinja";

/// Far above the length at which a template is refused, so that the refusal can say how long it is.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Where a processor looks, as `ProcessorMixin` of `transformers` 5 does, and then its tokenizer.
const OF_PROCESSOR: [&str; 5] = [
    "processor_config.json",
    "chat_template.json",
    TEMPLATE_FILE,
    ADDITIONAL_FILE,
    TOKENIZER_FILE,
];

/// Where a tokenizer looks by itself.
const OF_TOKENIZER: [&str; 3] = [ADDITIONAL_FILE, TEMPLATE_FILE, TOKENIZER_FILE];

const TOKENIZER_FILE: &str = "tokenizer_config.json";

/// The source of the folder's chat template. Of several, the one counts that `transformers` 5 takes:
/// a model that reads pictures is asked through its processor.
pub(super) fn find(folder: &Path, reads_pictures: bool) -> Result<Option<String>> {
    let names: &[&str] = match reads_pictures {
        true => &OF_PROCESSOR,
        false => &OF_TOKENIZER,
    };
    let mut found: Option<(&str, String)> = None;
    for name in names {
        let source = match found {
            None => read(folder, name)?,
            // What is not taken may be as wrong as it likes.
            Some(_) => read(folder, name).unwrap_or_default(),
        };
        match (&found, source) {
            (_, None) => {}
            (None, Some(source)) => found = Some((name, source)),
            (Some((taken, first)), Some(other)) if *first != other => log::warn!(
                "{}: the chat template of {taken} counts, and not that of {name}",
                visible_line(folder)
            ),
            (Some(_), Some(_)) => {}
        }
    }
    Ok(found.map(|(_, source)| source))
}

/// The template in a file: all of it, or its field `chat_template`.
fn read(folder: &Path, name: &str) -> Result<Option<String>> {
    if !name.ends_with(".json") {
        let bytes = files::read_bytes(folder, name, MAX_FILE_BYTES)?;
        let source = bytes.map(String::from_utf8).transpose();
        return Ok(source.map_err(|error| malformed(name, error.to_string()))?);
    }
    let value = files::read_json(folder, name)?;
    match value.as_ref().and_then(|value| value.get("chat_template")) {
        None | Some(Value::Null) => Ok(None),
        Some(template) => Ok(Some(select(template, name)?)),
    }
}

/// A file holds one template, or several with names.
fn select(template: &Value, file: &str) -> Result<String, TemplateError> {
    let named: Vec<(&str, &str)> = match template {
        Value::String(source) => return Ok(source.clone()),
        Value::Array(entries) => entries
            .iter()
            .filter_map(|entry| {
                Some((
                    entry.get("name")?.as_str()?,
                    entry.get("template")?.as_str()?,
                ))
            })
            .collect(),
        Value::Object(entries) => entries
            .iter()
            .filter_map(|(name, source)| Some((name.as_str(), source.as_str()?)))
            .collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) => {
            return Err(malformed(
                file,
                "chat_template is neither text nor a list".to_string(),
            ));
        }
    };
    match named.iter().rfind(|(name, _)| *name == "default") {
        Some((_, source)) => Ok((*source).to_string()),
        None => Err(TemplateError::Unknown {
            name: "default".to_string(),
            known: named.iter().map(|(name, _)| (*name).to_string()).collect(),
        }),
    }
}

fn malformed(file: &str, reason: String) -> TemplateError {
    TemplateError::Malformed {
        file: file.to_string(),
        reason,
    }
}

#[cfg(test)]
mod tests {
    use super::find;

    fn folder(files: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            let path = folder.path().join(name);
            let parent = path.parent().expect("a file lies in a folder");
            std::fs::create_dir_all(parent).expect("a writable folder");
            std::fs::write(path, text).expect("a writable folder");
        }
        folder
    }

    fn found(files: &[(&str, &str)]) -> crate::error::Result<Option<String>> {
        find(folder(files).path(), true)
    }

    #[test]
    fn a_processor_and_a_tokenizer_look_in_their_own_places() {
        let processor = ("processor_config.json", r#"{"chat_template": "A"}"#);
        let json = ("chat_template.json", r#"{"chat_template": "B"}"#);
        let jinja = ("chat_template.jinja", "C");
        let additional = ("additional_chat_templates/default.jinja", "D");
        let tokenizer = ("tokenizer_config.json", r#"{"chat_template": "E"}"#);
        let files = [processor, json, jinja, additional, tokenizer];
        let of_tokenizer = ["D", "D", "D", "D", "E"];
        for (first, expected) in ["A", "B", "C", "D", "E"].into_iter().enumerate() {
            let folder = folder(&files[first..]);
            let found = |reads_pictures| find(folder.path(), reads_pictures).expect("valid files");
            assert_eq!(found(true).as_deref(), Some(expected));
            assert_eq!(found(false).as_deref(), Some(of_tokenizer[first]));
        }
        assert_eq!(found(&[]).expect("no file is no error"), None);
        let silent = ("processor_config.json", r#"{"chat_template": null}"#);
        let source = found(&[silent, tokenizer]).expect("valid files");
        assert_eq!(source.as_deref(), Some("E"));
        let broken = ("tokenizer_config.json", "{");
        let source = found(&[jinja, broken]).expect("a file that is not read");
        assert_eq!(source.as_deref(), Some("C"));
    }

    #[test]
    fn of_several_templates_the_default_is_taken() {
        let list = r#"{"chat_template": [{"name": "tool_use", "template": "A"},
                      {"name": "default", "template": "C"}, {"name": "default", "template": "B"}]}"#;
        let map = r#"{"chat_template": {"default": "B", "rag": "A"}}"#;
        for text in [list, map] {
            let source = found(&[("tokenizer_config.json", text)]).expect("valid files");
            assert_eq!(source.as_deref(), Some("B"));
        }
    }

    #[test]
    fn what_is_no_template_is_an_error() {
        let rag = r#"{"chat_template": {"rag": "A"}}"#;
        let error = found(&[("chat_template.json", rag)]).expect_err("no default");
        assert!(error.to_string().contains("rag"), "{error}");
        assert!(found(&[("chat_template.json", r#"{"chat_template": 7}"#)]).is_err());
        assert!(found(&[("chat_template.json", "{")]).is_err());
    }
}
