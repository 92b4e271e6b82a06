use proptest::prelude::*;
use serde_json::json;
use tokenizers::{Decoder, DecoderWrapper};

use super::characters::byte_level_byte;
use super::{DecoderStage, Detokenizer};
use crate::text::engine::Matcher;

fn decoder(value: serde_json::Value) -> DecoderWrapper {
    serde_json::from_value(value).expect("a decoder")
}

fn llama() -> DecoderWrapper {
    decoder(json!({"type": "Sequence", "decoders": [
        {"type": "Replace", "pattern": {"String": "\u{2581}"}, "content": " "},
        {"type": "ByteFallback"},
        {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0}
    ]}))
}

fn byte_level() -> DecoderWrapper {
    decoder(
        json!({"type": "ByteLevel", "add_prefix_space": true, "trim_offsets": true,
        "use_regex": true}),
    )
}

/// One decoder of every kind, and chains that end in each way.
fn decoders() -> Vec<DecoderWrapper> {
    // The library panics where it strips more off the end than there is.
    let strip = |stop| json!({"type": "Strip", "content": "a", "start": 2, "stop": stop});
    vec![
        llama(),
        byte_level(),
        decoder(
            json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "always"}),
        ),
        decoder(json!({"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "never"})),
        decoder(json!({"type": "WordPiece", "prefix": "##", "cleanup": true})),
        decoder(json!({"type": "WordPiece", "prefix": "##", "cleanup": false})),
        decoder(json!({"type": "BPEDecoder", "suffix": "</w>"})),
        decoder(
            json!({"type": "CTC", "pad_token": "a", "word_delimiter_token": "|",
            "cleanup": true}),
        ),
        decoder(strip(0)),
        decoder(json!({"type": "Sequence", "decoders": [{"type": "Fuse"}, strip(0)]})),
        decoder(json!({"type": "Sequence", "decoders": [
            {"type": "Fuse"},
            {"type": "Replace", "pattern": {"Regex": "a+ "}, "content": "-"}
        ]})),
        decoder(json!({"type": "Sequence", "decoders": [
            {"type": "ByteFallback"},
            {"type": "Metaspace", "replacement": "\u{2581}", "prepend_scheme": "first"}
        ]})),
    ]
}

/// A decoder as it is read from a file.
fn chain(decoder: &DecoderWrapper) -> Vec<DecoderStage> {
    match decoder {
        DecoderWrapper::Sequence(sequence) => {
            sequence.get_decoders().iter().flat_map(chain).collect()
        }
        DecoderWrapper::Replace(replace) => {
            let value = serde_json::to_value(replace).expect("a stage");
            let pattern = &value["pattern"];
            let wanted = match pattern["String"].as_str() {
                Some(text) => Matcher::text(text),
                None => Matcher::pattern(pattern["Regex"].as_str().expect("a pattern")),
            };
            vec![DecoderStage::Replace {
                wanted: wanted.expect("a plain pattern"),
                content: replace.content.clone(),
            }]
        }
        plain => vec![DecoderStage::Library(plain.clone())],
    }
}

fn stream(decoder: &DecoderWrapper, tokens: &[String]) -> String {
    let mut detokenizer = Detokenizer::new(&chain(decoder));
    let mut text: String = tokens
        .iter()
        .map(|token| detokenizer.push(token.clone()))
        .collect();
    text.push_str(&detokenizer.finish());
    text
}

fn pieces(decoder: &DecoderWrapper, tokens: &[&str]) -> Vec<String> {
    let mut detokenizer = Detokenizer::new(&chain(decoder));
    let mut pieces: Vec<String> = tokens
        .iter()
        .map(|token| detokenizer.push((*token).to_string()))
        .collect();
    pieces.push(detokenizer.finish());
    pieces
}

#[test]
fn text_comes_out_with_the_token_that_makes_it_certain() {
    let tokens = [
        "\u{2581}Hi",
        "\u{2581}",
        "<0xED>",
        "<0x95>",
        "<0x9C>",
        "!",
        "<0x0A>",
    ];
    assert_eq!(
        pieces(&llama(), &tokens),
        ["Hi", " ", "", "", "", "\u{d55c}!", "", "\n"]
    );
}

#[test]
fn one_bad_byte_spoils_its_whole_run_as_it_does_in_one_piece() {
    let tokens = ["<0xED>", "<0x95>", "<0x9C>", "<0xED>", "x"];
    assert_eq!(
        pieces(&llama(), &tokens).concat(),
        "\u{fffd}\u{fffd}\u{fffd}\u{fffd}x"
    );
}

#[test]
fn byte_level_characters_come_out_whole() {
    // U+D55C is ED 95 9C, which GPT-2 spells with these three characters.
    let tokens = ["a\u{ed}", "\u{137}", "\u{13e}b", "\u{ed}\u{137}"];
    assert_eq!(
        pieces(&byte_level(), &tokens),
        ["a", "", "\u{d55c}b", "", "\u{fffd}"]
    );
}

#[test]
fn the_byte_level_alphabet_is_one_to_one() {
    let mut bytes: Vec<u8> = ('\0'..='\u{3ff}').filter_map(byte_level_byte).collect();
    bytes.sort_unstable();
    assert_eq!(bytes, (0..=255).collect::<Vec<u8>>());
}

#[test]
fn without_a_decoder_tokens_are_joined_by_spaces() {
    let mut detokenizer = Detokenizer::new(&[]);
    let text: String = ["a", "b", "c"]
        .map(|token| detokenizer.push(token.to_string()))
        .concat();
    assert_eq!(text, "a b c");
}

#[test]
fn both_ends_of_a_text_are_cut_wherever_its_tokens_part() {
    let strip = decoder(json!({"type": "Sequence", "decoders": [
        {"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 2, "stop": 3}
    ]}));
    for tokens in [vec!["aaabaaaab"], vec!["a", "a", "aba", "aa", "ab"]] {
        let pieces = pieces(&strip, &[&tokens[..], &["aa", "a", "a"]].concat());
        assert_eq!(pieces.concat(), "abaaaaba");
    }
}

#[test]
fn a_strip_longer_than_the_text_leaves_nothing() {
    // The library's own decoder panics here.
    let strip = decoder(json!({"type": "Sequence", "decoders": [
        {"type": "Fuse"}, {"type": "Strip", "content": "a", "start": 9, "stop": 9}
    ]}));
    assert_eq!(stream(&strip, &["aa".to_string()]), "");
    let strip = decoder(json!({"type": "Strip", "content": "a", "start": 9, "stop": 9}));
    assert_eq!(stream(&strip, &["aa".to_string(), "ba".to_string()]), "b");
}

fn token() -> impl Strategy<Value = String> {
    prop_oneof![
        4 => (0..=255_u8).prop_map(|byte| format!("<0x{byte:02X}>")),
        1 => Just("<0xzz>".to_string()),
        1 => Just("<0x+1>".to_string()),
        4 => "[ab\u{2581} ']{0,4}",
        2 => "##[ab]{1,3}",
        2 => "[ab]{1,3}</w>",
        4 => "[\u{ed}\u{137}\u{13e}\u{120}a]{1,3}",
        1 => "[한é\u{1F642}|.,?]{1,3}",
    ]
}

proptest! {
    #[test]
    fn streaming_equals_decoding_at_once(tokens in proptest::collection::vec(token(), 1..24)) {
        for decoder in decoders() {
            let expected = decoder.decode(tokens.clone()).expect("no regular expression gives up");
            prop_assert_eq!(stream(&decoder, &tokens), expected, "{:?}", decoder);
        }
    }
}
