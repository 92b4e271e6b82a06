//! Strings and ids: everything between a conversation and the numbers a decoder reads, and back.
//!
//! A request passes through here twice. On the way in, a [`ConversationTemplate`] (data) or a
//! [`ChatTemplate`] (the checkpoint's own Jinja) turns [`Message`]s into a [`Prompt`], which
//! remembers who wrote each piece of text; [`Prompt::tokenize`] turns that into [`PromptTokens`].
//! On the way out, a [`TextStream`] turns generated ids into whole characters and stops at stop
//! strings.
//!
//! One rule holds throughout: **what a user writes never becomes a control token.** Control tokens
//! come from the template's own text or from the caller, so a user who types `<|im_end|>` gets
//! seven ordinary tokens, and no forged turn.

mod chat_template;
mod control_tokens;
mod conversation;
mod conversation_template;
mod detokenizer;
mod engine;
mod files;
mod gguf_pre_tokenizer;
mod gguf_vocabulary;
mod jinja;
mod prompt;
mod sentencepiece;
mod stream;
mod tokenizer;
mod tokenizer_class;
mod tokenizer_config;
mod tokenizer_json;
mod warnings;

pub use chat_template::{ChatOptions, ChatTemplate};
pub(crate) use conversation::check_content;
pub use conversation::{Ending, Message, Part, Role};
pub use conversation_template::{ConversationTemplate, TEMPLATES};
pub(crate) use gguf_vocabulary::GgufVocabulary;
#[cfg(feature = "testing")]
pub use prompt::MAX_TEXT_BYTES;
pub use prompt::{Bos, ImagePart, ImageSpan, ImageTokens, Prompt, PromptTokens};
pub use stream::TextStream;
pub use tokenizer::Tokenizer;

#[cfg(test)]
mod tests;
