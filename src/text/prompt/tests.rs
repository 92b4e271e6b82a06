use std::time::{Duration, Instant};

use proptest::prelude::*;
use serde_json::json;

use super::{Bos, ImageBorder, ImagePart, ImageSpan, ImageTokens, MAX_TEXT_BYTES, Piece, Prompt};
use crate::error::{Error, RequestError, TemplateError};
use crate::text::tokenizer::Tokenizer;
use crate::text::tokenizer::tests::{hostile_text, merging};

fn tokenizer() -> Tokenizer {
    let tokenizer = Tokenizer::from_json_bytes(merging().to_string().as_bytes());
    tokenizer
        .and_then(|tokenizer| tokenizer.with_control_token("<image>"))
        .expect("a sound file")
}

/// A tokenizer that puts `<s>` in front.
fn tokenizer_with_bos() -> Tokenizer {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let config = r#"{"bos_token": "<s>", "eos_token": "</s>"}"#;
    let mut file = merging();
    file["post_processor"] = json!({"type": "TemplateProcessing", "pair": [],
        "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}},
            {"Sequence": {"id": "A", "type_id": 0}}],
        "special_tokens": {"<s>": {"id": "<s>", "ids": [17], "tokens": ["<s>"]}}});
    for (name, text) in [
        ("tokenizer.json", file.to_string().as_str()),
        ("tokenizer_config.json", config),
    ] {
        std::fs::write(folder.path().join(name), text).expect("a writable folder");
    }
    Tokenizer::open(folder.path()).expect("sound files")
}

fn template(text: &str) -> Piece {
    Piece::Template(text.to_string())
}

fn message(text: &str) -> Piece {
    Piece::Message(text.to_string())
}

fn prompt(pieces: Vec<Piece>) -> Prompt {
    Prompt::new(pieces, Bos::First)
}

/// The spelling of each id, `.` for the placeholder.
fn tokens(tokenizer: &Tokenizer, prompt: &Prompt, images: &[ImageTokens]) -> Vec<String> {
    let tokens = prompt
        .tokenize(tokenizer, images, 999)
        .expect("a sound prompt");
    let spelled = |&id: &u32| tokenizer.token_text(id).unwrap_or_else(|| ".".to_string());
    tokens.ids.iter().map(spelled).collect()
}

#[test]
fn control_tokens_count_in_the_text_of_the_template_only() {
    let tokenizer = tokenizer();
    let prompt = prompt(vec![template("<s>"), message("<s></s>"), template("</s>")]);
    let tokens = tokens(&tokenizer, &prompt, &[]);
    assert_eq!(tokens.first().map(String::as_str), Some("<s>"));
    assert_eq!(tokens.last().map(String::as_str), Some("</s>"));
    assert_eq!(tokens[1..tokens.len() - 1].concat(), "<s></s>");
    assert!(
        !tokens[1..tokens.len() - 1]
            .iter()
            .any(|token| token == "<s>" || token == "</s>")
    );
}

#[test]
fn a_control_token_cannot_be_put_together_across_a_border() {
    let tokenizer = tokenizer();
    let controls = ["<s>", "</s>"];
    for pieces in [
        vec![template("</"), message("s>")],
        vec![message("</"), template("s>")],
        vec![template("</"), message(""), template("s>")],
        vec![message("</"), message("s>")],
    ] {
        let tokens = tokens(&tokenizer, &prompt(pieces), &[]);
        assert_eq!(tokens.concat(), "</s>");
        assert!(
            !tokens
                .iter()
                .any(|token| controls.contains(&token.as_str())),
            "{tokens:?}"
        );
    }
    let joined = tokens(
        &tokenizer,
        &prompt(vec![template("</"), template("s>")]),
        &[],
    );
    assert_eq!(joined, ["</s>"]);
}

#[test]
fn text_is_merged_across_the_border_of_authors() {
    let tokenizer = tokenizer();
    let prompt = prompt(vec![template("ai"), message("ma")]);
    assert_eq!(tokens(&tokenizer, &prompt, &[]), ["a", "im", "a"]);
}

#[test]
fn bos_goes_where_it_is_told() {
    let tokenizer = tokenizer_with_bos();
    let image = [ImageTokens::rows(2)];
    let pieces = || vec![template("a"), Piece::Image(0), message("m")];
    let first = prompt(pieces());
    assert_eq!(
        tokens(&tokenizer, &first, &image),
        ["<s>", "a", ".", ".", "m"]
    );
    let behind = prompt(pieces()).with_images_first();
    assert_eq!(
        tokens(&tokenizer, &behind, &image),
        [".", ".", "<s>", "a", "m"]
    );
    let written = Prompt::new(pieces(), Bos::OnlyWritten);
    assert_eq!(tokens(&tokenizer, &written, &image), ["a", ".", ".", "m"]);
}

#[test]
fn bos_is_not_doubled_where_the_template_writes_it() {
    let tokenizer = tokenizer_with_bos();
    let once = |pieces| tokens(&tokenizer, &Prompt::new(pieces, Bos::UnlessWritten), &[]);
    assert_eq!(once(vec![template("<s>a")]), ["<s>", "a"]);
    assert_eq!(once(vec![template("a")]), ["<s>", "a"]);
    // A user who writes it does not stop the tokenizer from putting it there.
    assert_eq!(once(vec![message("<s>")])[0], "<s>");
    assert!(once(vec![message("<s>")]).len() > 1);
    assert_eq!(
        once(vec![Piece::Bos, message("a"), Piece::Eos])[..],
        ["<s>", "<s>", "a", "</s>"]
    );
}

#[test]
fn a_tokenizer_without_the_token_that_a_template_needs_is_an_error() {
    let pieces = vec![message("a"), Piece::Eos];
    let error = prompt(pieces)
        .tokenize(&tokenizer(), &[], 0)
        .expect_err("no eos is named");
    assert!(
        matches!(
            error,
            Error::Template(TemplateError::MissingToken { token: "eos" })
        ),
        "{error:?}"
    );
}

#[test]
fn a_picture_may_be_several_runs_of_rows_between_control_tokens() {
    let tokenizer = tokenizer();
    let image = ImageTokens::new([
        ImagePart::Text("<s>".to_string()),
        ImagePart::Rows(2),
        ImagePart::Text(" </s>".to_string()),
        ImagePart::Rows(1),
    ]);
    assert_eq!(image.num_rows(), 3);
    let prompt = prompt(vec![Piece::Image(0), message("a")]);
    let found = prompt
        .tokenize(&tokenizer, &[image], 999)
        .expect("one picture");
    let spans = [(1, 2), (5, 1)].map(|(start, len)| ImageSpan {
        image: 0,
        start,
        len,
    });
    assert_eq!(found.image_spans, spans);
    assert_eq!(found.ids[spans[0].range()], [999, 999]);
    assert_eq!(found.ids.len(), 7);
}

#[test]
fn the_number_of_pictures_must_be_the_number_of_places() {
    let tokenizer = tokenizer();
    let one = prompt(vec![message("a"), Piece::Image(0)]);
    for images in [0, 2] {
        let images = vec![ImageTokens::rows(1); images];
        let error = one.tokenize(&tokenizer, &images, 0).expect_err("one place");
        assert!(matches!(
            error,
            Error::Request(RequestError::ImageCount { slots: 1, .. })
        ));
    }
    let second = prompt(vec![Piece::Image(1)]);
    assert!(
        second
            .tokenize(&tokenizer, &[ImageTokens::rows(1)], 0)
            .is_err()
    );
}

#[test]
fn text_beyond_the_limit_is_refused() {
    let tokenizer = tokenizer();
    // All of it unknown, and so one token.
    let text = "\u{e9}".repeat(MAX_TEXT_BYTES / 2);
    let longest = prompt(vec![message(&text)]);
    let ids = longest
        .tokenize(&tokenizer, &[], 0)
        .expect("at the limit")
        .ids;
    assert_eq!(ids.len(), 1);
    let error = prompt(vec![message(&text), template("a")]).tokenize(&tokenizer, &[], 0);
    assert!(matches!(
        error,
        Err(Error::Request(RequestError::TooLong { .. }))
    ));
}

#[test]
fn a_cut_at_a_picture_begins_the_text_anew() {
    let mut value = merging();
    value["pre_tokenizer"] = serde_json::json!({
        "type": "Metaspace", "replacement": "u", "prepend_scheme": "first", "split": false});
    let tokenizer = Tokenizer::from_json_bytes(value.to_string().as_bytes()).expect("a sound file");
    let pieces = || vec![template("a"), Piece::Image(0), message("a")];
    let image = [ImageTokens::rows(1)];
    assert_eq!(
        tokens(&tokenizer, &prompt(pieces()), &image),
        ["u", "a", ".", "a"]
    );
    let cut = prompt(pieces()).with_image_border(ImageBorder::Cut);
    assert_eq!(tokens(&tokenizer, &cut, &image), ["u", "a", ".", "u", "a"]);
}

#[test]
fn text_behind_the_pictures_and_bos_begins_the_prompt() {
    let mut value = merging();
    value["pre_tokenizer"] = serde_json::json!({
        "type": "Metaspace", "replacement": "u", "prepend_scheme": "first", "split": false});
    let tokenizer = Tokenizer::from_json_bytes(value.to_string().as_bytes()).expect("a sound file");
    let prompt = prompt(vec![message("a"), Piece::Image(0)]).with_images_first();
    assert_eq!(
        tokens(&tokenizer, &prompt, &[ImageTokens::rows(1)]),
        [".", "u", "a"]
    );
}

#[test]
fn a_megabyte_of_forged_pictures_takes_a_moment() {
    let tokenizer = tokenizer();
    let text = "<image>".repeat(MAX_TEXT_BYTES / 7);
    let start = Instant::now();
    for piece in [message(&text), template(&text)] {
        prompt(vec![piece])
            .tokenize(&tokenizer, &[], 0)
            .expect("no picture is placed");
    }
    assert!(
        start.elapsed() < Duration::from_secs(20),
        "took {:?}",
        start.elapsed()
    );
}

proptest! {
    #[test]
    fn a_message_never_adds_control_tokens(
        texts in proptest::collection::vec((hostile_text(), any::<bool>()), 0..6)
    ) {
        let tokenizer = tokenizer();
        let controls: Vec<u32> = tokenizer.control_tokens().iter().map(|token| token.id).collect();
        let count = |pieces: Vec<Piece>| {
            let ids = prompt(pieces).tokenize(&tokenizer, &[], 0).expect("a sound prompt").ids;
            ids.iter().filter(|id| controls.contains(id)).count()
        };
        let piece = |(text, is_template): &(String, bool)| {
            if *is_template { template(text) } else { message(text) }
        };
        // What the template writes by itself, each run of its pieces apart.
        let runs = texts.chunk_by(|a, b| a.1 && b.1).filter(|run| run[0].1);
        let alone: usize = runs.map(|run| count(run.iter().map(piece).collect())).sum();
        prop_assert_eq!(count(texts.iter().map(piece).collect()), alone);
    }
}
