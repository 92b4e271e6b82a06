use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use super::{Effort, SpanPlace, Tokenizer};
use crate::error::{Error, TokenizerError};
use crate::text::sentencepiece::tests::ModelWriter;

/// A vocabulary in which `</s>` is also an ordinary piece that merges lead to, as in converted
/// files; `<image>` is added, but not called special.
pub(crate) fn merging() -> Value {
    let letters = [
        "<", "/", "s", ">", "i", "m", "a", "g", "e", " ", "u", "n", "k", "?",
    ];
    let mut vocab: serde_json::Map<String, Value> = serde_json::Map::new();
    for token in letters
        .into_iter()
        .chain(["</", "s>", "</s>", "<s>", "<unk>", "im"])
    {
        vocab.insert(token.to_string(), json!(vocab.len()));
    }
    let image = json!(vocab.len());
    let added = |id: &Value, content: &str, special: bool| {
        json!({"id": id, "content": content, "special": special, "normalized": false,
            "lstrip": false, "rstrip": false, "single_word": false})
    };
    json!({
        "version": "1.0",
        "added_tokens": [
            added(&vocab["<s>"], "<s>", true),
            added(&vocab["</s>"], "</s>", true),
            added(&vocab["<unk>"], "<unk>", true),
            added(&image, "<image>", false)
        ],
        "decoder": {"type": "Fuse"},
        "model": {
            "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "vocab": vocab,
            "merges": [["<", "/"], ["s", ">"], ["</", "s>"], ["i", "m"], ["<", "s>"]]
        }
    })
}

fn from_value(value: &Value) -> Tokenizer {
    Tokenizer::from_json_bytes(value.to_string().as_bytes()).expect("a sound file")
}

/// A folder with these files.
fn folder(files: &[(&str, &[u8])]) -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    for (name, bytes) in files {
        std::fs::write(folder.path().join(name), bytes).expect("a writable folder");
    }
    folder
}

fn llama_model() -> Vec<u8> {
    ModelWriter::llama(&["\u{2581}", "a", "b", "\u{2581}a"])
}

#[test]
fn a_control_token_that_merges_lead_to_is_cut() {
    let tokenizer = from_value(&merging());
    let control = tokenizer.token_id("</s>").expect("in the vocabulary");
    let ids = tokenizer.encode("s</s></s>s").expect("known letters");
    assert!(!ids.contains(&control));
    assert_eq!(tokenizer.decode(&ids), "s</s></s>s");
}

#[test]
fn text_that_cannot_be_spelled_is_unknown_and_no_error() {
    let tokenizer = from_value(&merging());
    let unknown = tokenizer.token_id("<unk>").expect("in the vocabulary");
    assert_eq!(
        tokenizer
            .encode("\u{d55c}")
            .expect("there is an unknown token"),
        [unknown]
    );
}

#[test]
fn an_added_token_is_text_once_it_is_registered() {
    let tokenizer = from_value(&merging());
    let image = tokenizer.token_id("<image>").expect("in the vocabulary");
    assert_eq!(tokenizer.encode("<image>").expect("known letters"), [image]);
    let registered = tokenizer
        .with_control_token("<image>")
        .expect("in the vocabulary");
    let ids = registered.encode("<image>").expect("known letters");
    assert!(!ids.contains(&image));
    assert_eq!(registered.decode(&ids), "<image>");
    // What the model says is shown as before.
    assert_eq!(registered.decode(&[image]), "<image>");
    let error = registered
        .with_control_token("<video>")
        .expect_err("not in the vocabulary");
    assert!(
        matches!(error, Error::Tokenizer(TokenizerError::UnknownToken { .. })),
        "{error:?}"
    );
}

#[test]
fn added_tokens_that_a_format_spells_are_text_to_a_user() {
    let tokenizer = |format: &str| {
        from_value(&merging())
            .with_control_tokens_of(&[format])
            .expect("known tokens")
    };
    let image = tokenizer("")
        .token_id("<image>")
        .expect("in the vocabulary");
    let encoded = |format: &str| tokenizer(format).encode("<image>").expect("known letters");
    assert_eq!(encoded("USER: {{ text }}"), [image]);
    assert!(!encoded("USER: <image>\n{{ text }}").contains(&image));
}

#[test]
fn decoding_skips_special_and_impossible_ids() {
    let tokenizer = from_value(&merging());
    let [start, a] = ["<s>", "a"].map(|token| tokenizer.token_id(token).expect("known"));
    assert_eq!(tokenizer.decode(&[start, a, 4_000_000_000, a, start]), "aa");
    assert_eq!(tokenizer.vocab_size(), 21);
    assert_eq!(tokenizer.token_text(a).as_deref(), Some("a"));
    assert_eq!(tokenizer.token_text(21), None);
}

#[test]
fn only_the_first_span_is_prefixed_where_the_scheme_says_so() {
    let mut value = merging();
    value["pre_tokenizer"] = json!({"type": "Sequence", "pretokenizers": [
        {"type": "Metaspace", "replacement": "u", "prepend_scheme": "first", "split": false}]});
    let tokenizer = from_value(&value);
    let [u, a] = ["u", "a"].map(|token| tokenizer.token_id(token).expect("known"));
    let mut ids = Vec::new();
    let effort = Effort::for_bytes(0);
    tokenizer
        .encode_span("a a", &[], SpanPlace::Start, &effort, &mut ids)
        .expect("known letters");
    tokenizer
        .encode_span("a a", &[], SpanPlace::Continuation, &effort, &mut ids)
        .expect("known letters");
    assert_eq!(ids, [u, a, u, a, a, u, a]);
}

#[test]
fn a_folder_with_neither_file_has_no_tokenizer() {
    let error = Tokenizer::open(folder(&[]).path()).expect_err("the folder is empty");
    assert!(
        matches!(error, Error::Tokenizer(TokenizerError::Missing)),
        "{error:?}"
    );
    let nowhere = Tokenizer::open(&folder(&[]).path().join("nowhere"));
    assert!(nowhere.is_err());
}

#[test]
fn the_json_file_comes_first() {
    let json = merging().to_string();
    let both = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer.model", b"damaged"),
    ]);
    assert_eq!(
        Tokenizer::open(both.path())
            .expect("a sound file")
            .vocab_size(),
        21
    );
    let model = folder(&[("tokenizer.model", &llama_model())]);
    assert_eq!(
        Tokenizer::open(model.path())
            .expect("a sound file")
            .vocab_size(),
        263
    );
}

#[test]
fn a_directory_or_an_endless_device_is_no_tokenizer() {
    let folder = folder(&[]);
    std::fs::create_dir(folder.path().join("tokenizer.json")).expect("a writable folder");
    assert!(matches!(
        Tokenizer::open(folder.path()),
        Err(Error::Io { .. })
    ));
}

#[test]
fn a_sentencepiece_model_adds_bos_unless_told_otherwise() {
    for (config, bos, suffix) in [
        (r#"{}"#, &[1][..], None),
        (r#"{"add_bos_token": false}"#, &[], None),
        (r#"{"add_eos_token": true}"#, &[1], Some(2)),
        // InstructBLIP calls the end of a text its beginning, too.
        (r#"{"bos_token": "</s>"}"#, &[2], None),
    ] {
        let files = folder(&[
            ("tokenizer.model", &llama_model()),
            ("tokenizer_config.json", config.as_bytes()),
        ]);
        let tokenizer = Tokenizer::open(files.path()).expect("sound files");
        assert_eq!(tokenizer.bos_ids(), bos, "{config}");
        let ids = tokenizer.encode("a").expect("a known letter");
        let expected: Vec<u32> = bos.iter().copied().chain([262]).chain(suffix).collect();
        assert_eq!(ids, expected, "{config}");
        assert_eq!(tokenizer.eos_id(), Some(2));
    }
}

#[test]
fn a_json_file_says_itself_what_stands_around_a_text() {
    let mut file = merging();
    for (processor, expected) in [
        (Value::Null, &[][..]),
        (
            json!({"type": "BertProcessing", "cls": ["<s>", 17], "sep": ["</s>", 16]}),
            &[17],
        ),
    ] {
        file["post_processor"] = processor;
        let json = file.to_string();
        for config in [
            r#"{"bos_token": "<s>"}"#,
            r#"{"bos_token": "<s>", "add_bos_token": true}"#,
            r#"{"bos_token": "<s>", "add_bos_token": false}"#,
        ] {
            let files = folder(&[
                ("tokenizer.json", json.as_bytes()),
                ("tokenizer_config.json", config.as_bytes()),
            ]);
            let tokenizer = Tokenizer::open(files.path()).expect("sound files");
            assert_eq!(tokenizer.bos_ids(), expected, "{config}");
            assert_eq!(tokenizer.bos_id(), Some(17));
        }
    }
}

#[test]
fn tokens_added_by_the_configuration_follow_the_vocabulary() {
    for tokens in [
        r#"{"[PAD]": 263, "<image>": 264}"#,
        r#"{"[PAD]": 300, "<image>": 400}"#,
    ] {
        let files = folder(&[
            ("tokenizer.model", &llama_model()),
            ("added_tokens.json", tokens.as_bytes()),
        ]);
        let tokenizer = Tokenizer::open(files.path()).expect("sound files");
        assert_eq!(tokenizer.token_id("[PAD]"), Some(263), "{tokens}");
        assert_eq!(tokenizer.token_id("<image>"), Some(264), "{tokens}");
        assert_eq!(tokenizer.vocab_size(), 265);
    }
}

#[test]
fn special_tokens_that_no_file_gives_an_id_follow_in_the_order_of_their_names() {
    let json = merging().to_string();
    let config = r#"{"pad_token": "[P]", "eos_token": "<e>", "extra_special_tokens": ["<x>"],
        "additional_special_tokens": ["<y>"]}"#;
    let map = r#"{"eos_token": "<f>"}"#;
    let files = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", config.as_bytes()),
        ("special_tokens_map.json", map.as_bytes()),
    ]);
    let tokenizer = Tokenizer::open(files.path()).expect("sound files");
    let ids = ["<f>", "[P]", "<x>", "<y>", "<e>"].map(|token| tokenizer.token_id(token));
    assert_eq!(ids, [Some(21), Some(22), Some(23), None, None]);
    assert_eq!(tokenizer.eos_id(), Some(21));
    assert_eq!(tokenizer.decode(&[21, 22, 23]), "");
}

#[test]
fn the_flags_of_the_configuration_count() {
    let json = merging().to_string();
    let config = r#"{"added_tokens_decoder": {"16": {"content": "</s>", "lstrip": true,
        "rstrip": true, "special": false}}}"#;
    let files = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", config.as_bytes()),
    ]);
    let tokenizer = Tokenizer::open(files.path()).expect("sound files");
    let text = "s </s> s";
    let mut ids = Vec::new();
    let effort = Effort::for_bytes(text.len());
    let owned = 0..text.len();
    let owned = std::slice::from_ref(&owned);
    tokenizer
        .encode_span(text, owned, SpanPlace::Start, &effort, &mut ids)
        .expect("known letters");
    assert_eq!(ids, [2, 16, 2]);
    // It shows, but a user still cannot write it.
    assert_eq!(tokenizer.decode(&ids), "s</s>s");
    assert!(!tokenizer.encode(text).expect("known letters").contains(&16));
}

#[test]
fn what_the_configuration_calls_special_is_a_control_token() {
    let json = merging().to_string();
    let config = br#"{"extra_special_tokens": ["<image>", "<nowhere>"]}"#;
    let files = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", config),
    ]);
    let tokenizer = Tokenizer::open(files.path()).expect("sound files");
    let image = tokenizer.token_id("<image>").expect("in the vocabulary");
    assert!(
        !tokenizer
            .encode("<image>")
            .expect("known letters")
            .contains(&image)
    );
    assert_eq!(tokenizer.decode(&[image]), "");
    assert_eq!(tokenizer.token_id("<nowhere>"), Some(21));
}

#[test]
fn the_configuration_may_call_an_ordinary_token_special_by_its_id() {
    let json = merging().to_string();
    let config = r#"{"added_tokens_decoder": {"20": {"content": "<image>", "special": true},
        "10": {"content": "u", "special": false}}}"#;
    let files = folder(&[
        ("tokenizer.json", json.as_bytes()),
        ("tokenizer_config.json", config.as_bytes()),
    ]);
    let tokenizer = Tokenizer::open(files.path()).expect("sound files");
    assert_eq!(tokenizer.decode(&[20, 10]), "u");
    assert!(
        !tokenizer
            .encode("<image>")
            .expect("known letters")
            .contains(&20)
    );
}

#[test]
fn a_megabyte_of_control_tokens_takes_a_moment() {
    let merging = from_value(&merging())
        .with_control_token("<image>")
        .expect("known");
    let llama = Tokenizer::from_sentencepiece_bytes(&llama_model()).expect("a sound file");
    let start = Instant::now();
    for (text, tokenizer) in [
        ("<image>", &merging),
        ("</s>", &merging),
        ("<image>", &llama),
        (" ", &llama),
    ] {
        let text = text.repeat((1 << 20) / text.len());
        tokenizer.encode(&text).expect("any text can be encoded");
    }
    // A quadratic step somewhere would take hours.
    assert!(
        start.elapsed() < Duration::from_secs(60),
        "took {:?}",
        start.elapsed()
    );
}

/// Text out of the parts of control tokens.
pub(crate) fn hostile_text() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "<s>", "</s>", "<image>", "<unk>", "</", "s>", "<", ">", "im", "age>", " ", "a",
    ];
    proptest::collection::vec(prop::sample::select(PARTS), 0..16).prop_map(|parts| parts.concat())
}

proptest! {
    #[test]
    fn no_text_becomes_a_control_token(text in hostile_text()) {
        let merging = from_value(&merging()).with_control_token("<image>").expect("known");
        let llama = Tokenizer::from_sentencepiece_bytes(&llama_model()).expect("a sound file");
        for tokenizer in [merging, llama] {
            let ids = tokenizer.encode_bare(&text).expect("known letters");
            for control in ["<s>", "</s>", "<image>"] {
                if let Some(id) = tokenizer.token_id(control) {
                    prop_assert!(!ids.contains(&id), "{} in {:?}", control, ids);
                }
            }
            prop_assert_eq!(tokenizer.decode(&ids), text.as_str());
        }
    }
}
