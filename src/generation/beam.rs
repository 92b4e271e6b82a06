//! Beam search over scores: which sequences go on, which are done, and when to stop.
//!
//! The arithmetic is that of `GenerationMixin._beam_search` of `transformers` 5, in the same f32, so
//! that the same beams win. Nothing here knows tensors or caches.

use super::stop::FinishReason;
use crate::error::{RequestError, Result};

/// Most beams of a search.
const MAX_BEAMS: usize = 64;

/// A score that every real one is above.
const WORST: f32 = -1e9;

/// Beam search: the likeliest of several answers that are followed side by side.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct BeamOptions {
    /// Answers that are followed at once; from 1 to 64.
    pub num_beams: usize,
    /// The sum of an answer's log-probabilities is divided by its length to this power: above 0
    /// favours long answers, below 0 short ones.
    pub length_penalty: f32,
    /// When the search is over.
    pub early_stopping: EarlyStopping,
}

/// When a beam search is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum EarlyStopping {
    /// When no answer that is still open is likely to become better than those that are done.
    #[default]
    Heuristic,
    /// As soon as as many answers are done as there are beams.
    WhenFull,
    /// When no answer that is still open can become better.
    Never,
}

impl Default for BeamOptions {
    /// Five beams, compared by their mean.
    fn default() -> Self {
        Self {
            num_beams: 5,
            length_penalty: 1.0,
            early_stopping: EarlyStopping::default(),
        }
    }
}

impl BeamOptions {
    pub(super) fn check(&self) -> Result<()> {
        let wrong = |parameter, found: String, expected| {
            let error = RequestError::Parameter {
                parameter,
                found,
                expected,
            };
            Err(error.into())
        };
        if !(1..=MAX_BEAMS).contains(&self.num_beams) {
            let found = self.num_beams.to_string();
            return wrong("num_beams", found, "from 1 to 64 beams");
        }
        match self.length_penalty.is_finite() {
            true => Ok(()),
            false => {
                let found = self.length_penalty.to_string();
                wrong("length_penalty", found, "a finite number")
            }
        }
    }
}

/// An answer that is followed.
#[derive(Debug, Clone)]
pub(super) struct Beam {
    /// The sum of its log-probabilities.
    score: f32,
    /// Its tokens.
    pub(super) token_ids: Vec<u32>,
    /// The beam of the step before that it goes on from.
    pub(super) parent: usize,
}

/// An answer that may be given, with the score it is compared by.
#[derive(Debug, Clone)]
struct Hypothesis {
    score: f32,
    token_ids: Vec<u32>,
    is_done: bool,
}

/// One search.
#[derive(Debug)]
pub(super) struct BeamSearch {
    options: BeamOptions,
    /// Candidates that are looked at in each step, so that enough of them are open.
    num_candidates: usize,
    max_new_tokens: usize,
    running: Vec<Beam>,
    /// As many as there are beams, the best first.
    best: Vec<Hypothesis>,
    can_improve: bool,
}

/// A beam and one more token.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    parent: usize,
    id: u32,
    score: f32,
    is_done: bool,
}

impl BeamSearch {
    /// A search for answers that `num_end_ids` tokens end.
    pub(super) fn new(options: BeamOptions, num_end_ids: usize, max_new_tokens: usize) -> Self {
        let beam = |index| Beam {
            // All begin alike, so only the first may have children at first.
            score: if index == 0 { 0.0 } else { WORST },
            token_ids: Vec::new(),
            parent: index,
        };
        let none = Hypothesis {
            score: WORST,
            token_ids: Vec::new(),
            is_done: false,
        };
        Self {
            num_candidates: (1 + num_end_ids).max(2) * options.num_beams,
            max_new_tokens,
            running: (0..options.num_beams).map(beam).collect(),
            best: vec![none; options.num_beams],
            can_improve: true,
            options,
        }
    }

    /// The beams, whose next scores [`advance`](Self::advance) wants.
    pub(super) fn running(&self) -> &[Beam] {
        &self.running
    }

    /// The best answer so far: one that is done, or the likeliest that is followed.
    pub(super) fn best(&self) -> &[u32] {
        match self.best.first().filter(|best| best.is_done) {
            Some(best) => &best.token_ids,
            None => &self.running[0].token_ids,
        }
    }

    /// Goes one token on. `scores` are those of each beam, and `end` says why an answer ends that goes
    /// on from a beam with a token. Returns whether the search goes on.
    pub(super) fn advance(
        &mut self,
        scores: &[&[f32]],
        end: impl Fn(usize, u32) -> Option<FinishReason>,
    ) -> bool {
        let len = self.running[0].token_ids.len() + 1;
        let is_longest = len == self.max_new_tokens;
        let mut candidates = self.candidates(scores);
        for candidate in &mut candidates {
            candidate.is_done = is_longest || end(candidate.parent, candidate.id).is_some();
        }
        let next = self.next_running(&candidates);
        self.keep_best(&candidates, len);
        let all_done = candidates.iter().all(|candidate| candidate.is_done);
        self.running = next;
        self.can_improve &= self.may_improve(len);
        let is_full = self.options.early_stopping == EarlyStopping::WhenFull && self.is_full();
        self.can_improve && !is_full && !all_done
    }

    fn is_full(&self) -> bool {
        self.best.iter().all(|best| best.is_done)
    }

    /// The best pairs of a beam and a token.
    fn candidates(&self, scores: &[&[f32]]) -> Vec<Candidate> {
        let mut candidates: Vec<Candidate> = Vec::new();
        for (parent, (beam, scores)) in self.running.iter().zip(scores).enumerate() {
            candidates.extend(scores.iter().enumerate().map(|(id, score)| Candidate {
                parent,
                id: id as u32,
                score: score + beam.score,
                is_done: false,
            }));
        }
        // Of equal ones the first beam, then the lowest id.
        let order = |a: &Candidate, b: &Candidate| {
            let by_score = b.score.total_cmp(&a.score);
            by_score.then((a.parent, a.id).cmp(&(b.parent, b.id)))
        };
        if candidates.len() > self.num_candidates {
            candidates.select_nth_unstable_by(self.num_candidates, order);
            candidates.truncate(self.num_candidates);
        }
        candidates.sort_unstable_by(order);
        candidates
    }

    /// The best candidates that are not done.
    fn next_running(&self, candidates: &[Candidate]) -> Vec<Beam> {
        let mut open: Vec<(f32, &Candidate)> = candidates
            .iter()
            .map(|candidate| {
                let malus = if candidate.is_done { WORST } else { 0.0 };
                (candidate.score + malus, candidate)
            })
            .collect();
        open.sort_by(|a, b| b.0.total_cmp(&a.0));
        let beams = open.into_iter().take(self.options.num_beams);
        beams
            .map(|(score, candidate)| Beam {
                score,
                token_ids: self.tokens(candidate),
                parent: candidate.parent,
            })
            .collect()
    }

    fn tokens(&self, candidate: &Candidate) -> Vec<u32> {
        let mut token_ids = self.running[candidate.parent].token_ids.clone();
        token_ids.push(candidate.id);
        token_ids
    }

    /// Takes in what is done. Only the best as many candidates as there are beams count: the others
    /// are there to be gone on with.
    fn keep_best(&mut self, candidates: &[Candidate], len: usize) {
        let BeamOptions {
            num_beams,
            length_penalty,
            early_stopping,
        } = self.options;
        let is_closed = early_stopping == EarlyStopping::WhenFull && self.is_full();
        let divisor = powered(len, length_penalty);
        let mut malus = 0.0;
        for is_barred in [is_closed, !self.can_improve] {
            malus += if is_barred { WORST } else { 0.0 };
        }
        for candidate in candidates.iter().take(num_beams) {
            if candidate.is_done {
                self.best.push(Hypothesis {
                    score: candidate.score / divisor + malus,
                    token_ids: self.tokens(candidate),
                    is_done: true,
                });
            }
        }
        self.best.sort_by(|a, b| b.score.total_cmp(&a.score));
        self.best.truncate(num_beams);
    }

    /// Whether the best open answer could still be better than the worst that is done.
    fn may_improve(&self, len: usize) -> bool {
        let BeamOptions {
            length_penalty,
            early_stopping,
            ..
        } = self.options;
        let is_exact = early_stopping == EarlyStopping::Never && length_penalty > 0.0;
        let best_len = if is_exact { self.max_new_tokens } else { len };
        let best_open = self.running[0].score / powered(best_len, length_penalty);
        let scores = self.best.iter().map(|best| best.score);
        let worst_done = scores.fold(f32::INFINITY, f32::min);
        self.best.iter().any(|best| {
            let bar = if best.is_done { worst_done } else { WORST };
            best_open > bar
        })
    }
}

/// A length to the power of the penalty, as Python computes it.
fn powered(len: usize, length_penalty: f32) -> f32 {
    (len as f64).powf(f64::from(length_penalty)) as f32
}
