//! Tokenizers out of random stages: none panics, none hangs, none fills memory.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::{Value, json};

use crate::text::tokenizer::Tokenizer;

/// Longest that opening a small tokenizer and encoding a small text may take, under load.
const TIME_LIMIT: Duration = Duration::from_secs(15);

fn pattern() -> impl Strategy<Value = Value> {
    prop_oneof![
        prop::sample::select(vec!["a", "b", " ", "ab", "\u{e9}", "\u{2581}"])
            .prop_map(|text| json!({"String": text})),
        prop::sample::select(vec![
            r"\b",
            "^",
            "$",
            "a*",
            r"\s+",
            "a+|b",
            ".",
            r"\w+|[^\w\s]+",
            ".*[^a]|a",
            r"\s+(?!\S)|a",
            "(?=a)",
            "(a|aa)+$"
        ])
        .prop_map(|pattern| json!({"Regex": pattern})),
    ]
}

fn content() -> impl Strategy<Value = String> {
    prop_oneof![
        3 => prop::sample::select(vec!["", "a", "aa", "b ", "\u{2581}", "\u{fdfa}", " a a"])
            .prop_map(str::to_string),
        1 => Just("a".repeat(500)),
    ]
}

fn replace() -> impl Strategy<Value = Value> {
    (pattern(), content()).prop_map(
        |(pattern, content)| json!({"type": "Replace", "pattern": pattern, "content": content}),
    )
}

fn normalizer() -> impl Strategy<Value = Value> {
    let plain = [
        "NFC",
        "NFD",
        "NFKC",
        "NFKD",
        "Lowercase",
        "StripAccents",
        "Nmt",
        "ByteLevel",
    ];
    prop_oneof![
        3 => replace(),
        3 => prop::sample::select(plain.to_vec()).prop_map(|kind| json!({"type": kind})),
        1 => content().prop_map(|it| json!({"type": "Prepend", "prepend": it})),
        1 => (any::<bool>(), any::<bool>()).prop_map(|(left, right)| {
            json!({"type": "Strip", "strip_left": left, "strip_right": right})
        }),
        1 => any::<[bool; 4]>().prop_map(|[clean, chinese, accents, lower]| {
            json!({"type": "BertNormalizer", "clean_text": clean, "lowercase": lower,
                "handle_chinese_chars": chinese, "strip_accents": accents})
        }),
    ]
}

fn pre_tokenizer() -> impl Strategy<Value = Value> {
    let plain = [
        "BertPreTokenizer",
        "Whitespace",
        "WhitespaceSplit",
        "UnicodeScripts",
    ];
    let behavior = prop::sample::select(vec![
        "Removed",
        "Isolated",
        "MergedWithPrevious",
        "MergedWithNext",
        "Contiguous",
    ]);
    prop_oneof![
        3 => (pattern(), behavior.clone(), any::<bool>()).prop_map(|(pattern, behavior, invert)| {
            json!({"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert})
        }),
        2 => prop::sample::select(plain.to_vec()).prop_map(|kind| json!({"type": kind})),
        2 => any::<[bool; 2]>().prop_map(|[prefix, regex]| {
            json!({"type": "ByteLevel", "add_prefix_space": prefix, "trim_offsets": true,
                "use_regex": regex})
        }),
        2 => (prop::sample::select(vec!["first", "always", "never"]), any::<bool>()).prop_map(
            |(scheme, split)| json!({"type": "Metaspace", "replacement": "\u{2581}",
                "prepend_scheme": scheme, "split": split})
        ),
        1 => behavior.prop_map(|it| json!({"type": "Punctuation", "behavior": it})),
        1 => any::<bool>().prop_map(|it| json!({"type": "Digits", "individual_digits": it})),
        1 => (0_usize..4).prop_map(|length| json!({"type": "FixedLength", "length": length})),
        1 => Just(json!({"type": "CharDelimiterSplit", "delimiter": "a"})),
    ]
}

fn decoder() -> impl Strategy<Value = Value> {
    let plain = ["Fuse", "ByteFallback", "ByteLevel"];
    prop_oneof![
        2 => replace(),
        3 => prop::sample::select(plain.to_vec()).prop_map(|kind| json!({"type": kind,
            "add_prefix_space": true, "trim_offsets": true, "use_regex": true})),
        2 => (0_usize..600, 0_usize..600).prop_map(|(start, stop)| {
            json!({"type": "Strip", "content": "a", "start": start, "stop": stop})
        }),
        1 => content().prop_map(|it| json!({"type": "BPEDecoder", "suffix": it})),
        1 => (content(), any::<bool>()).prop_map(|(prefix, cleanup)| {
            json!({"type": "WordPiece", "prefix": prefix, "cleanup": cleanup})
        }),
        1 => (content(), content()).prop_map(|(pad, delimiter)| {
            json!({"type": "CTC", "pad_token": pad, "word_delimiter_token": delimiter,
                "cleanup": true})
        }),
        1 => Just(json!({"type": "Metaspace", "replacement": "\u{2581}",
            "prepend_scheme": "first"})),
    ]
}

fn model() -> impl Strategy<Value = Value> {
    let ids = json!({"[UNK]": 0, "a": 1, "b": 2, "ab": 3, "##a": 4, " ": 5, "\u{2581}": 6,
        "<0xC3>": 7, "\u{120}": 8, "aa": 9});
    let scores = json!([
        ["[UNK]", 0.0],
        ["a", -1.0],
        ["b", -2.0],
        ["ab", -1.5],
        ["aa", -1.0]
    ]);
    prop_oneof![
        any::<[bool; 3]>().prop_map({
            let ids = ids.clone();
            move |[fuse, fallback, ignore]| {
                json!({"type": "BPE", "vocab": ids,
                "merges": [["a", "b"], ["a", "a"]], "unk_token": "[UNK]", "fuse_unk": fuse,
                "byte_fallback": fallback, "ignore_merges": ignore})
            }
        }),
        (1_u64..200).prop_map({
            let ids = ids.clone();
            move |chars| {
                json!({"type": "WordPiece", "vocab": ids, "unk_token": "[UNK]",
                "continuing_subword_prefix": "##", "max_input_chars_per_word": chars})
            }
        }),
        Just(json!({"type": "WordLevel", "vocab": ids, "unk_token": "[UNK]"})),
        any::<bool>().prop_map(move |fallback| json!({"type": "Unigram", "vocab": scores,
            "unk_id": 0, "byte_fallback": fallback})),
    ]
}

fn added_tokens() -> impl Strategy<Value = Vec<Value>> {
    let token = (
        prop::sample::select(vec!["<s>", "mask", " x", "x ", "\u{e9}", "[M]"]),
        any::<[bool; 5]>(),
    );
    proptest::collection::vec(token, 0..4).prop_map(|tokens| {
        let tokens = tokens.into_iter().enumerate();
        let added = tokens.map(
            |(place, (content, [special, normalized, left, right, word]))| {
                json!({"id": 20 + place, "content": content, "special": special,
                "normalized": normalized, "lstrip": left, "rstrip": right, "single_word": word})
            },
        );
        added.collect()
    })
}

/// A tokenizer of any stages in any order, many of which nobody would write.
fn file() -> impl Strategy<Value = Value> {
    (
        proptest::collection::vec(normalizer(), 0..6),
        proptest::collection::vec(pre_tokenizer(), 0..4),
        proptest::collection::vec(decoder(), 0..4),
        model(),
        added_tokens(),
    )
        .prop_map(|(normalizers, pretokenizers, decoders, model, added)| {
            let chain = |kind: &str, stages: &Vec<Value>| match stages.as_slice() {
                [] => Value::Null,
                stages => json!({"type": "Sequence", kind: stages}),
            };
            let size = model["vocab"].as_object().map_or(5, serde_json::Map::len);
            let mut added = added;
            let mut seen = Vec::new();
            added.retain(|token| {
                let is_new = !seen.contains(&token["content"]);
                seen.push(token["content"].clone());
                is_new
            });
            for (id, token) in (size..).zip(&mut added) {
                token["id"] = json!(id);
            }
            json!({"version": "1.0", "added_tokens": added, "model": model,
                "normalizer": chain("normalizers", &normalizers),
                "pre_tokenizer": chain("pretokenizers", &pretokenizers),
                "decoder": chain("decoders", &decoders)})
        })
}

fn text() -> impl Strategy<Value = String> {
    const PARTS: &[&str] = &[
        "a",
        "b",
        " ",
        "aa",
        "<s>",
        "mask",
        " x",
        "\u{e9}",
        "e\u{301}",
        "\u{fdfa}",
        "\u{ac00}",
        "\n",
        "1",
        ".",
        "\u{1F642}",
        "\0",
        "\u{2581}",
        "\u{4e00}",
    ];
    proptest::collection::vec(prop::sample::select(PARTS), 0..40).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn no_stages_and_no_text_panic_or_hang(file in file(), text in text()) {
        let start = Instant::now();
        let bytes = file.to_string();
        if let Ok(tokenizer) = Tokenizer::from_json_bytes(bytes.as_bytes())
            && let Ok(ids) = tokenizer.encode(&text)
        {
            // The library refuses no text, so it may not be made to panic by one either.
            prop_assert!(ids.len() <= 16 * (text.len() + 1024), "{} ids", ids.len());
            let decoded = tokenizer.decode(&ids);
            prop_assert!(decoded.len() <= 4 * 512 * (ids.len() + 1));
        } else if let Ok(tokenizer) = Tokenizer::from_json_bytes(bytes.as_bytes()) {
            let error = tokenizer.encode(&text).map_err(|error| error.to_string());
            let panicked = matches!(&error, Err(reason) if reason.contains("panicked"));
            prop_assert!(!panicked, "{error:?} on {text:?}");
        }
        prop_assert!(start.elapsed() < TIME_LIMIT);
    }
}

#[test]
fn many_words_of_a_megabyte_are_encoded_in_moments() {
    let mut file = json!({"version": "1.0", "added_tokens": [],
        "model": {"type": "BPE", "vocab": {"a": 0, " ": 1}, "merges": []}});
    let start = Instant::now();
    for pre_tokenizer in [
        json!(null),
        json!({"type": "FixedLength", "length": 1}),
        json!({"type": "Split", "pattern": {"Regex": "a"}, "behavior": "Isolated", "invert": false}),
    ] {
        file["pre_tokenizer"] = pre_tokenizer;
        let tokenizer = Tokenizer::from_json_bytes(file.to_string().as_bytes()).expect("sound");
        let ids = tokenizer
            .encode(&"a ".repeat(1 << 17))
            .expect("known letters");
        assert_eq!(ids.len(), 1 << 18);
    }
    assert!(start.elapsed() < Duration::from_secs(60));
}
