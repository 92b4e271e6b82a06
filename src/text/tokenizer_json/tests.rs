use serde_json::{Value, json};

use super::{Affixes, LoadedTokenizer, load};
use crate::error::{Error, TokenizerError};
use crate::text::tokenizer::Tokenizer;

fn file() -> Value {
    json!({
        "version": "1.0",
        "truncation": null,
        "padding": null,
        "added_tokens": [{
            "id": 4, "content": "<s>", "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true
        }],
        "normalizer": null,
        "pre_tokenizer": null,
        "post_processor": null,
        "decoder": null,
        "model": {
            "type": "BPE",
            "unk_token": null,
            "vocab": {"a": 0, "b": 1, "ab": 2, "c": 3},
            "merges": [["a", "b"]]
        }
    })
}

/// The file with the value at `pointer` replaced; missing fields are made.
fn with(pointer: &str, value: Value) -> Value {
    let mut file = file();
    let (parent, field) = pointer
        .rsplit_once('/')
        .expect("a pointer begins with a slash");
    file.pointer_mut(parent).expect("the parent exists")[field] = value;
    file
}

fn load_value(value: &Value) -> Result<LoadedTokenizer, TokenizerError> {
    load(value.to_string().as_bytes(), None)
}

/// Opens the tokenizer that the file describes.
fn open_value(value: &Value) -> Result<Tokenizer, TokenizerError> {
    match Tokenizer::from_json_bytes(value.to_string().as_bytes()) {
        Ok(tokenizer) => Ok(tokenizer),
        Err(Error::Tokenizer(error)) => Err(error),
        Err(other) => panic!("{other:?}"),
    }
}

#[test]
fn a_sound_file_loads() {
    let loaded = load_value(&file()).expect("a sound file");
    assert_eq!(loaded.affixes, Affixes::default());
    let tokenizer = open_value(&file()).expect("a sound file");
    assert_eq!(tokenizer.encode("abc").expect("known characters"), [2, 3]);
}

#[test]
fn a_byte_order_mark_and_windows_line_ends_are_no_fault() {
    let text = serde_json::to_string_pretty(&file())
        .expect("a value prints")
        .replace('\n', "\r\n");
    load(format!("\u{feff}{text}").as_bytes(), None).expect("a sound file");
}

#[test]
fn nothing_cuts_pads_or_randomises_a_text() {
    let mut value = with(
        "/truncation",
        json!({"direction": "Right", "max_length": 1, "strategy": "LongestFirst", "stride": 9}),
    );
    value["padding"] = json!({
        "strategy": {"Fixed": 64}, "direction": "Right", "pad_to_multiple_of": null, "pad_id": 0,
        "pad_type_id": 0, "pad_token": "a"
    });
    value["model"]["dropout"] = json!(1.0);
    let tokenizer = open_value(&value).expect("a sound file");
    assert_eq!(tokenizer.encode("abc").expect("known characters"), [2, 3]);
}

#[test]
fn the_post_processor_tells_what_stands_around_a_text() {
    let template = json!({
        "type": "TemplateProcessing",
        "single": [
            {"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}},
            {"SpecialToken": {"id": "<s>", "type_id": 0}}
        ],
        "pair": [],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [4], "tokens": ["<s>"]}}
    });
    let around = |prefix: &[u32], suffix: &[u32]| Affixes {
        prefix: prefix.to_vec(),
        suffix: suffix.to_vec(),
    };
    let bert = json!({"type": "BertProcessing", "cls": ["a", 0], "sep": ["b", 1]});
    let byte_level = json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true});
    let both = json!({"type": "Sequence", "processors": [byte_level, bert, template]});
    for (processor, expected) in [
        (template, around(&[4], &[4])),
        (bert, around(&[0], &[1])),
        (both, around(&[4, 0], &[1, 4])),
    ] {
        let loaded = load_value(&with("/post_processor", processor)).expect("a sound file");
        assert_eq!(loaded.affixes, expected);
    }
}

#[test]
fn what_would_panic_in_the_library_is_an_error() {
    let cases = [
        ("/model/merges", json!([["a", "abab"]])),
        ("/model/merges", json!([["ab", "ab"]])),
        ("/model/merges", json!(["a b c"])),
        ("/model/merges", json!([["a"]])),
        ("/model/merges", json!([7])),
        ("/model/continuing_subword_prefix", json!("######")),
        ("/model/vocab", json!({"a": -1})),
        ("/model/vocab", json!({"a": 4_294_967_295_u32})),
        ("/model/vocab", json!({"a": 1.5})),
        ("/model/vocab", json!([["a"], [3]])),
        ("/model/vocab", Value::Null),
        ("/model/type", json!("Nothing")),
        ("/model", Value::Null),
        ("/added_tokens", json!([{"id": 4, "content": ""}])),
        ("/added_tokens", json!([{"id": -4, "content": "x"}])),
        ("/added_tokens", json!("none")),
        (
            "/pre_tokenizer",
            json!({"type": "FixedLength", "length": 0}),
        ),
        (
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "("},
            "behavior": "Isolated", "invert": false}),
        ),
        (
            "/pre_tokenizer",
            json!({"type": "Split", "pattern": {"Regex": "a".repeat(1 << 15)},
            "behavior": "Isolated", "invert": false}),
        ),
        ("/normalizer", json!({"type": "Nothing"})),
        ("/decoder", json!({"type": "Strip"})),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": [
            {"SpecialToken": {"id": "<none>", "type_id": 0}}], "pair": [], "special_tokens": {}}),
        ),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": [
            {"Sequence": {"id": "B", "type_id": 0}}], "pair": [], "special_tokens": {}}),
        ),
        (
            "/post_processor",
            json!({"type": "Sequence", "processors": vec![json!({"type": "TemplateProcessing",
                "single": vec![json!({"Sequence": {"id": "A", "type_id": 0}}); 2], "pair": [],
                "special_tokens": {}}); 50]}),
        ),
        (
            "/post_processor",
            json!({"type": "TemplateProcessing", "single": vec![
                json!({"Sequence": {"id": "A", "type_id": 0}}); 1000], "pair": [],
                "special_tokens": {}}),
        ),
        ("/post_processor", json!({"type": "Odd"})),
        (
            "/post_processor",
            json!({"type": "BertProcessing", "cls": ["a", 99], "sep": ["b", 1]}),
        ),
        ("/post_processor", json!({"type": "BertProcessing"})),
    ];
    for (pointer, value) in cases {
        let error = open_value(&with(pointer, value.clone())).expect_err(&value.to_string());
        assert!(
            matches!(error, TokenizerError::Malformed { .. }),
            "{pointer}: {error:?}"
        );
        // It is found before the library sees it, for a program may be built to abort on panics.
        assert!(
            !error.to_string().contains("panicked"),
            "{pointer}: {error}"
        );
    }
}

#[test]
fn a_character_map_must_be_whole() {
    for map in [
        json!("AAA"),
        json!("AAAA"),
        json!("////fw=="),
        json!(3),
        json!(null),
    ] {
        let precompiled = json!({"type": "Sequence", "normalizers": [
            {"type": "Precompiled", "precompiled_charsmap": map}]});
        let error = load_value(&with("/normalizer", precompiled)).expect_err("a damaged map");
        assert!(error.to_string().contains("character map"), "{error}");
    }
}

#[test]
fn two_tokens_cannot_share_an_id() {
    let error = load_value(&with("/model/vocab", json!({"a": 0, "b": 0}))).expect_err("a clash");
    assert!(
        matches!(error, TokenizerError::DuplicateId { id: 0, .. }),
        "{error:?}"
    );
}

#[test]
fn added_tokens_have_the_ids_that_follow_the_vocabulary() {
    for declared in [1, 4, 9] {
        let mut value = file();
        value["added_tokens"][0]["id"] = json!(declared);
        let tokenizer = open_value(&value).expect("Hugging Face numbers added tokens itself");
        assert_eq!(tokenizer.token_id("<s>"), Some(4), "declared as {declared}");
    }
    let gap = with("/model/vocab", json!({"a": 0, "b": 1, "ab": 2, "c": 4}));
    let error = open_value(&gap).expect_err("the next id is that of a piece");
    assert!(
        matches!(error, TokenizerError::DuplicateId { id: 4, .. }),
        "{error:?}"
    );
}

#[test]
fn files_that_are_no_json_or_nest_too_deep_are_errors() {
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let text = file().to_string();
    for bytes in [
        "",
        "null",
        "{}",
        "[1]",
        deep.as_str(),
        &text[..text.len() / 2],
    ] {
        let error = load(bytes.as_bytes(), None).expect_err(bytes);
        assert!(
            matches!(error, TokenizerError::Malformed { .. }),
            "{error:?}"
        );
    }
    assert!(load(&[0xff, 0xfe], None).is_err());
}
