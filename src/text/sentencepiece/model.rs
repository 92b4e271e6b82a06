//! The contents of a `tokenizer.model`, as far as they matter.
//!
//! Numbers and defaults are those of `sentencepiece_model.proto`. What is not listed is skipped, and
//! a message that comes twice is merged into one, as protocol buffers want it.

use prost::{Enumeration, Message};

use super::malformed;
use crate::error::TokenizerError;
use crate::text::engine::MAX_TOKEN_BYTES;

/// Most pieces of a vocabulary; four times the largest seen.
const MAX_PIECES: usize = 1 << 20;

/// Number of byte-pair encoding among the types of models.
const BPE: i32 = 2;

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct SentencePieceModel {
    #[prost(message, repeated, tag = "1")]
    pub(super) pieces: Vec<Piece>,
    #[prost(message, required, tag = "2")]
    pub(super) trainer: TrainerSpec,
    #[prost(message, required, tag = "3")]
    pub(super) normalizer: NormalizerSpec,
}

/// One entry of the vocabulary; its id is its place.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Piece {
    #[prost(string, tag = "1")]
    pub(super) text: String,
    #[prost(float, tag = "2")]
    pub(super) score: f32,
    #[prost(enumeration = "PieceKind", tag = "3", default = "Normal")]
    pub(super) kind: i32,
}

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub(super) enum PieceKind {
    Normal = 1,
    Unknown = 2,
    Control = 3,
    UserDefined = 4,
    Unused = 5,
    Byte = 6,
}

/// How the model was trained.
#[derive(Clone, PartialEq, Message)]
pub(super) struct TrainerSpec {
    #[prost(int32, tag = "3", default = "1")]
    pub(super) model_type: i32,
    #[prost(bool, tag = "24")]
    pub(super) treat_whitespace_as_suffix: bool,
    #[prost(bool, tag = "35")]
    pub(super) byte_fallback: bool,
    #[prost(int32, tag = "40", default = "0")]
    pub(super) unk_id: i32,
    #[prost(int32, tag = "41", default = "1")]
    pub(super) bos_id: i32,
    #[prost(int32, tag = "42", default = "2")]
    pub(super) eos_id: i32,
}

/// How a text is prepared.
#[derive(Clone, PartialEq, Message)]
pub(super) struct NormalizerSpec {
    #[prost(bytes = "vec", tag = "2")]
    pub(super) precompiled_charsmap: Vec<u8>,
    #[prost(bool, tag = "3", default = "true")]
    pub(super) add_dummy_prefix: bool,
    #[prost(bool, tag = "4", default = "true")]
    pub(super) remove_extra_whitespaces: bool,
    #[prost(bool, tag = "5", default = "true")]
    pub(super) escape_whitespaces: bool,
}

impl SentencePieceModel {
    /// Reads a `ModelProto` and checks its pieces.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenizerError> {
        Self::decode(bytes)
            .map_err(|error| malformed(error.to_string()))?
            .checked()
    }

    /// A byte-pair-encoding model as LLaMA's, of other pieces.
    pub(super) fn of_pieces(
        pieces: impl Iterator<Item = (String, f32, i32)>,
    ) -> Result<Self, TokenizerError> {
        let piece = |(text, score, kind)| Piece { text, score, kind };
        let mut model = Self {
            pieces: pieces.map(piece).collect(),
            ..Self::default()
        };
        let is_byte = |piece: &Piece| piece.kind() == PieceKind::Byte;
        model.trainer.byte_fallback = model.pieces.iter().any(is_byte);
        model.trainer.model_type = BPE;
        model.normalizer.remove_extra_whitespaces = false;
        model.checked()
    }

    fn checked(self) -> Result<Self, TokenizerError> {
        let model = self;
        let found = model.pieces.len();
        if !(1..=MAX_PIECES).contains(&found) {
            return Err(malformed(format!(
                "it has {found} pieces, not 1 to {MAX_PIECES}"
            )));
        }
        for (id, piece) in model.pieces.iter().enumerate() {
            piece
                .check()
                .map_err(|reason| malformed(format!("piece {id} {reason}")))?;
        }
        Ok(model)
    }
}

impl Piece {
    pub(super) fn check(&self) -> Result<(), String> {
        if self.text.is_empty() {
            return Err("is empty".to_string());
        }
        if self.text.len() > MAX_TOKEN_BYTES {
            return Err(format!("has {} bytes", self.text.len()));
        }
        if !self.score.is_finite() {
            return Err("has a score that is no finite number".to_string());
        }
        PieceKind::try_from(self.kind)
            .map(|_known| ())
            .map_err(|_unknown| "has no known type".to_string())
    }
}
