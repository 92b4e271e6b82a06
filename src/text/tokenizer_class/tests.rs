//! Equality with `AutoTokenizer`, on `tests/fixtures/tokenizer_class`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::Value;

use crate::text::{Bos, Prompt, Tokenizer, prompt};

#[derive(Deserialize)]
struct Expected {
    cases: Vec<Case>,
}

/// A tokenizer of `tests/fixtures/text` with parts of its file replaced and files beside it.
#[derive(Deserialize)]
struct Case {
    name: String,
    base: String,
    parts: BTreeMap<String, Value>,
    files: BTreeMap<String, Value>,
    texts: Vec<Tokenized>,
    around: Option<Vec<u32>>,
    decoded: String,
}

#[derive(Deserialize)]
struct Tokenized {
    text: String,
    ids: Vec<u32>,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures")
}

fn cases() -> Vec<Case> {
    let path = fixtures().join("tokenizer_class/expected.json");
    let text = std::fs::read_to_string(path).expect("the fixture");
    let expected: Expected = serde_json::from_str(&text).expect("the fixture is valid");
    expected.cases
}

fn open(case: &Case) -> Tokenizer {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("a writable folder");
    };
    let base = fixtures().join("text").join(&case.base);
    let bytes = std::fs::read(&base).expect("the base");
    let name = base.file_name().and_then(|it| it.to_str()).expect("a name");
    match case.parts.is_empty() {
        true => write(name, &bytes),
        false => write(name, with_parts(&bytes, &case.parts).as_bytes()),
    }
    for (name, file) in &case.files {
        write(name, file.to_string().as_bytes());
    }
    Tokenizer::open(folder.path()).expect("a sound tokenizer")
}

fn with_parts(bytes: &[u8], parts: &BTreeMap<String, Value>) -> String {
    let mut file: Value = serde_json::from_slice(bytes).expect("valid JSON");
    for (path, value) in parts {
        let part = path.split('/').fold(&mut file, |part, key| &mut part[key]);
        *part = value.clone();
    }
    file.to_string()
}

fn ids(tokenizer: &Tokenizer, text: &str) -> Vec<u32> {
    let pieces = vec![prompt::Piece::Template(text.to_string())];
    let tokens = Prompt::new(pieces, Bos::OnlyWritten).tokenize(tokenizer, &[], 0);
    tokens.expect("a text that can be spelled").ids
}

#[test]
fn a_tokenizer_is_what_the_class_of_its_checkpoint_makes_of_it() {
    let mut tried = 0;
    for case in cases() {
        let tokenizer = open(&case);
        for expected in &case.texts {
            let (name, text) = (&case.name, &expected.text);
            assert_eq!(ids(&tokenizer, text), expected.ids, "{name}: {text:?}");
        }
        let all: Vec<u32> = case.texts.iter().flat_map(|it| it.ids.clone()).collect();
        assert_eq!(tokenizer.decode(&all), case.decoded, "{}", case.name);
        if let Some(expected) = &case.around {
            let around = tokenizer.encode(&case.texts[1].text).expect("a text");
            assert_eq!(around, *expected, "{}", case.name);
        }
        tried += 1;
    }
    assert!(tried > 30, "only {tried} tokenizers");
}
