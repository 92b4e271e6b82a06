//! How byte-level BPE cuts a text into words, by the name that a GGUF file gives it.
//!
//! The names are those of llama.cpp
//! (<https://github.com/ggml-org/llama.cpp/blob/master/src/llama-vocab.cpp>), the patterns those of
//! the tokenizers that it names.

use serde_json::{Value, json};

use super::gguf_vocabulary::unsupported;
use crate::error::TokenizerError;

const SUPPORTED: &str = "default, gpt-2, smollm, llama-bpe, qwen2, tekken, mpt, olmo, phi-2, \
                         starcoder, refact, command-r, codeshell, exaone, dbrx, smaug-bpe";

/// Digits by up to three (Llama 3).
const THREE_DIGITS: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Digits one by one (Qwen2).
pub(super) const ONE_DIGIT: &str = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// Words by their case (Mistral Nemo).
const TEKKEN: &str = r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+";

/// What llama.cpp does where a file does not say.
const DEFAULT: [&str; 4] = [
    r"[\p{P}\$\+<=>\^~\|]+",
    r"'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)",
    r"\p{N}+",
    r"[0-9][0-9][0-9]",
];

/// How a text is cut.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum PreTokenizer {
    Default,
    Gpt2,
    /// GPT-2's after digits were taken apart.
    Digits,
    Llama3,
    /// Llama 3's, but merges alone make tokens.
    ThreeDigits,
    Qwen2,
    Tekken,
}

impl PreTokenizer {
    /// The one with a name.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Unsupported`] when there is none.
    pub(super) fn named(name: Option<&str>) -> Result<Self, TokenizerError> {
        Ok(match name {
            None | Some("default") => Self::Default,
            Some("gpt-2" | "mpt" | "olmo" | "phi-2") => Self::Gpt2,
            Some("smollm" | "starcoder" | "refact" | "command-r" | "codeshell" | "exaone") => {
                Self::Digits
            }
            Some("llama3" | "llama-v3" | "llama-bpe") => Self::Llama3,
            Some("dbrx" | "smaug-bpe") => Self::ThreeDigits,
            Some("qwen2" | "deepseek-r1-qwen") => Self::Qwen2,
            Some("tekken") => Self::Tekken,
            Some(found) => return Err(unsupported("pre-tokenizer", found, SUPPORTED)),
        })
    }

    /// Whether a word that is a token is taken without merging its way to it.
    pub(super) fn takes_whole_words(self) -> bool {
        matches!(self, Self::Llama3 | Self::Tekken)
    }

    /// Whether a prompt begins with the bos where the file does not say.
    pub(super) fn adds_bos(self) -> bool {
        matches!(self, Self::Llama3 | Self::Tekken)
    }

    /// What is done to a text before it is cut.
    pub(super) fn normalizer(self) -> Value {
        match self {
            Self::Qwen2 => json!({"type": "NFC"}),
            Self::Default
            | Self::Gpt2
            | Self::Digits
            | Self::Llama3
            | Self::ThreeDigits
            | Self::Tekken => Value::Null,
        }
    }

    /// As `tokenizer.json` has it.
    pub(super) fn json(self, adds_space: bool) -> Value {
        match self {
            Self::Default => sequence(
                DEFAULT.iter().map(|pattern| split(pattern)),
                adds_space,
                false,
            ),
            Self::Gpt2 => byte_level(adds_space, true),
            Self::Digits => {
                let digits = json!({"type": "Digits", "individual_digits": true});
                sequence(std::iter::once(digits), adds_space, true)
            }
            Self::Llama3 | Self::ThreeDigits => one(THREE_DIGITS, adds_space),
            Self::Qwen2 => one(ONE_DIGIT, adds_space),
            Self::Tekken => one(TEKKEN, adds_space),
        }
    }
}

fn one(pattern: &str, adds_space: bool) -> Value {
    sequence(std::iter::once(split(pattern)), adds_space, false)
}

fn sequence(steps: impl Iterator<Item = Value>, adds_space: bool, uses_regex: bool) -> Value {
    let steps = steps.chain(std::iter::once(byte_level(adds_space, uses_regex)));
    json!({"type": "Sequence", "pretokenizers": steps.collect::<Vec<_>>()})
}

fn split(pattern: &str) -> Value {
    json!({"type": "Split", "pattern": {"Regex": pattern}, "behavior": "Isolated", "invert": false})
}

fn byte_level(adds_space: bool, uses_regex: bool) -> Value {
    json!({"type": "ByteLevel", "add_prefix_space": adds_space, "trim_offsets": true,
           "use_regex": uses_regex})
}
