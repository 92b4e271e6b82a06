//! Equality with `AutoTokenizer`, on `tests/fixtures/tokenizer_class`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::error::{Error, TokenizerError};
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
    /// Whether the model lies there as `vocab.json` and `merges.txt`.
    #[serde(default)]
    is_vocabulary: bool,
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
    Tokenizer::open(folder(case).path()).expect("a sound tokenizer")
}

fn folder(case: &Case) -> TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let write = |name: &str, bytes: &[u8]| {
        std::fs::write(folder.path().join(name), bytes).expect("a writable folder");
    };
    let base = fixtures().join("text").join(&case.base);
    let bytes = std::fs::read(&base).expect("the base");
    let name = base.file_name().and_then(|it| it.to_str()).expect("a name");
    if case.is_vocabulary {
        let [vocab, merges] = vocabulary(&bytes);
        write("vocab.json", vocab.as_bytes());
        write("merges.txt", merges.as_bytes());
    } else {
        write(name, &with_parts(&bytes, &case.parts));
    }
    for (name, file) in &case.files {
        write(name, file.to_string().as_bytes());
    }
    folder
}

/// `vocab.json` and `merges.txt`.
fn vocabulary(bytes: &[u8]) -> [String; 2] {
    let file: Value = serde_json::from_slice(bytes).expect("valid JSON");
    let model = &file["model"];
    let mut merges = "#version: 0.2\n".to_string();
    for pair in model["merges"].as_array().expect("its merges") {
        let half = |at: usize| pair[at].as_str().expect("a half");
        merges.extend([half(0), " ", half(1), "\n"]);
    }
    [model["vocab"].to_string(), merges]
}

fn with_parts(bytes: &[u8], parts: &BTreeMap<String, Value>) -> Vec<u8> {
    // What is no JSON has no parts.
    if parts.is_empty() {
        return bytes.to_vec();
    }
    let mut file: Value = serde_json::from_slice(bytes).expect("valid JSON");
    for (path, value) in parts {
        let part = path.split('/').fold(&mut file, |part, key| &mut part[key]);
        *part = value.clone();
    }
    file.to_string().into_bytes()
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
    assert!(tried > 50, "only {tried} tokenizers");
}

#[test]
fn a_vocabulary_alone_needs_a_class_that_knows_how_a_text_is_cut() {
    let cases = cases();
    let mut cases = cases.into_iter().filter(|case| case.is_vocabulary);
    let mut case = cases.next().expect("a vocabulary");
    for (model_type, class) in [
        ("llama", "LlamaTokenizer"),
        ("llama", "PreTrainedTokenizerFast"),
        ("smolvlm", "GPT2Tokenizer"),
        ("instructblip", "PreTrainedTokenizerFast"),
    ] {
        let file = |name: &str, value: Value| (name.to_string(), value);
        case.files = BTreeMap::from([
            file("config.json", json!({"model_type": model_type})),
            file("tokenizer_config.json", json!({"tokenizer_class": class})),
        ]);
        let folder = folder(&case);
        let error = Tokenizer::open(folder.path()).expect_err("nothing says how a text is cut");
        let is_expected = matches!(error, Error::Tokenizer(TokenizerError::VocabularyAlone));
        assert!(is_expected, "{model_type}, {class}: {error}");
    }
}

#[test]
fn a_damaged_vocabulary_is_refused_by_its_files_name() {
    let damaged = |damage: fn(&Path)| {
        let cases = cases();
        let mut cases = cases.into_iter().filter(|case| case.is_vocabulary);
        let folder = folder(&cases.next().expect("a vocabulary"));
        damage(folder.path());
        let error = Tokenizer::open(folder.path()).expect_err("it is damaged");
        error.to_string()
    };
    let message = damaged(|folder| std::fs::remove_file(folder.join("merges.txt")).unwrap());
    assert!(message.contains("merges.txt"), "{message}");
    let message = damaged(|folder| std::fs::write(folder.join("merges.txt"), "a b c").unwrap());
    assert!(message.contains("merges.txt"), "{message}");
    let message = damaged(|folder| std::fs::write(folder.join("merges.txt"), b"\xff").unwrap());
    assert!(message.contains("merges.txt"), "{message}");
    let message = damaged(|folder| std::fs::write(folder.join("vocab.json"), "[]").unwrap());
    assert!(message.contains("vocab.json"), "{message}");
    let message = damaged(|folder| std::fs::write(folder.join("vocab.json"), "{}").unwrap());
    assert!(message.contains("vocab.json"), "{message}");
}
