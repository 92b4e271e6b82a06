//! The arithmetic of [`LogitRules`], as `transformers/generation/logits_process.py` does it.

use super::{LogitRules, RuleScope};

/// A forbidden score.
const NEVER: f32 = f32::NEG_INFINITY;

/// What the rules look at.
#[derive(Debug, Clone, Copy)]
pub(in crate::generation) struct Answered<'a> {
    /// Tokens of the prompt.
    pub(in crate::generation) prompt: &'a [u32],
    /// Tokens of the answer so far.
    pub(in crate::generation) answer: &'a [u32],
    /// Tokens that end an answer, in order.
    pub(in crate::generation) end_ids: &'a [u32],
    /// Most tokens of the answer.
    pub(in crate::generation) max_new_tokens: usize,
}

impl LogitRules {
    /// Changes `scores`, one of each token, in place.
    pub(in crate::generation) fn apply(&self, scores: &mut [f32], answered: Answered<'_>) {
        let Answered { answer, .. } = answered;
        let prompt = match self.scope {
            RuleScope::PromptAndAnswer => answered.prompt,
            RuleScope::Answer => &[],
        };
        let seen = [prompt, answer].concat();
        self.add_biases(scores, &seen);
        // Above 1 it is a reward for the prompt's tokens.
        penalise(scores, prompt, 1.0 / self.encoder_repetition_penalty);
        penalise(scores, &seen, self.repetition_penalty);
        forbid_ngrams(scores, &seen, &seen, self.no_repeat_ngram_size);
        forbid_ngrams(scores, prompt, &seen, self.encoder_no_repeat_ngram_size);
        self.forbid_words(scores, &seen, answered.end_ids);
        self.shape_length(scores, &seen, answered);
        forbid(scores, &self.suppress_tokens);
        if answer.is_empty() {
            forbid(scores, &self.begin_suppress_tokens);
        }
        if self.renormalize_logits {
            log_softmax(scores);
        }
    }

    fn add_biases(&self, scores: &mut [f32], seen: &[u32]) {
        for (sequence, bias) in &self.sequence_bias {
            if let Some(last) = completed(sequence, seen) {
                add(scores, last, *bias);
            }
        }
    }

    fn forbid_words(&self, scores: &mut [f32], seen: &[u32], end_ids: &[u32]) {
        let is_end = |word: &[u32]| matches!(word, [id] if end_ids.binary_search(id).is_ok());
        let words = self.bad_words_ids.iter().filter(|word| !is_end(word));
        for last in words.filter_map(|word| completed(word, seen)) {
            add(scores, last, NEVER);
        }
    }

    /// What looks at how long the answer is.
    fn shape_length(&self, scores: &mut [f32], seen: &[u32], answered: Answered<'_>) {
        let Answered {
            prompt,
            answer,
            end_ids,
            max_new_tokens,
        } = answered;
        let is_short = prompt.len() + answer.len() < self.min_length;
        if is_short || answer.len() < self.min_new_tokens {
            forbid(scores, end_ids);
        }
        if let Some(id) = self.forced_bos_token_id
            && seen.len() == 1
        {
            force(scores, &[id]);
        }
        let is_last = answer.len() + 1 == max_new_tokens;
        if is_last && !self.forced_eos_token_ids.is_empty() {
            force(scores, &self.forced_eos_token_ids);
        }
        if self.remove_invalid_values {
            scores.iter_mut().for_each(make_valid);
        }
        if let Some((start, factor)) = self.exponential_decay_length_penalty
            && answer.len() > start
        {
            let growth = f64::from(factor).powi((answer.len() - start) as i32) - 1.0;
            for score in named(scores, end_ids) {
                if score.is_finite() {
                    *score += score.abs() * growth as f32;
                }
            }
        }
    }
}

/// Makes log-probabilities of scores.
pub(in crate::generation) fn log_softmax(scores: &mut [f32]) {
    let largest = scores.iter().copied().fold(NEVER, f32::max);
    let total: f32 = scores.iter().map(|score| (score - largest).exp()).sum();
    let log_total = total.ln();
    for score in scores {
        *score = *score - largest - log_total;
    }
}

/// The last token of `sequence`, where the others are the last ones `seen`.
fn completed(sequence: &[u32], seen: &[u32]) -> Option<u32> {
    let (last, front) = sequence.split_last()?;
    seen.ends_with(front).then_some(*last)
}

/// Divides positive scores of the tokens `seen` and multiplies the others, each once.
fn penalise(scores: &mut [f32], seen: &[u32], penalty: f32) {
    if penalty == 1.0 {
        return;
    }
    let mut seen = seen.to_vec();
    seen.sort_unstable();
    seen.dedup();
    for score in named(scores, &seen) {
        *score = match *score < 0.0 {
            true => *score * penalty,
            false => *score / penalty,
        };
    }
}

/// Forbids what would complete a sequence of `size` tokens that is in `text` already.
fn forbid_ngrams(scores: &mut [f32], text: &[u32], seen: &[u32], size: usize) {
    if size == 0 || seen.len() < size {
        return;
    }
    let beginning = &seen[seen.len() + 1 - size..];
    for ngram in text.windows(size) {
        let (last, front) = ngram.split_last().expect("a window of at least one token");
        if front == beginning {
            forbid(scores, &[*last]);
        }
    }
}

fn add(scores: &mut [f32], id: u32, bias: f32) {
    for score in named(scores, &[id]) {
        *score += bias;
    }
}

fn forbid(scores: &mut [f32], ids: &[u32]) {
    for score in named(scores, ids) {
        *score = NEVER;
    }
}

fn force(scores: &mut [f32], ids: &[u32]) {
    scores.fill(NEVER);
    for score in named(scores, ids) {
        *score = 0.0;
    }
}

fn make_valid(score: &mut f32) {
    *score = match score.is_nan() {
        true => 0.0,
        false => score.clamp(f32::MIN, f32::MAX),
    };
}

/// Applies `change` to the scores of `ids`; an id that a head of fewer rows has no score of is passed
/// over.
fn named<'a>(scores: &'a mut [f32], ids: &[u32]) -> impl Iterator<Item = &'a mut f32> {
    let mut ids: Vec<usize> = ids.iter().map(|id| *id as usize).collect();
    ids.sort_unstable();
    ids.dedup();
    let mut rest = scores;
    let mut first = 0;
    ids.into_iter().map_while(move |id| {
        let taken = std::mem::take(&mut rest);
        let (_, from) = taken.split_at_mut_checked(id - first)?;
        let (score, behind) = from.split_first_mut()?;
        (rest, first) = (behind, id + 1);
        Some(score)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ruled(rules: &LogitRules, prompt: &[u32], answer: &[u32], scores: &[f32]) -> Vec<f32> {
        let mut scores = scores.to_vec();
        let answered = Answered {
            prompt,
            answer,
            end_ids: &[2],
            max_new_tokens: 9,
        };
        rules.apply(&mut scores, answered);
        scores
    }

    #[test]
    fn a_penalty_makes_no_nonsense_of_what_is_forbidden_or_infinite() {
        let rules = LogitRules {
            repetition_penalty: 2.0,
            ..LogitRules::default()
        };
        let scores = [NEVER, f32::INFINITY, -1.0, 4.0, 0.0, 3.0];
        // Ids that come twice are penalised once, and one beyond the scores is passed over.
        let found = ruled(&rules, &[3, 0, 3, 99], &[1, 2, 4], &scores);
        assert_eq!(found, [NEVER, f32::INFINITY, -2.0, 2.0, 0.0, 3.0]);
    }

    #[test]
    fn rules_for_the_answer_alone_do_not_see_the_prompt() {
        let rules = LogitRules {
            no_repeat_ngram_size: 1,
            scope: RuleScope::Answer,
            ..LogitRules::default()
        };
        assert_eq!(
            ruled(&rules, &[0, 1], &[2], &[0.0; 4]),
            [0.0, 0.0, NEVER, 0.0]
        );
    }

    #[test]
    fn scores_that_are_no_numbers_can_be_taken_for_some() {
        let rules = LogitRules {
            remove_invalid_values: true,
            ..LogitRules::default()
        };
        let found = ruled(&rules, &[1], &[], &[f32::NAN, f32::INFINITY, NEVER]);
        assert_eq!(found, [0.0, f32::MAX, f32::MIN]);
    }
}
