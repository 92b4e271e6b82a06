//! Turning tokens into text one at a time, with the same result as decoding them all at once.
//!
//! The tokenizers library has a `DecodeStream`, which decodes a window of tokens again at every
//! step. It is not used here for three reasons. A run of byte tokens is decoded together, so that
//! one bad byte makes every byte of the run U+FFFD; the stream has by then given out the good
//! characters at its start, and never gives out what ends in U+FFFD. Its window grows with every
//! token that adds no text, so that time grows with the square of the length. And it returns an
//! error where a decoder is not a function of the window.
//!
//! Instead each decoder becomes a [`Stage`] that keeps just the tokens it cannot decide on yet.

mod characters;

use std::mem;

use tokenizers::decoders::fuse::Fuse;
use tokenizers::decoders::wordpiece::{self, WordPiece};
use tokenizers::pre_tokenizers::metaspace::PrependScheme;
use tokenizers::{Decoder, DecoderWrapper};

use self::characters::{byte_level_bytes, byte_of, spell, take_characters};
use super::engine::{Effort, Matcher, guarded};

/// One stage of a decoder, as a file describes it.
#[derive(Debug, Clone)]
pub(crate) enum DecoderStage {
    /// Puts `content` in the place of what is found in each token.
    Replace { wanted: Matcher, content: String },
    /// A stage of the library that is neither a sequence nor `Replace`.
    Library(DecoderWrapper),
}

/// The decoder of a tokenizer, as a pipeline that text flows through.
#[derive(Debug, Clone)]
pub(crate) struct Detokenizer {
    stages: Vec<Stage>,
}

impl Detokenizer {
    /// Makes stages of a decoder that is a chain of others; of none where a file has no decoder.
    pub(crate) fn new(chain: &[DecoderStage]) -> Self {
        if chain.is_empty() {
            return Self {
                stages: vec![Stage::Spaced { is_first: true }],
            };
        }
        let mut stages = Vec::new();
        let mut flow = Flow::Tokens;
        for (index, decoder) in chain.iter().enumerate() {
            match Stage::new(decoder, &mut flow) {
                Ok(stage) => stages.extend(stage),
                Err(NeedsWholeText) => {
                    let fuse = DecoderStage::Library(Fuse::new().into());
                    let fuse = (flow == Flow::Fragments).then_some(fuse);
                    let decoders = fuse.into_iter().chain(chain[index..].iter().cloned());
                    stages.push(Stage::Whole {
                        decoders: decoders.collect(),
                        tokens: Vec::new(),
                    });
                    break;
                }
            }
        }
        Self { stages }
    }

    /// Takes in the next token and returns the text that is now certain.
    pub(crate) fn push(&mut self, token: String) -> String {
        let mut text = String::new();
        flow_through(&mut self.stages, token, &mut text);
        text
    }

    /// Returns the text that was still held back. Call it once, after the last token.
    pub(crate) fn finish(&mut self) -> String {
        let mut text = String::new();
        for index in 0..self.stages.len() {
            let (before, after) = self.stages.split_at_mut(index + 1);
            for token in before[index].finish() {
                flow_through(after, token, &mut text);
            }
        }
        text
    }
}

fn flow_through(stages: &mut [Stage], token: String, text: &mut String) {
    let mut tokens = vec![token];
    for stage in stages {
        tokens = tokens
            .into_iter()
            .flat_map(|token| stage.push(token))
            .collect();
    }
    text.extend(tokens);
}

/// What arrives at a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flow {
    /// Tokens.
    Tokens,
    /// Fragments of the one token that an earlier stage fused all others into.
    Fragments,
}

/// Marks a decoder that can say nothing before it has seen everything.
struct NeedsWholeText;

#[derive(Debug, Clone)]
enum Stage {
    /// No decoder: tokens with a space between them.
    Spaced { is_first: bool },
    /// Something else in the place of what is found in a token.
    Replace { wanted: Matcher, content: String },
    /// The replacement becomes a space, or nothing in the first token.
    Metaspace {
        replacement: char,
        is_trimming: bool,
    },
    /// Tokens without the prefix begin a new word.
    WordPiece { decoder: WordPiece, is_first: bool },
    /// The suffix becomes a space, or nothing in the last token.
    WordSuffix {
        suffix: String,
        held: Option<String>,
    },
    /// Runs of `<0xNN>` tokens become the characters they spell.
    ByteFallback { run: Vec<u8> },
    /// Every token spells bytes, which are read as UTF-8.
    ByteLevel { held: Vec<u8> },
    /// Characters are cut off both ends of each token.
    StripToken {
        content: char,
        start: usize,
        stop: usize,
    },
    /// Characters are cut off both ends of the text; `held` may be the end.
    StripText {
        content: char,
        start: usize,
        stop: usize,
        held: usize,
    },
    /// Decoders that need all tokens.
    Whole {
        decoders: Vec<DecoderStage>,
        tokens: Vec<String>,
    },
}

impl Stage {
    fn new(stage: &DecoderStage, flow: &mut Flow) -> Result<Option<Self>, NeedsWholeText> {
        let decoder = match stage {
            DecoderStage::Library(decoder) => decoder,
            DecoderStage::Replace { wanted, content } if *flow == Flow::Tokens => {
                return Ok(Some(Self::Replace {
                    wanted: wanted.clone(),
                    content: content.clone(),
                }));
            }
            DecoderStage::Replace { .. } => return Err(NeedsWholeText),
        };
        let stage = match (decoder, *flow) {
            (DecoderWrapper::Fuse(_), _) => {
                *flow = Flow::Fragments;
                return Ok(None);
            }
            (DecoderWrapper::ByteLevel(_), Flow::Tokens) => {
                *flow = Flow::Fragments;
                Self::ByteLevel { held: Vec::new() }
            }
            (DecoderWrapper::Metaspace(metaspace), Flow::Tokens) => Self::Metaspace {
                replacement: metaspace.get_replacement(),
                is_trimming: metaspace.prepend_scheme != PrependScheme::Never,
            },
            (DecoderWrapper::WordPiece(decoder), Flow::Tokens) => Self::WordPiece {
                decoder: decoder.clone(),
                is_first: true,
            },
            (DecoderWrapper::BPE(decoder), Flow::Tokens) => Self::WordSuffix {
                suffix: decoder.suffix.clone(),
                held: None,
            },
            (DecoderWrapper::ByteFallback(_), Flow::Tokens) => {
                Self::ByteFallback { run: Vec::new() }
            }
            (DecoderWrapper::Strip(strip), Flow::Tokens) => Self::StripToken {
                content: strip.content,
                start: strip.start,
                stop: strip.stop,
            },
            (DecoderWrapper::Strip(strip), Flow::Fragments) => Self::StripText {
                content: strip.content,
                start: strip.start,
                stop: strip.stop,
                held: 0,
            },
            (
                DecoderWrapper::Sequence(_) | DecoderWrapper::Replace(_) | DecoderWrapper::CTC(_),
                _,
            )
            | (_, Flow::Fragments) => {
                return Err(NeedsWholeText);
            }
        };
        Ok(Some(stage))
    }

    fn push(&mut self, token: String) -> Vec<String> {
        match self {
            Self::Spaced { is_first } => {
                vec![if mem::take(is_first) {
                    token
                } else {
                    format!(" {token}")
                }]
            }
            Self::Replace { wanted, content } => vec![replace(token, wanted, content)],
            Self::Metaspace {
                replacement,
                is_trimming,
            } => {
                let space = if mem::take(is_trimming) { "" } else { " " };
                vec![token.replace(*replacement, space)]
            }
            Self::WordPiece { decoder, is_first } => {
                vec![word_piece(decoder, token, mem::take(is_first))]
            }
            Self::WordSuffix { suffix, held } => {
                let previous = held.replace(token);
                previous
                    .map(|token| token.replace(suffix.as_str(), " "))
                    .into_iter()
                    .collect()
            }
            Self::ByteFallback { run } => match byte_of(&token) {
                Some(byte) => {
                    run.push(byte);
                    Vec::new()
                }
                None => {
                    let mut made = spell(mem::take(run));
                    made.push(token);
                    made
                }
            },
            Self::ByteLevel { held } => {
                held.extend(byte_level_bytes(&token));
                vec![take_characters(held)]
            }
            Self::StripToken {
                content,
                start,
                stop,
            } => {
                vec![strip_token(&token, *content, *start, *stop)]
            }
            Self::StripText {
                content,
                start,
                stop,
                held,
            } => {
                let fragment = strip_start(&token, *content, start);
                vec![hold_end(fragment, *content, *stop, held)]
            }
            Self::Whole { tokens, .. } => {
                tokens.push(token);
                Vec::new()
            }
        }
    }

    fn finish(&mut self) -> Vec<String> {
        match self {
            Self::WordSuffix { suffix, held } => held
                .take()
                .map(|token| token.replace(suffix.as_str(), ""))
                .into_iter()
                .collect(),
            Self::ByteFallback { run } => spell(mem::take(run)),
            Self::ByteLevel { held } => {
                vec![String::from_utf8_lossy(&mem::take(held)).into_owned()]
            }
            Self::Whole { decoders, tokens } if !tokens.is_empty() => {
                let tokens = mem::take(tokens);
                decoders
                    .iter()
                    .fold(tokens, |tokens, decoder| decode(decoder, tokens))
            }
            Self::Whole { .. }
            | Self::Spaced { .. }
            | Self::Replace { .. }
            | Self::Metaspace { .. }
            | Self::WordPiece { .. }
            | Self::StripToken { .. }
            | Self::StripText { .. } => Vec::new(),
        }
    }
}

/// Tokens on which a decoder gives up stay as they are.
fn decode(decoder: &DecoderStage, tokens: Vec<String>) -> Vec<String> {
    match decoder {
        DecoderStage::Replace { wanted, content } => {
            let replaced = tokens
                .into_iter()
                .map(|token| replace(token, wanted, content));
            replaced.collect()
        }
        // The library counts below zero where it strips more than there is.
        DecoderStage::Library(DecoderWrapper::Strip(strip)) => {
            let strip = |token: &String| strip_token(token, strip.content, strip.start, strip.stop);
            tokens.iter().map(strip).collect()
        }
        DecoderStage::Library(_) if tokens.is_empty() => tokens,
        DecoderStage::Library(decoder) => {
            let decoded = guarded(|| {
                let decoded = decoder.decode_chain(tokens.clone());
                decoded.map_err(|error| error.to_string())
            });
            decoded.unwrap_or(tokens)
        }
    }
}

fn replace(token: String, wanted: &Matcher, content: &str) -> String {
    match wanted.find(&token, &Effort::by_the_clock(token.len())) {
        Ok(found) => found.replace(&token, content),
        Err(_too_long) => token,
    }
}

fn word_piece(decoder: &WordPiece, token: String, is_first: bool) -> String {
    let word = match token.strip_prefix(&decoder.prefix) {
        _ if is_first => token,
        Some(rest) => rest.to_string(),
        None => format!(" {token}"),
    };
    if decoder.cleanup {
        wordpiece::cleanup(&word)
    } else {
        word
    }
}

fn strip_token(token: &str, content: char, start: usize, stop: usize) -> String {
    let mut left = start;
    let rest = strip_start(token, content, &mut left);
    let end = rest
        .chars()
        .rev()
        .take(stop)
        .take_while(|&c| c == content)
        .count();
    rest[..rest.len() - end * content.len_utf8()].to_string()
}

/// Cuts up to `left` characters off the start, and stops for good at the first other character.
fn strip_start<'a>(fragment: &'a str, content: char, left: &mut usize) -> &'a str {
    let mut rest = fragment;
    while *left > 0 && !rest.is_empty() {
        match rest.strip_prefix(content) {
            Some(stripped) => {
                rest = stripped;
                *left -= 1;
            }
            None => *left = 0,
        }
    }
    rest
}

/// Holds back the characters that are cut off if the text ends here.
fn hold_end(fragment: &str, content: char, stop: usize, held: &mut usize) -> String {
    let mut text: String = std::iter::repeat_n(content, *held).collect();
    text.push_str(fragment);
    *held = text
        .chars()
        .rev()
        .take(stop)
        .take_while(|&c| c == content)
        .count();
    text.truncate(text.len() - *held * content.len_utf8());
    text
}

#[cfg(test)]
mod tests;
