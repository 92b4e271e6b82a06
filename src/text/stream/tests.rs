use std::time::{Duration, Instant};

use proptest::prelude::*;

use crate::text::sentencepiece::tests::ModelWriter;
use crate::text::stream::TextStream;
use crate::text::tokenizer::Tokenizer;

fn llama() -> Tokenizer {
    let model = ModelWriter::llama(&["\u{2581}", "#", "##", "###", "a", "b", "ab#", "\u{2581}a"]);
    Tokenizer::from_sentencepiece_bytes(&model).expect("a sound file")
}

fn ids(tokenizer: &Tokenizer, tokens: &[&str]) -> Vec<u32> {
    tokens
        .iter()
        .map(|token| tokenizer.token_id(token).expect("a known token"))
        .collect()
}

fn stream(tokenizer: &Tokenizer, stop: &[&str]) -> TextStream {
    let stop: Vec<String> = stop.iter().map(|stop| (*stop).to_string()).collect();
    tokenizer.stream(&stop).expect("sound stop strings")
}

/// The text up to a stop string, and which one it was.
fn run(tokenizer: &Tokenizer, ids: &[u32], stop: &[&str]) -> (String, Option<usize>) {
    let mut stream = stream(tokenizer, stop);
    let mut text: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
    text.push_str(&stream.finish());
    (text, stream.stopped())
}

/// The same, by definition: of the whole text, a character at a time.
fn run_at_once(tokenizer: &Tokenizer, ids: &[u32], stop: &[&str]) -> (String, Option<usize>) {
    let text = tokenizer.decode(ids);
    for (at, character) in text.char_indices() {
        let read = &text[..at + character.len_utf8()];
        let complete = stop
            .iter()
            .enumerate()
            .filter(|(_, stop)| read.ends_with(**stop));
        if let Some((index, stop)) =
            complete.max_by_key(|(index, stop)| (stop.len(), -(*index as i64)))
        {
            return (read[..read.len() - stop.len()].to_string(), Some(index));
        }
    }
    (text, None)
}

#[test]
fn a_stop_string_may_span_tokens_and_begin_inside_one() {
    let tokenizer = llama();
    let ids = ids(&tokenizer, &["\u{2581}a", "ab#", "#", "###", "a"]);
    assert_eq!(
        run(&tokenizer, &ids, &["###"]),
        ("aab".to_string(), Some(0))
    );
    assert_eq!(
        run(&tokenizer, &ids, &["zz", "b##"]),
        ("aa".to_string(), Some(1))
    );
}

#[test]
fn what_may_become_a_stop_string_is_held_and_given_out_when_it_does_not() {
    let tokenizer = llama();
    let mut stream = stream(&tokenizer, &["###"]);
    let [a, hash, b] = [0, 1, 2].map(|at| ids(&tokenizer, &["\u{2581}a", "#", "b"])[at]);
    assert_eq!(stream.push(a).as_deref(), Some("a"));
    assert_eq!(stream.push(hash), None);
    assert_eq!(stream.push(hash), None);
    assert_eq!(stream.push(b).as_deref(), Some("##b"));
    assert_eq!(stream.push(hash), None);
    assert_eq!(stream.finish(), "#");
    assert_eq!(stream.stopped(), None);
}

#[test]
fn nothing_comes_after_a_stop_string() {
    let tokenizer = llama();
    let mut stream = stream(&tokenizer, &["##"]);
    let ids = ids(&tokenizer, &["###", "a"]);
    assert_eq!(stream.push(ids[0]), None);
    assert_eq!(stream.stopped(), Some(0));
    assert_eq!(stream.push(ids[1]), None);
    assert_eq!(stream.finish(), "");
}

#[test]
fn the_end_of_the_stream_may_complete_a_stop_string() {
    let tokenizer = llama();
    // A newline is a byte token, certain only once the next token is no byte.
    let ids = ids(&tokenizer, &["a", "<0x0A>"]);
    assert_eq!(run(&tokenizer, &ids, &["\n"]), ("a".to_string(), Some(0)));
}

#[test]
fn characters_of_several_bytes_come_out_whole() {
    let tokenizer = llama();
    let bytes = ids(&tokenizer, &["a", "<0xED>", "<0x95>", "<0x9C>", "b"]);
    let mut stream = stream(&tokenizer, &[]);
    let pieces: Vec<_> = bytes.iter().map(|&id| stream.push(id)).collect();
    assert_eq!(pieces[..4], [Some("a".to_string()), None, None, None]);
    assert_eq!(pieces[4].as_deref(), Some("\u{d55c}b"));
}

#[test]
fn special_tokens_are_not_shown() {
    let tokenizer = llama();
    let ids = ids(&tokenizer, &["<s>", "\u{2581}a", "</s>"]);
    assert_eq!(run(&tokenizer, &ids, &[]), ("a".to_string(), None));
    let mut stream = stream(&tokenizer, &[]).with_control_tokens(true);
    let text: String = ids.iter().filter_map(|&id| stream.push(id)).collect();
    assert_eq!(text + &stream.finish(), "<s> a</s>");
}

#[test]
fn odd_stop_strings_are_refused() {
    let tokenizer = llama();
    for stop in [
        vec![String::new()],
        vec!["a".to_string(); 17],
        vec!["a".repeat(257)],
    ] {
        let error = tokenizer.stream(&stop).expect_err("outside of the limits");
        assert!(error.to_string().contains("`stop`"), "{error}");
    }
    tokenizer
        .stream(&vec!["a".repeat(256); 16])
        .expect("at the limits");
}

#[test]
fn a_long_stream_costs_the_same_for_each_id() {
    let tokenizer = llama();
    let start = Instant::now();
    for tokens in [
        ["a"; 4],
        ["<s>"; 4],
        ["<0xED>"; 4],
        ["#", "#", "a", "<0x0A>"],
    ] {
        let ids = ids(&tokenizer, &tokens);
        let mut stream = stream(&tokenizer, &["###", "\n\n"]);
        for id in ids.iter().cycle().take(100_000) {
            stream.push(*id);
        }
        stream.finish();
    }
    // Decoding a growing window would take a hundred thousand times as long.
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "took {:?}",
        start.elapsed()
    );
}

proptest! {
    #[test]
    fn a_stream_equals_decoding_at_once(
        ids in proptest::collection::vec(0..270_u32, 0..24),
        letters in proptest::collection::vec(259..267_u32, 0..24),
        stop in proptest::collection::vec(
            prop::sample::select(&["#", "##", "a##", "#a", "b", "aab", " a", "\u{fffd}"][..]), 0..3)
    ) {
        let tokenizer = llama();
        for ids in [ids, letters] {
            prop_assert_eq!(run(&tokenizer, &ids, &stop), run_at_once(&tokenizer, &ids, &stop));
        }
    }
}
