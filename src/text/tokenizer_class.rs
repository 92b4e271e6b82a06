//! The class that a checkpoint names for its tokenizer.
//!
//! Four classes of transformers 5 build their tokenizer anew: of a `tokenizer.json` they read the
//! vocabulary, the merges and what stands around a text, of a `tokenizer.model` the pieces; three of
//! them are content with `vocab.json` and `merges.txt`, which hold no more than they take. How a
//! text is normalised, cut and put together again is the class's own. Every other class takes the
//! file at its word.

use serde_json::{Map, Value};
use tokenizers::decoders::byte_fallback::ByteFallback;
use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::strip::Strip;
use tokenizers::normalizers::unicode::NFC;
use tokenizers::pre_tokenizers::byte_level::ByteLevel;
use tokenizers::pre_tokenizers::metaspace::{Metaspace, PrependScheme};
use tokenizers::{NormalizerWrapper, PreTokenizerWrapper, SplitDelimiterBehavior};

use super::detokenizer::DecoderStage;
use super::engine::{Matcher, NormalizerStage, SplitterStage};
use super::gguf_pre_tokenizer::ONE_DIGIT;

/// How SentencePiece writes a space.
const SPACE: char = '\u{2581}';

/// Types of models for which transformers distrusts the class that a checkpoint names, and reads
/// the file as it is: too many of their checkpoints name a wrong one.
const TRUSTED_FILES: [&str; 5] = ["llava", "llava_next", "mistral", "smolvlm", "vipllava"];

/// The type of model whose tokenizer is [`TokenizerClass::GptNeoX`] where no class is named.
const GPT_NEOX: &str = "gpt_neox";

/// The types of models whose tokenizer is [`TokenizerClass::Gpt2`] where no class is named. A
/// `tokenizer.json` says itself what it is: the models of the former type that are over Vicuna have
/// its.
const GPT2_MODELS: [&str; 2] = ["instructblip", "blip-2"];

/// A class that builds its tokenizer anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum TokenizerClass {
    /// `LlamaTokenizer`: SentencePiece's spaces, bytes for what the vocabulary lacks.
    Llama {
        /// Which texts get a space in front.
        prefix: PrependScheme,
    },
    /// `GPTNeoXTokenizer`: bytes, composed.
    GptNeoX {
        /// Whether a text gets a space in front.
        adds_space: bool,
    },
    /// `GPT2Tokenizer`: bytes.
    Gpt2 {
        /// Whether a text gets a space in front.
        adds_space: bool,
    },
    /// `Qwen2Tokenizer`: bytes, composed, digits one by one.
    Qwen2 {
        /// Whether a text gets a space in front.
        adds_space: bool,
    },
}

impl TokenizerClass {
    /// The class of a checkpoint, from the objects of `tokenizer_config.json` and `config.json`; the
    /// former names it, else the latter does.
    pub(crate) fn of(tokenizer: &Map<String, Value>, model: &Map<String, Value>) -> Option<Self> {
        let model_type = text(model, "model_type").unwrap_or_default();
        if TRUSTED_FILES.contains(&model_type) {
            return None;
        }
        let named = match named_class(tokenizer, model) {
            None if model_type == GPT_NEOX => "GPTNeoXTokenizer",
            None => return None,
            Some(named) => named,
        };
        let setting = |key| tokenizer.get(key).filter(|it| !it.is_null());
        let adds_space = setting("add_prefix_space").map(is_true);
        let byte_level_space = adds_space.unwrap_or(false);
        match named.strip_suffix("Fast").unwrap_or(named) {
            "LlamaTokenizer" => Some(Self::Llama {
                prefix: match (adds_space, setting("legacy").is_some_and(is_true)) {
                    (Some(false), _) => PrependScheme::Never,
                    (_, true) => PrependScheme::Always,
                    (_, false) => PrependScheme::First,
                },
            }),
            "GPTNeoXTokenizer" => Some(Self::GptNeoX {
                adds_space: byte_level_space,
            }),
            "GPT2Tokenizer" => Some(Self::Gpt2 {
                adds_space: byte_level_space,
            }),
            "Qwen2Tokenizer" => Some(Self::Qwen2 {
                adds_space: byte_level_space,
            }),
            _ => None,
        }
    }

    /// The class of a checkpoint that is content with `vocab.json` and `merges.txt`, which say less.
    pub(crate) fn of_vocabulary(
        tokenizer: &Map<String, Value>,
        model: &Map<String, Value>,
    ) -> Option<Self> {
        let is_unnamed = named_class(tokenizer, model).is_none();
        let model_type = text(model, "model_type").unwrap_or_default();
        match is_unnamed && GPT2_MODELS.contains(&model_type) {
            true => Some(Self::Gpt2 {
                adds_space: tokenizer.get("add_prefix_space").is_some_and(is_true),
            }),
            false => Self::of(tokenizer, model).filter(|class| class.is_byte_level()),
        }
    }

    /// Whether its tokens are made of bytes. Then `vocab.json` and `merges.txt` are all it needs.
    pub(crate) fn is_byte_level(self) -> bool {
        match self {
            Self::Llama { .. } => false,
            Self::GptNeoX { .. } | Self::Gpt2 { .. } | Self::Qwen2 { .. } => true,
        }
    }

    /// What transformers calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Llama { .. } => "LlamaTokenizer",
            Self::GptNeoX { .. } => "GPTNeoXTokenizer",
            Self::Gpt2 { .. } => "GPT2Tokenizer",
            Self::Qwen2 { .. } => "Qwen2Tokenizer",
        }
    }

    /// The special tokens that it has where no file names others.
    pub(crate) fn named_tokens(self) -> &'static [(&'static str, &'static str)] {
        const END: &str = "<|endoftext|>";
        match self {
            Self::Llama { .. } => &[
                ("bos_token", "<s>"),
                ("eos_token", "</s>"),
                ("unk_token", "<unk>"),
            ],
            Self::GptNeoX { .. } => &[
                ("bos_token", END),
                ("eos_token", END),
                ("unk_token", END),
                ("pad_token", "<|padding|>"),
            ],
            Self::Gpt2 { .. } => &[("bos_token", END), ("eos_token", END), ("unk_token", END)],
            Self::Qwen2 { .. } => &[("eos_token", END), ("unk_token", END), ("pad_token", END)],
        }
    }

    /// How it normalises a text.
    pub(crate) fn normalizers(self) -> Vec<NormalizerStage> {
        match self {
            Self::GptNeoX { .. } | Self::Qwen2 { .. } => {
                vec![NormalizerStage::Library(NormalizerWrapper::NFC(NFC))]
            }
            Self::Llama { .. } | Self::Gpt2 { .. } => Vec::new(),
        }
    }

    /// How it cuts a text into words.
    ///
    /// # Errors
    ///
    /// What went wrong, which nothing does.
    pub(crate) fn splitters(self) -> Result<Vec<SplitterStage>, String> {
        let last = SplitterStage::Library(self.last_splitter());
        Ok(match self {
            Self::Llama { .. } | Self::GptNeoX { .. } | Self::Gpt2 { .. } => vec![last],
            Self::Qwen2 { .. } => vec![
                SplitterStage::Split {
                    wanted: Matcher::pattern(ONE_DIGIT)?,
                    behavior: SplitDelimiterBehavior::Isolated,
                    is_inverted: false,
                },
                last,
            ],
        })
    }

    fn last_splitter(self) -> PreTokenizerWrapper {
        match self {
            Self::Llama { prefix } => Metaspace::new(SPACE, prefix, false).into(),
            Self::GptNeoX { adds_space } | Self::Gpt2 { adds_space } => {
                ByteLevel::new(adds_space, true, true).into()
            }
            Self::Qwen2 { adds_space } => ByteLevel::new(adds_space, true, false).into(),
        }
    }

    /// How it puts a text together.
    ///
    /// # Errors
    ///
    /// What went wrong, which nothing does.
    pub(crate) fn decoders(self) -> Result<Vec<DecoderStage>, String> {
        let Self::Llama { prefix } = self else {
            return Ok(vec![DecoderStage::Library(ByteLevel::default().into())]);
        };
        let mut decoders = vec![
            DecoderStage::Replace {
                wanted: Matcher::text(&SPACE.to_string())?,
                content: " ".to_string(),
            },
            DecoderStage::Library(ByteFallback::new().into()),
            DecoderStage::Library(Fuse::new().into()),
        ];
        if prefix != PrependScheme::Never {
            decoders.push(DecoderStage::Library(Strip::new(' ', 1, 0).into()));
        }
        Ok(decoders)
    }

    /// Whether a file's stages encode a text as the class does.
    pub(crate) fn agrees(self, normalizers: &[NormalizerStage], splits: &[SplitterStage]) -> bool {
        let composes = matches!(self, Self::GptNeoX { .. } | Self::Qwen2 { .. });
        let agrees_on_form = match normalizers {
            [] => !composes,
            [NormalizerStage::Library(NormalizerWrapper::NFC(_))] => composes,
            _ => false,
        };
        let last = match (self, splits) {
            (
                Self::Qwen2 { .. },
                [
                    SplitterStage::Split {
                        wanted,
                        behavior: SplitDelimiterBehavior::Isolated,
                        is_inverted: false,
                    },
                    SplitterStage::Library(last),
                ],
            ) if wanted.is_pattern(ONE_DIGIT) => last,
            (Self::Qwen2 { .. }, _) => return false,
            (_, [SplitterStage::Library(last)]) => last,
            _ => return false,
        };
        let agrees_on_words = match (self.last_splitter(), last) {
            (PreTokenizerWrapper::ByteLevel(own), PreTokenizerWrapper::ByteLevel(found)) => {
                (own.add_prefix_space, own.use_regex) == (found.add_prefix_space, found.use_regex)
            }
            (own, found) => own == *found,
        };
        agrees_on_form && agrees_on_words
    }
}

/// The class that the files name.
fn named_class<'a>(
    tokenizer: &'a Map<String, Value>,
    model: &'a Map<String, Value>,
) -> Option<&'a str> {
    let key = "tokenizer_class";
    text(tokenizer, key).or_else(|| text(model, key))
}

fn text<'a>(object: &'a Map<String, Value>, key: &str) -> Option<&'a str> {
    let text = object.get(key).and_then(Value::as_str);
    text.filter(|it| !it.is_empty())
}

/// What Python takes for true.
pub(crate) fn is_true(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(value) => *value,
        Value::Number(value) => value.as_f64() != Some(0.0),
        Value::String(value) => !value.is_empty(),
        Value::Array(values) => !values.is_empty(),
        Value::Object(values) => !values.is_empty(),
    }
}

#[cfg(test)]
mod tests;
