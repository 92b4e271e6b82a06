//! The contents of a `tokenizer.model`, as far as they matter.

use super::malformed;
use super::protobuf::{Field, Fields, Value};
use crate::error::TokenizerError;

/// Most pieces of a vocabulary; four times the largest seen.
const MAX_PIECES: usize = 1 << 20;

/// Longest piece. SentencePiece trains none longer than 16 characters unless told to; listing the
/// splits takes time with the square of it.
const MAX_PIECE_BYTES: usize = 512;

/// What a piece is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PieceKind {
    Normal,
    Unknown,
    Control,
    UserDefined,
    Unused,
    Byte,
}

/// One entry of the vocabulary; its id is its place.
#[derive(Debug)]
pub(super) struct Piece {
    pub(super) text: String,
    pub(super) score: f32,
    pub(super) kind: PieceKind,
}

/// What matters of a `ModelProto`; the defaults are those of `sentencepiece_model.proto`.
#[derive(Debug)]
pub(super) struct SentencePieceModel {
    pub(super) pieces: Vec<Piece>,
    pub(super) model_type: u64,
    pub(super) byte_fallback: bool,
    pub(super) treat_whitespace_as_suffix: bool,
    pub(super) unk_id: i64,
    pub(super) bos_id: i64,
    pub(super) eos_id: i64,
    pub(super) has_charsmap: bool,
    pub(super) add_dummy_prefix: bool,
    pub(super) remove_extra_whitespaces: bool,
    pub(super) escape_whitespaces: bool,
}

impl SentencePieceModel {
    /// Reads a `ModelProto`.
    pub(super) fn parse(bytes: &[u8]) -> Result<Self, TokenizerError> {
        let mut model = Self {
            pieces: Vec::new(),
            model_type: 1,
            byte_fallback: false,
            treat_whitespace_as_suffix: false,
            unk_id: 0,
            bos_id: 1,
            eos_id: 2,
            has_charsmap: false,
            add_dummy_prefix: true,
            remove_extra_whitespaces: true,
            escape_whitespaces: true,
        };
        for field in Fields::new(bytes) {
            match field.map_err(malformed)? {
                Field {
                    number: 1,
                    value: Value::Bytes(piece),
                } => {
                    if model.pieces.len() == MAX_PIECES {
                        return Err(malformed(format!("it has more than {MAX_PIECES} pieces")));
                    }
                    let id = model.pieces.len();
                    model.pieces.push(Piece::parse(id, piece)?);
                }
                Field {
                    number: 2,
                    value: Value::Bytes(spec),
                } => model.read_trainer(spec)?,
                Field {
                    number: 3,
                    value: Value::Bytes(spec),
                } => model.read_normalizer(spec)?,
                Field { .. } => {}
            }
        }
        Ok(model)
    }

    fn read_trainer(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        for field in Fields::new(bytes) {
            let Field {
                number,
                value: Value::Varint(value),
            } = field.map_err(malformed)?
            else {
                continue;
            };
            match number {
                3 => self.model_type = value,
                24 => self.treat_whitespace_as_suffix = value != 0,
                35 => self.byte_fallback = value != 0,
                40 => self.unk_id = signed(value),
                41 => self.bos_id = signed(value),
                42 => self.eos_id = signed(value),
                _ => {}
            }
        }
        Ok(())
    }

    fn read_normalizer(&mut self, bytes: &[u8]) -> Result<(), TokenizerError> {
        for field in Fields::new(bytes) {
            match field.map_err(malformed)? {
                Field {
                    number: 2,
                    value: Value::Bytes(map),
                } => {
                    self.has_charsmap = !map.is_empty();
                }
                Field {
                    number: 3,
                    value: Value::Varint(value),
                } => {
                    self.add_dummy_prefix = value != 0;
                }
                Field {
                    number: 4,
                    value: Value::Varint(value),
                } => {
                    self.remove_extra_whitespaces = value != 0;
                }
                Field {
                    number: 5,
                    value: Value::Varint(value),
                } => {
                    self.escape_whitespaces = value != 0;
                }
                Field { .. } => {}
            }
        }
        Ok(())
    }
}

impl Piece {
    fn parse(id: usize, bytes: &[u8]) -> Result<Self, TokenizerError> {
        let wrong = |reason: &str| malformed(format!("piece {id} {reason}"));
        let mut piece = Self {
            text: String::new(),
            score: 0.0,
            kind: PieceKind::Normal,
        };
        for field in Fields::new(bytes) {
            match field.map_err(malformed)? {
                Field {
                    number: 1,
                    value: Value::Bytes(text),
                } => {
                    let text = std::str::from_utf8(text).ok();
                    piece.text = text.ok_or_else(|| wrong("is not UTF-8"))?.to_string();
                }
                Field {
                    number: 2,
                    value: Value::Fixed32(bits),
                } => {
                    piece.score = f32::from_bits(bits);
                }
                Field {
                    number: 3,
                    value: Value::Varint(kind),
                } => {
                    piece.kind =
                        PieceKind::parse(kind).ok_or_else(|| wrong("has no known type"))?;
                }
                Field { .. } => {}
            }
        }
        if piece.text.is_empty() {
            return Err(wrong("is empty"));
        }
        if piece.text.len() > MAX_PIECE_BYTES {
            return Err(wrong(&format!("has {} bytes", piece.text.len())));
        }
        if !piece.score.is_finite() {
            return Err(wrong("has a score that is no finite number"));
        }
        Ok(piece)
    }
}

impl PieceKind {
    fn parse(value: u64) -> Option<Self> {
        Some(match value {
            1 => Self::Normal,
            2 => Self::Unknown,
            3 => Self::Control,
            4 => Self::UserDefined,
            5 => Self::Unused,
            6 => Self::Byte,
            _ => return None,
        })
    }
}

/// A protocol buffer writes a negative `int32` as its 64-bit two's complement.
fn signed(value: u64) -> i64 {
    value.cast_signed()
}
