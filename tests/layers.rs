//! The import table of the crate, as a test: a layer may only use the layers below it.

use std::fs;
use std::path::{Path, PathBuf};

/// Each top-level module of `src`, and the modules it may name by `crate::`.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("error", &[]),
    ("files", &["error"]),
    ("backend", &[]),
    ("kernels", &["error"]),
    ("nn", &["kernels", "error"]),
    ("weights", &["files", "error"]),
    ("text", &["files", "error"]),
    ("image", &["files", "error"]),
    (
        "models",
        &["nn", "weights", "text", "image", "files", "error"],
    ),
    ("generation", &["kernels", "nn", "text", "error"]),
    (
        "pipeline",
        &[
            "backend",
            "kernels",
            "nn",
            "weights",
            "text",
            "image",
            "models",
            "generation",
            "files",
            "error",
        ],
    ),
];

/// What `lib.rs` re-exports from `error`, which everyone may name by its short path.
const ERROR_TYPES: &[&str] = &[
    "Error",
    "Result",
    "CheckpointError",
    "ConfigError",
    "DeviceError",
    "ImageError",
    "RequestError",
    "TemplateError",
    "TokenizerError",
];

#[test]
fn layers_import_only_what_lies_below_them() {
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut broken = Vec::new();
    for file in rust_files(&source) {
        let layer = layer_of(&source, &file);
        if layer == "lib" {
            continue;
        }
        let row = MAY_IMPORT.iter().find(|(name, _)| *name == layer);
        let (_, allowed) = row.unwrap_or_else(|| panic!("`{layer}` has no row in the table"));
        let text = fs::read_to_string(&file).expect("the sources are readable");
        for (line, imported) in imports(&text) {
            let is_error = ERROR_TYPES.contains(&imported.as_str());
            if imported != layer && !is_error && !allowed.contains(&imported.as_str()) {
                let at = format!("{}:{line}", file.display());
                broken.push(format!(
                    "{at}: `{layer}` may use {allowed:?}, not `{imported}`"
                ));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn an_import_is_found_wherever_it_stands() {
    let text = "use crate::kernels::{self, linear};\nlet x = crate::text::Role::User;\n\
                use crate::{Error, nn::Linear};\n// crate::weights in a comment\n";
    let found: Vec<(usize, String)> = imports(text);
    let names: Vec<&str> = found.iter().map(|(_, name)| name.as_str()).collect();
    assert_eq!(names, ["kernels", "text", "Error", "nn"]);
}

fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("the folder is readable");
    let paths = entries.map(|entry| entry.expect("the entry is readable").path());
    paths
        .flat_map(|path| match path.is_dir() {
            true => rust_files(&path),
            false if path.extension().is_some_and(|extension| extension == "rs") => vec![path],
            false => vec![],
        })
        .collect()
}

fn layer_of(source: &Path, file: &Path) -> String {
    let inside = file.strip_prefix(source).expect("every file lies in src");
    let first = inside.iter().next().expect("a file has a name");
    first.to_string_lossy().trim_end_matches(".rs").to_string()
}

/// The names behind `crate::`, with their lines; comments do not count.
fn imports(text: &str) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for (index, line) in text.lines().enumerate() {
        let code = line.split("//").next().unwrap_or_default();
        for behind in code.split("crate::").skip(1) {
            let names = match behind.strip_prefix('{') {
                Some(list) => top_level_names(list),
                None => vec![first_name(behind)],
            };
            found.extend(names.into_iter().map(|name| (index + 1, name)));
        }
    }
    found
}

/// The first names of the items of a `{..}` list, without those in inner lists.
fn top_level_names(list: &str) -> Vec<String> {
    let mut depth = 0;
    let mut items = vec![String::new()];
    for character in list.chars() {
        match character {
            '{' => depth += 1,
            '}' => depth -= 1,
            ',' if depth == 0 => items.push(String::new()),
            _ if depth == 0 => items.last_mut().expect("never empty").push(character),
            _ => {}
        }
    }
    items
        .iter()
        .map(|item| first_name(item.trim()))
        .filter(|name| !name.is_empty())
        .collect()
}

fn first_name(path: &str) -> String {
    path.chars()
        .take_while(|character| character.is_alphanumeric() || *character == '_')
        .collect()
}
