//! The question as a projector reads it that cares for it.

use std::path::Path;

use crate::error::{ConfigError, Error, Result};
use crate::nn::QFormerTextConfig;
use crate::text::{Message, Role, Tokenizer};

/// A tokenizer of its own and the room for what it makes.
#[derive(Debug)]
pub(super) struct QuestionReader {
    tokenizer: Tokenizer,
    max_tokens: usize,
}

impl QuestionReader {
    /// # Errors
    ///
    /// [`ConfigError::OutOfRange`] if the tokenizer has more word pieces than the projector.
    pub(super) fn open(folder: &Path, config: &QFormerTextConfig) -> Result<Self> {
        let tokenizer = Tokenizer::open(folder)?;
        if tokenizer.vocab_size() > config.vocab_size {
            return Err(ConfigError::OutOfRange {
                field: "qformer_config.vocab_size".to_string(),
                found: config.vocab_size.to_string(),
                expected: format!("{} or more, as its tokenizer has", tokenizer.vocab_size()),
            }
            .into());
        }
        Ok(Self {
            tokenizer,
            max_tokens: config.max_position_embeddings,
        })
    }

    /// # Errors
    ///
    /// [`Error::ContextOverflow`] if there are more word pieces than positions.
    pub(super) fn ids(&self, question: &str) -> Result<Vec<u32>> {
        let ids = self.tokenizer.encode(question)?;
        match ids.len() <= self.max_tokens {
            true => Ok(ids),
            false => Err(Error::ContextOverflow {
                prompt_tokens: ids.len(),
                max_new_tokens: 0,
                context_length: self.max_tokens,
            }),
        }
    }
}

/// What is asked last.
pub(super) fn last_question(messages: &[Message]) -> String {
    let asked = messages.iter().rfind(|message| message.role == Role::User);
    asked.map(Message::text).unwrap_or_default()
}
