//! What is done to the scores of a step before a token is chosen.

mod apply;

pub(super) use apply::{Answered, log_softmax};

use crate::error::{RequestError, Result};

/// Changes to the scores of every step, in the order of the fields: the logits processors of
/// Hugging Face's `generate`, whose names and meaning these are.
///
/// The default changes nothing. Where a rule is set, the scores of a step come to the host for it.
///
/// # Examples
/// ```
/// use burn_vlm::{AskRequest, LogitRules};
///
/// let rules = LogitRules {
///     repetition_penalty: 1.2,
///     no_repeat_ngram_size: 3,
///     ..LogitRules::default()
/// };
/// let request: AskRequest = AskRequest::text("Tell me a story.").rules(rules);
/// # let _ = request;
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct LogitRules {
    /// Which tokens the rules look back at.
    pub scope: RuleScope,
    /// Added to the score of the last token of a sequence, where the others stand in front of it.
    pub sequence_bias: Vec<(Vec<u32>, f32)>,
    /// The score of a token of the prompt is multiplied by this where it is positive and divided
    /// where it is negative; 1 for no change. Above 1 the answer keeps to the prompt's words.
    pub encoder_repetition_penalty: f32,
    /// The score of a token that was there is divided by this where it is positive and multiplied
    /// where it is negative (Keskar et al. 2019); 1 for no penalty.
    pub repetition_penalty: f32,
    /// No sequence of this many tokens comes twice; 0 for no limit.
    pub no_repeat_ngram_size: usize,
    /// No sequence of this many tokens of the prompt comes in the answer; 0 for no limit.
    pub encoder_no_repeat_ngram_size: usize,
    /// Sequences that never come. One that is a token ending the answer is passed over.
    pub bad_words_ids: Vec<Vec<u32>>,
    /// Tokens of prompt and answer together before the answer may end.
    pub min_length: usize,
    /// Tokens of the answer before it may end.
    pub min_new_tokens: usize,
    /// The token behind a prompt of one.
    pub forced_bos_token_id: Option<u32>,
    /// The tokens one of which is the last of an answer as long as it may be.
    pub forced_eos_token_ids: Vec<u32>,
    /// Takes a score that is not a number for 0, and an infinite one for the largest there is.
    pub remove_invalid_values: bool,
    /// Makes the end likelier from so many tokens of the answer on, by this factor for each.
    pub exponential_decay_length_penalty: Option<(usize, f32)>,
    /// Tokens that never come.
    pub suppress_tokens: Vec<u32>,
    /// Tokens that do not come first.
    pub begin_suppress_tokens: Vec<u32>,
    /// Makes the changed scores log-probabilities again, which beams are compared by.
    pub renormalize_logits: bool,
}

/// Which tokens [`LogitRules`] look back at.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum RuleScope {
    /// The prompt and the answer, as where `generate` is given ids.
    #[default]
    PromptAndAnswer,
    /// The answer alone, as where `generate` is given embeddings: MiniGPT-4.
    Answer,
}

impl Default for LogitRules {
    /// No rules.
    fn default() -> Self {
        Self {
            scope: RuleScope::default(),
            sequence_bias: Vec::new(),
            encoder_repetition_penalty: 1.0,
            repetition_penalty: 1.0,
            no_repeat_ngram_size: 0,
            encoder_no_repeat_ngram_size: 0,
            bad_words_ids: Vec::new(),
            min_length: 0,
            min_new_tokens: 0,
            forced_bos_token_id: None,
            forced_eos_token_ids: Vec::new(),
            remove_invalid_values: false,
            exponential_decay_length_penalty: None,
            suppress_tokens: Vec::new(),
            begin_suppress_tokens: Vec::new(),
            renormalize_logits: false,
        }
    }
}

impl LogitRules {
    /// Whether they change nothing, so that scores can stay on the device.
    pub(super) fn is_neutral(&self) -> bool {
        let scope = self.scope;
        *self
            == Self {
                scope,
                ..Self::default()
            }
    }

    /// # Errors
    /// [`RequestError::Parameter`] for a number outside its range, [`RequestError::UnknownTokenId`]
    /// for a token that the model cannot say.
    pub(super) fn check(&self, vocab_size: usize) -> Result<()> {
        let penalties = [
            ("repetition_penalty", self.repetition_penalty),
            (
                "encoder_repetition_penalty",
                self.encoder_repetition_penalty,
            ),
        ];
        for (parameter, penalty) in penalties {
            if !(penalty.is_normal() && penalty > 0.0) {
                return Err(wrong(parameter, penalty, "a finite number above 0"));
            }
        }
        if let Some((_, factor)) = self.exponential_decay_length_penalty
            && !(factor.is_finite() && factor > 0.0)
        {
            let parameter = "exponential_decay_length_penalty";
            return Err(wrong(parameter, factor, "a factor above 0"));
        }
        if let Some((_, bias)) = self.sequence_bias.iter().find(|(_, bias)| bias.is_nan()) {
            return Err(wrong("sequence_bias", bias, "numbers"));
        }
        let biased = self.sequence_bias.iter().map(|(sequence, _)| sequence);
        let sequences = [
            ("sequence_bias", biased.collect::<Vec<_>>()),
            ("bad_words_ids", self.bad_words_ids.iter().collect()),
        ];
        for (parameter, sequences) in &sequences {
            if sequences.iter().any(|sequence| sequence.is_empty()) {
                return Err(wrong(parameter, "no token", "sequences of tokens"));
            }
        }
        let sequences = sequences.iter().flat_map(|(_, sequences)| sequences);
        let forced = self.forced_bos_token_id.iter();
        let forced = forced.chain(&self.forced_eos_token_ids);
        let mut named = sequences.flat_map(|sequence| sequence.iter()).chain(forced);
        match named.find(|id| **id as usize >= vocab_size) {
            Some(id) => Err(RequestError::UnknownTokenId {
                id: *id,
                vocab_size,
            }
            .into()),
            None => Ok(()),
        }
    }
}

fn wrong(parameter: &'static str, found: impl ToString, expected: &'static str) -> crate::Error {
    RequestError::Parameter {
        parameter,
        found: found.to_string(),
        expected,
    }
    .into()
}
