use proptest::prelude::*;

use super::{LoadedSentencePiece, PieceKind, load};
use crate::error::TokenizerError;
use crate::text::detokenizer::Detokenizer;
use crate::text::engine::{Effort, SpanPlace};
use crate::text::tokenizer_config::TokenizerConfig;

/// Writes a `tokenizer.model` field by field.
#[derive(Default, Clone)]
pub(crate) struct ModelWriter {
    bytes: Vec<u8>,
}

impl ModelWriter {
    /// A byte-pair-encoding model of these pieces, with all 256 byte pieces behind the first three.
    pub(crate) fn llama(pieces: &[&str]) -> Vec<u8> {
        let mut writer = Self::default();
        writer.piece("<unk>", 0.0, PieceKind::Unknown);
        writer.piece("<s>", 0.0, PieceKind::Control);
        writer.piece("</s>", 0.0, PieceKind::Control);
        for byte in 0..=255_u8 {
            writer.piece(&format!("<0x{byte:02X}>"), 0.0, PieceKind::Byte);
        }
        for (rank, piece) in pieces.iter().enumerate() {
            writer.piece(piece, -(rank as f32), PieceKind::Normal);
        }
        writer.message(2, |trainer| {
            trainer.varint(3, 2);
            trainer.varint(35, 1);
        });
        writer.message(3, |normalizer| normalizer.varint(4, 0));
        writer.bytes
    }

    fn piece(&mut self, text: &str, score: f32, kind: PieceKind) {
        self.message(1, |piece| {
            piece.message(1, |inner| inner.bytes.extend(text.as_bytes()));
            piece.bytes.push(0x15);
            piece.bytes.extend(score.to_le_bytes());
            piece.varint(3, kind as u64);
        });
    }

    fn message(&mut self, number: u64, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.raw_varint(number << 3 | 2);
        self.raw_varint(inner.bytes.len() as u64);
        self.bytes.extend(inner.bytes);
    }

    fn varint(&mut self, number: u64, value: u64) {
        self.raw_varint(number << 3);
        self.raw_varint(value);
    }

    fn raw_varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.bytes.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.bytes.push(value as u8);
    }
}

const PIECES: &[&str] = &[
    "ab",
    "\u{2581}a",
    "\u{2581}ab",
    "\u{2581}",
    "a",
    "b",
    "c",
    "\u{2581}\u{2581}",
];

fn load_bytes(bytes: &[u8]) -> Result<LoadedSentencePiece, TokenizerError> {
    load(bytes, &TokenizerConfig::default())
}

fn tokens(bytes: &[u8], text: &str) -> Vec<String> {
    encoded(&load_bytes(bytes).expect("a sound model"), text)
}

/// The pieces of a text that stands at the start.
fn encoded(loaded: &LoadedSentencePiece, text: &str) -> Vec<String> {
    let effort = Effort::for_bytes(text.len());
    let engine = &loaded.engine;
    let normalized = engine.normalize(text, false, &effort).expect("a text");
    let mut ids = Vec::new();
    let done = engine.encode(normalized.text(), SpanPlace::Start, &effort, &mut ids);
    done.expect("bytes spell every text");
    let token = |&id| engine.id_to_token(id).expect("a known id");
    ids.iter().map(token).collect()
}

fn decoded(loaded: &LoadedSentencePiece, tokens: Vec<String>) -> String {
    let mut detokenizer = Detokenizer::new(&loaded.decoder);
    let mut text: String = tokens
        .into_iter()
        .map(|token| detokenizer.push(token))
        .collect();
    text.push_str(&detokenizer.finish());
    text
}

/// A model with one more setting behind the sound ones; the last value of a field counts.
fn with_setting(spec: u64, number: u64, value: u64) -> Vec<u8> {
    let mut writer = ModelWriter {
        bytes: ModelWriter::llama(PIECES),
    };
    writer.message(spec, |spec| spec.varint(number, value));
    writer.bytes
}

#[test]
fn the_pair_with_the_best_score_is_merged_first() {
    // `ab` is better than `_a`, so the space is joined last.
    assert_eq!(tokens(&ModelWriter::llama(PIECES), "ab"), ["\u{2581}ab"]);
    assert_eq!(
        tokens(&ModelWriter::llama(PIECES), "ac"),
        ["\u{2581}a", "c"]
    );
    let without_joint: Vec<&str> = PIECES
        .iter()
        .copied()
        .filter(|piece| *piece != "\u{2581}ab")
        .collect();
    assert_eq!(
        tokens(&ModelWriter::llama(&without_joint), "ab"),
        ["\u{2581}", "ab"]
    );
}

#[test]
fn what_is_no_piece_becomes_bytes() {
    let model = ModelWriter::llama(PIECES);
    assert_eq!(
        tokens(&model, "\u{e9}\n"),
        ["\u{2581}", "<0xC3>", "<0xA9>", "<0x0A>"]
    );
}

#[test]
fn every_text_gets_its_own_prefix_even_behind_a_space() {
    let model = ModelWriter::llama(PIECES);
    assert_eq!(tokens(&model, " c"), ["\u{2581}\u{2581}", "c"]);
}

fn configured(config: TokenizerConfig) -> LoadedSentencePiece {
    load(&ModelWriter::llama(PIECES), &config).expect("a sound model")
}

#[test]
fn a_configuration_may_limit_the_prefix_to_texts_without_a_space() {
    let loaded = configured(TokenizerConfig {
        is_legacy: Some(false),
        ..TokenizerConfig::default()
    });
    assert_eq!(encoded(&loaded, " c"), ["\u{2581}", "c"]);
}

#[test]
fn a_configuration_may_leave_the_prefix_out() {
    let loaded = configured(TokenizerConfig {
        add_prefix_space: Some(false),
        ..TokenizerConfig::default()
    });
    let tokens = encoded(&loaded, "ab c");
    assert!(!tokens[0].starts_with('\u{2581}'));
    assert_eq!(decoded(&loaded, tokens), "ab c");
}

#[test]
fn decoding_drops_one_leading_space() {
    let loaded = load_bytes(&ModelWriter::llama(PIECES)).expect("a sound model");
    let tokens = encoded(&loaded, "  ab c");
    assert_eq!(decoded(&loaded, tokens), "  ab c");
}

#[test]
fn the_file_names_its_special_tokens() {
    let loaded = load_bytes(&ModelWriter::llama(PIECES)).expect("a sound model");
    let named: Vec<_> = loaded
        .named
        .iter()
        .map(|(key, text)| (*key, text.as_str()))
        .collect();
    assert_eq!(
        named,
        [
            ("bos_token", "<s>"),
            ("eos_token", "</s>"),
            ("unk_token", "<unk>")
        ]
    );
    let absent = load_bytes(&with_setting(2, 41, u64::MAX)).expect("bos may be absent");
    assert!(absent.named.iter().all(|(key, _)| *key != "bos_token"));
}

#[test]
fn variants_that_no_llama_has_are_named() {
    for (model, found) in [
        (with_setting(2, 3, 1), "unigram"),
        (with_setting(2, 3, 3), "word"),
        (with_setting(2, 3, 99), "an unknown type"),
        (with_setting(2, 24, 1), "spaces behind words"),
        (with_setting(3, 5, 0), "white space that is not escaped"),
    ] {
        let error = load_bytes(&model).expect_err(found);
        assert!(
            matches!(error, TokenizerError::Unsupported { .. }),
            "{error:?}"
        );
        assert!(error.to_string().contains(found), "{error}");
    }
    let mut writer = ModelWriter {
        bytes: ModelWriter::llama(PIECES),
    };
    writer.message(3, |spec| spec.message(2, |map| map.bytes.push(1)));
    let error = load_bytes(&writer.bytes).expect_err("a character map");
    assert!(error.to_string().contains("character map"), "{error}");
}

#[test]
fn damaged_files_are_errors() {
    let sound = ModelWriter::llama(PIECES);
    assert!(load_bytes(&[]).is_err());
    assert!(load_bytes(&sound[..sound.len() - 1]).is_err());
    for (text, score) in [
        ("", 0.0),
        ("a", f32::NAN),
        ("ab", 0.0),
        (&"x".repeat(600), 0.0),
    ] {
        let mut writer = ModelWriter {
            bytes: sound.clone(),
        };
        writer.piece(text, score, PieceKind::Normal);
        let error =
            load_bytes(&writer.bytes).expect_err("a piece that is empty, endless or double");
        assert!(
            matches!(error, TokenizerError::Malformed { .. }),
            "{error:?}"
        );
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_model_with_flipped_bytes_loads_or_is_an_error(
        flips in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8)
    ) {
        let mut bytes = ModelWriter::llama(PIECES);
        for (index, value) in flips {
            let index = index.index(bytes.len());
            bytes[index] = value;
        }
        let _ = load_bytes(&bytes);
    }

    #[test]
    fn decoding_undoes_encoding(text in "[abc é한\u{1F642}\n]{0,24}") {
        let loaded = load_bytes(&ModelWriter::llama(PIECES)).expect("a sound model");
        let tokens = encoded(&loaded, &text);
        prop_assert_eq!(decoded(&loaded, tokens), text);
    }
}
