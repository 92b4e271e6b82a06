//! Finding the chat template of a model folder.

use std::path::Path;

use serde_json::Value;

use crate::error::{Result, TemplateError};
use crate::text::files;

const TEMPLATE_FILE: &str = "chat_template.jinja";

/// Far above the length at which a template is refused, so that the refusal can say how long it is.
const MAX_FILE_BYTES: u64 = 8 << 20;

/// Files that hold a template in their field `chat_template`. A processor's comes first: it knows
/// about pictures, where the tokenizer's may not.
const JSON_FILES: [&str; 3] = [
    "chat_template.json",
    "processor_config.json",
    "tokenizer_config.json",
];

/// The source of the folder's chat template.
pub(super) fn find(folder: &Path) -> Result<Option<String>> {
    if let Some(bytes) = files::read_bytes(folder, TEMPLATE_FILE, MAX_FILE_BYTES)? {
        let source = String::from_utf8(bytes);
        return Ok(Some(
            source.map_err(|error| malformed(TEMPLATE_FILE, error.to_string()))?,
        ));
    }
    for name in JSON_FILES {
        let value = files::read_json(folder, name)?;
        match value.as_ref().and_then(|value| value.get("chat_template")) {
            None | Some(Value::Null) => {}
            Some(template) => return Ok(Some(select(template, name)?)),
        }
    }
    Ok(None)
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
    match named.iter().find(|(name, _)| *name == "default") {
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

    fn found(files: &[(&str, &str)]) -> crate::error::Result<Option<String>> {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for (name, text) in files {
            std::fs::write(folder.path().join(name), text).expect("a writable folder");
        }
        find(folder.path())
    }

    #[test]
    fn a_file_of_its_own_comes_first_and_the_tokenizers_last() {
        let jinja = ("chat_template.jinja", "A");
        let json = ("chat_template.json", r#"{"chat_template": "B"}"#);
        let processor = ("processor_config.json", r#"{"chat_template": "C"}"#);
        let tokenizer = ("tokenizer_config.json", r#"{"chat_template": "D"}"#);
        let files = [jinja, json, processor, tokenizer];
        for (first, expected) in ["A", "B", "C", "D"].into_iter().enumerate() {
            let source = found(&files[first..]).expect("valid files");
            assert_eq!(source.as_deref(), Some(expected));
        }
        assert_eq!(found(&[]).expect("no file is no error"), None);
        let silent = ("processor_config.json", r#"{"chat_template": null}"#);
        assert_eq!(
            found(&[silent, tokenizer]).expect("valid files").as_deref(),
            Some("D")
        );
    }

    #[test]
    fn of_several_templates_the_default_is_taken() {
        let list = r#"{"chat_template": [{"name": "tool_use", "template": "A"},
                      {"name": "default", "template": "B"}]}"#;
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
