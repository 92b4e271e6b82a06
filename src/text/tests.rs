//! Equality with Hugging Face, on `tests/fixtures/text`; `generate.py` beside it made them.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use super::chat_template::{ChatOptions, ChatTemplate};
use super::conversation::{Ending, Message, Part, Role};
use super::prompt::{Bos, ImageTokens, Piece, Prompt};
use super::tokenizer::Tokenizer;

#[derive(Deserialize)]
struct Expected {
    tokenizers: Vec<ExpectedTokenizer>,
    chats: Vec<ExpectedChat>,
}

#[derive(Deserialize)]
struct ExpectedTokenizer {
    folder: String,
    cases: Vec<Tokenized>,
    decoded: Vec<Tokenized>,
}

#[derive(Deserialize)]
struct Tokenized {
    ids: Vec<u32>,
    text: String,
}

#[derive(Deserialize)]
struct ExpectedChat {
    name: String,
    template: String,
    messages: Vec<ChatMessage>,
    add_generation_prompt: bool,
    text: String,
}

#[derive(Deserialize)]
struct ChatMessage {
    role: String,
    content: Vec<ChatPart>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
enum ChatPart {
    Text { text: String },
    Image,
}

fn fixtures() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/text")
}

fn expected() -> Expected {
    let text = std::fs::read_to_string(fixtures().join("expected.json")).expect("the fixture");
    serde_json::from_str(&text).expect("the fixture is valid")
}

fn tokenizers() -> impl Iterator<Item = (ExpectedTokenizer, Tokenizer)> {
    expected().tokenizers.into_iter().map(|expected| {
        let tokenizer = Tokenizer::open(&fixtures().join(&expected.folder));
        (expected, tokenizer.expect("a sound tokenizer"))
    })
}

fn tokenize(tokenizer: &Tokenizer, pieces: Vec<Piece>) -> Vec<u32> {
    let prompt = Prompt::new(pieces, Bos::OnlyWritten);
    prompt
        .tokenize(tokenizer, &[], 0)
        .expect("a text that can be spelled")
        .ids
}

#[test]
fn a_prompt_of_a_template_has_the_ids_of_hugging_face() {
    for (expected, tokenizer) in tokenizers() {
        for case in &expected.cases {
            let ids = tokenize(&tokenizer, vec![Piece::Template(case.text.clone())]);
            assert_eq!(ids, case.ids, "{}: {:?}", expected.folder, case.text);
        }
    }
}

#[test]
fn who_wrote_a_text_without_control_tokens_makes_no_difference() {
    let mut tried = 0;
    for (expected, tokenizer) in tokenizers() {
        let controls: Vec<_> = tokenizer
            .control_tokens()
            .iter()
            .map(|t| &*t.content)
            .collect();
        for case in &expected.cases {
            if controls.iter().any(|control| case.text.contains(control)) {
                continue;
            }
            tried += 1;
            assert_eq!(tokenizer.encode_bare(&case.text).expect("a text"), case.ids);
            for (at, _) in case.text.char_indices() {
                let (template, message) = case.text.split_at(at);
                let pieces = vec![
                    Piece::Template(template.to_string()),
                    Piece::Message(message.to_string()),
                ];
                assert_eq!(tokenize(&tokenizer, pieces), case.ids, "{:?}", case.text);
            }
        }
    }
    assert!(tried > 300, "only {tried} texts without control tokens");
}

#[test]
fn decoding_and_streaming_give_the_text_of_hugging_face() {
    for (expected, tokenizer) in tokenizers() {
        for case in &expected.decoded {
            assert_eq!(
                tokenizer.decode(&case.ids),
                case.text,
                "{}: {:?}",
                expected.folder,
                case.ids
            );
            let mut stream = tokenizer.stream(&[]).expect("no stop strings");
            let mut text: String = case.ids.iter().filter_map(|&id| stream.push(id)).collect();
            text.push_str(&stream.finish());
            assert_eq!(text, case.text, "{}: {:?}", expected.folder, case.ids);
        }
    }
}

#[test]
fn chat_templates_render_as_in_transformers() {
    let tokenizer = Tokenizer::open(&fixtures().join("sentencepiece")).expect("a sound tokenizer");
    for chat in expected().chats {
        let template = ChatTemplate::new(&chat.template).expect("valid Jinja");
        let messages: Vec<Message> = chat.messages.into_iter().map(message).collect();
        let ending = if chat.add_generation_prompt {
            Ending::GenerationPrompt
        } else {
            Ending::Closed
        };
        let image_token = Some("<image>");
        let options = ChatOptions {
            image_token,
            bos: Bos::OnlyWritten,
            ending,
        };
        let prompt = template
            .render(&messages, &tokenizer, options)
            .expect("an honest template");
        assert_eq!(written(&prompt), chat.text, "{}", chat.name);
    }
}

fn message(message: ChatMessage) -> Message {
    let role = match message.role.as_str() {
        "system" => Role::System,
        "user" => Role::User,
        _ => Role::Assistant,
    };
    let parts = message.content.into_iter().map(|part| match part {
        ChatPart::Text { text } => Part::Text(text),
        ChatPart::Image => Part::Image,
    });
    Message {
        role,
        parts: parts.collect(),
    }
}

/// What stands in a prompt, with pictures as the templates spell them.
fn written(prompt: &Prompt) -> String {
    let texts = prompt.pieces().iter().map(|piece| match piece {
        Piece::Template(text) | Piece::Message(text) => text.as_str(),
        Piece::Image(_) => "<image>",
        Piece::Bos | Piece::Eos => "",
    });
    texts.collect()
}

#[test]
fn the_rows_of_a_picture_stand_between_what_stands_around_it() {
    for (_, tokenizer) in tokenizers() {
        let pieces = |middle| {
            vec![
                Piece::Template("What".into()),
                middle,
                Piece::Message(" this?".into()),
            ]
        };
        let prompt = Prompt::new(pieces(Piece::Image(0)), Bos::OnlyWritten);
        let rows = prompt
            .tokenize(&tokenizer, &[ImageTokens::rows(3)], 9)
            .expect("one picture");
        let span = rows.image_spans[0];
        assert_eq!((span.image, span.len), (0, 3));
        assert_eq!(rows.ids[span.range()], [9, 9, 9]);
        // A control token in the same place cuts the text in the same way.
        let Some(control) = tokenizer.token_id("</s>") else {
            continue;
        };
        let whole = tokenize(&tokenizer, pieces(Piece::Template("</s>".into())));
        let mut expected = whole.clone();
        let at = whole
            .iter()
            .position(|&id| id == control)
            .expect("the token");
        expected.splice(at..=at, [9, 9, 9]);
        assert_eq!(rows.ids, expected);
    }
}

#[derive(Deserialize)]
struct ExpectedAdded {
    model: serde_json::Value,
    cases: Vec<ExpectedAddedCase>,
}

#[derive(Deserialize)]
struct ExpectedAddedCase {
    file: serde_json::Value,
    texts: Vec<Tokenized>,
}

/// The tokenizers of `tests/fixtures/added_tokens`, whose added tokens have every set of flags.
fn tokenizers_with_flags() -> impl Iterator<Item = (ExpectedAddedCase, Tokenizer)> {
    let path = fixtures().with_file_name("added_tokens/expected.json");
    let text = std::fs::read_to_string(path).expect("the fixture");
    let expected: ExpectedAdded = serde_json::from_str(&text).expect("the fixture is valid");
    expected.cases.into_iter().map(move |mut case| {
        case.file["model"] = expected.model.clone();
        let bytes = case.file.to_string();
        let tokenizer = Tokenizer::from_json_bytes(bytes.as_bytes());
        (case, tokenizer.expect("a sound tokenizer"))
    })
}

#[test]
fn added_tokens_of_every_set_of_flags_are_found_as_hugging_face_finds_them() {
    let mut tried = 0;
    for (case, tokenizer) in tokenizers_with_flags() {
        for expected in &case.texts {
            let ids = tokenize(&tokenizer, vec![Piece::Template(expected.text.clone())]);
            let added = &case.file["added_tokens"];
            assert_eq!(ids, expected.ids, "{:?} with {added}", expected.text);
            tried += 1;
        }
    }
    assert!(tried > 2000, "only {tried} texts");
}

#[test]
fn no_flags_make_a_control_token_of_what_a_user_writes() {
    for (case, tokenizer) in tokenizers_with_flags() {
        let added = case.file["added_tokens"].as_array().expect("a list");
        let special = added.iter().filter(|token| token["special"] == true);
        let special: Vec<_> = special.map(|token| token["id"].as_u64()).collect();
        for expected in &case.texts {
            let ids = tokenize(&tokenizer, vec![Piece::Message(expected.text.clone())]);
            let is_special = |id: &&u32| special.contains(&Some(u64::from(**id)));
            assert_eq!(ids.iter().find(is_special), None, "{:?}", expected.text);
        }
    }
}

#[test]
fn white_space_around_a_picture_is_what_the_flags_of_its_token_leave() {
    let mut file: serde_json::Value = serde_json::from_str(
        r#"{"version": "1.0", "added_tokens": [{"id": 3, "content": "<image>", "special": true,
            "normalized": false, "single_word": false}],
            "model": {"type": "BPE", "vocab": {"a": 0, " ": 1, "b": 2}, "merges": []}}"#,
    )
    .expect("valid JSON");
    for (left, right, expected) in [
        (false, false, &[0, 1, 1, 3, 3, 1, 2][..]),
        (true, false, &[0, 3, 3, 1, 2]),
        (false, true, &[0, 1, 1, 3, 3, 2]),
        (true, true, &[0, 3, 3, 2]),
    ] {
        file["added_tokens"][0]["lstrip"] = left.into();
        file["added_tokens"][0]["rstrip"] = right.into();
        let tokenizer = Tokenizer::from_json_bytes(file.to_string().as_bytes()).expect("sound");
        let pieces = vec![
            Piece::Template("a ".into()),
            Piece::Message(" ".into()),
            Piece::Image(0),
            Piece::Message(" b".into()),
        ];
        let tokens = Prompt::new(pieces, Bos::OnlyWritten)
            .tokenize(&tokenizer, &[ImageTokens::rows(2)], 3)
            .expect("one picture");
        assert_eq!(tokens.ids, expected, "{left} {right}");
        assert_eq!(tokens.ids[tokens.image_spans[0].range()], [3, 3]);
    }
}
