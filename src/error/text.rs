use super::visible::{visible, visible_line};

/// A tokenizer that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizerError {
    /// The folder holds neither `tokenizer.json` nor `tokenizer.model`.
    #[error("no tokenizer: neither tokenizer.json nor tokenizer.model is in the folder")]
    Missing,
    /// The folder holds `vocab.json` alone, which does not say how a text is cut into words, and names
    /// no class that does.
    #[error(
        "no tokenizer: vocab.json and merges.txt do not say how a text is cut into words; put the \
         tokenizer.json of the model beside them, or name the class in tokenizer_config.json \
         (`tokenizer_class`: GPT2Tokenizer, GPTNeoXTokenizer or Qwen2Tokenizer; it does not count \
         for LLaVA, LLaVA-NeXT, Mistral and SmolVLM)"
    )]
    VocabularyAlone,
    /// A file is larger than any tokenizer of a model this crate runs.
    #[error(
        "{} has {found_bytes} bytes, the limit is {limit_bytes}",
        visible(file)
    )]
    TooLarge {
        /// Name of the file.
        file: String,
        /// Bytes in the file.
        found_bytes: u64,
        /// The limit.
        limit_bytes: u64,
    },
    /// A file is damaged or contradicts itself.
    #[error(
        "{} is not a usable tokenizer file: {}",
        visible(file),
        visible_line(reason)
    )]
    Malformed {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The file is sound, but asks for something this crate does not implement.
    #[error(
        "unsupported {part} in {}: found {}, supported: {supported}",
        visible(file),
        visible_line(found)
    )]
    Unsupported {
        /// Name of the file.
        file: String,
        /// The part of the tokenizer.
        part: &'static str,
        /// What the file asks for.
        found: String,
        /// What would work.
        supported: &'static str,
    },
    /// Two entries of the vocabulary claim one id.
    #[error(
        "{} gives id {id} to both `{}` and `{}`",
        visible(file),
        visible(first),
        visible(second)
    )]
    DuplicateId {
        /// Name of the file.
        file: String,
        /// The contested id.
        id: u32,
        /// The token that came first.
        first: String,
        /// The token that came second.
        second: String,
    },
    /// The vocabulary lacks a token that is needed.
    #[error("the vocabulary holds no token `{}`", visible(token))]
    UnknownToken {
        /// The token asked for.
        token: String,
    },
    /// The tokenizer gave up on a text.
    #[error("the tokenizer cannot encode the text: {}", visible_line(reason))]
    Encode {
        /// What it said.
        reason: String,
    },
}

impl TokenizerError {
    /// The same error about a file of another name, where it is about one.
    pub(crate) fn about(mut self, name: &str) -> Self {
        match &mut self {
            Self::TooLarge { file, .. }
            | Self::Malformed { file, .. }
            | Self::Unsupported { file, .. }
            | Self::DuplicateId { file, .. } => *file = name.to_string(),
            Self::Missing
            | Self::VocabularyAlone
            | Self::UnknownToken { .. }
            | Self::Encode { .. } => {}
        }
        self
    }
}

/// A prompt template that cannot be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TemplateError {
    /// No template has that name.
    #[error("unknown template `{}`; known: {}", visible(name), known.join(", "))]
    Unknown {
        /// The name asked for.
        name: String,
        /// Every name that would work.
        known: Vec<String>,
    },
    /// The model folder brings no chat template.
    #[error("the model folder has no chat template; name one of: {}", known.join(", "))]
    Missing {
        /// Every template name that would work instead.
        known: Vec<String>,
    },
    /// The chat template is longer than the limit.
    #[error("the chat template has {found_bytes} bytes, the limit is {limit_bytes}")]
    TooLarge {
        /// Bytes of the template.
        found_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// A file that should hold a chat template holds something else.
    #[error(
        "{} holds no usable chat template: {}",
        visible(file),
        visible_line(reason)
    )]
    Malformed {
        /// Name of the file.
        file: String,
        /// What is wrong with it.
        reason: String,
    },
    /// The chat template is not valid Jinja.
    #[error("the chat template cannot be parsed: {}", visible_line(reason))]
    Syntax {
        /// What the parser said.
        reason: String,
    },
    /// The chat template failed on these messages.
    #[error("the chat template failed: {}", visible_line(reason))]
    Render {
        /// What the template engine said.
        reason: String,
    },
    /// The chat template uses what this crate does not implement.
    #[error(
        "the chat template needs what is not implemented: {}",
        visible_line(feature)
    )]
    Unsupported {
        /// What it needs.
        feature: String,
    },
    /// The chat template itself refused the messages, with `raise_exception`.
    #[error("the chat template refused the messages: {}", visible_line(message))]
    Refused {
        /// The template's own words.
        message: String,
    },
    /// Rendering took more work or memory than any honest template needs.
    #[error("the chat template used up its budget of {budget} steps")]
    TooExpensive {
        /// The budget, in steps of the template engine.
        budget: u64,
    },
    /// The rendered prompt is longer than the limit.
    #[error("the chat template wrote {found_bytes} bytes, the limit is {limit_bytes}")]
    OutputTooLong {
        /// Bytes written.
        found_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
    /// The template writes a token that this tokenizer does not name.
    #[error("the template needs the tokenizer's {token} token, and it names none")]
    MissingToken {
        /// `bos` or `eos`.
        token: &'static str,
    },
}
