//! When an answer ends, and why it did.

/// Why an answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum FinishReason {
    /// The model said it was done.
    EndOfText,
    /// The stop string with this index was written; the text ends in front of it. The request's
    /// own come first, then those of the template.
    Stop(usize),
    /// The request's stop token with this id was chosen; it is not part of the answer.
    StopToken(u32),
    /// As many tokens as were asked for.
    MaxNewTokens,
    /// The request was cancelled; the text is what there was.
    Cancelled,
    /// The deadline passed; the text is what there was.
    Deadline,
}

impl FinishReason {
    /// A name for machines: `end_of_text`, `stop`, `stop_token`, `max_new_tokens`, `cancelled` or
    /// `deadline`.
    pub fn name(self) -> &'static str {
        match self {
            Self::EndOfText => "end_of_text",
            Self::Stop(_) => "stop",
            Self::StopToken(_) => "stop_token",
            Self::MaxNewTokens => "max_new_tokens",
            Self::Cancelled => "cancelled",
            Self::Deadline => "deadline",
        }
    }
}

/// What ends an answer, besides its length.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct StopRules {
    /// Ids by which the model says it is done.
    pub end_of_text_ids: Vec<u32>,
    /// Ids that the request wants to stop at.
    pub stop_token_ids: Vec<u32>,
    /// Strings at which the text ends.
    pub stop_strings: Vec<String>,
}

impl StopRules {
    /// Why `id` ends the answer, if it does.
    pub(super) fn at_token(&self, id: u32) -> Option<FinishReason> {
        if self.end_of_text_ids.contains(&id) {
            return Some(FinishReason::EndOfText);
        }
        self.stop_token_ids
            .contains(&id)
            .then_some(FinishReason::StopToken(id))
    }
}
