//! Tokens that stand beside a model's vocabulary, and finding them in a text.
//!
//! The tokenizers library does this too, but knows nothing of authors: a control token counts only
//! where a template wrote it. It also looks back to the start of the text at every token that
//! strips, which takes the square of the text. What is found here is what it would find, by the
//! same rules: first the tokens that are taken as they are, in the text as it is; then those that
//! are `normalized`, in each normalised span between the first; the leftmost wins, then the longest.

use std::collections::{BTreeMap, HashMap};
use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};
use regex_syntax::is_word_character;
use tokenizers::AddedToken;

use crate::error::TokenizerError;
use crate::text::engine::{Effort, Engine, MAX_TOKEN_BYTES, MAX_VOCAB_SIZE};

/// Most added tokens; ten times the most seen.
const MAX_TOKENS: usize = 1 << 16;

/// Most bytes of all added tokens together.
const MAX_TOTAL_BYTES: usize = 2 << 20;

/// One added token.
#[derive(Debug, Clone)]
pub(super) struct Added {
    pub(super) token: AddedToken,
    /// What is looked for in normalised text, where that is not the token itself.
    pub(super) normalized: Option<String>,
    /// Whether only a template or the caller may write it.
    pub(super) is_control: bool,
}

/// The added tokens of a tokenizer.
#[derive(Debug, Clone)]
pub(super) struct AddedTokens {
    by_id: BTreeMap<u32, Added>,
    ids: HashMap<String, u32>,
    as_written: Search,
    normalized: Search,
    /// Whether special tokens are text like any other.
    splits_special: bool,
}

/// A token in a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct AddedMatch {
    pub(super) id: u32,
    pub(super) range: Range<usize>,
}

/// A text between tokens, or a token with the white space that it swallows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Span {
    Token(u32),
    Text(Range<usize>),
}

impl AddedTokens {
    pub(super) fn new() -> Self {
        Self {
            by_id: BTreeMap::new(),
            ids: HashMap::new(),
            as_written: Search::new(&[]),
            normalized: Search::new(&[]),
            splits_special: false,
        }
    }

    /// From now on no special token is found in a text, whoever wrote it.
    pub(super) fn read_special_tokens_as_text(&mut self) {
        self.splits_special = true;
    }

    pub(super) fn id(&self, content: &str) -> Option<u32> {
        self.ids.get(content).copied()
    }

    pub(super) fn get(&self, id: u32) -> Option<&Added> {
        self.by_id.get(&id)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (u32, &Added)> {
        self.by_id.iter().map(|(&id, added)| (id, added))
    }

    /// The ids of the special tokens, in order.
    pub(super) fn special_ids(&self) -> Vec<u32> {
        let special = self.iter().filter(|(_, added)| added.token.special);
        special.map(|(id, _)| id).collect()
    }

    /// The id that the next new token gets, as the library counts.
    fn next_id(&self, engine: &Engine) -> u32 {
        let behind_model = u32::try_from(engine.vocab_size()).unwrap_or(u32::MAX);
        let behind_added = self.by_id.last_key_value();
        behind_added
            .map_or(0, |(largest, _)| largest.saturating_add(1))
            .max(behind_model)
    }

    /// Adds tokens, or gives those that are known other flags.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::Malformed`] when there are too many, or one is too long.
    pub(super) fn add(
        &mut self,
        tokens: Vec<AddedToken>,
        engine: &Engine,
        file: &str,
    ) -> Result<(), TokenizerError> {
        if tokens.is_empty() {
            return Ok(());
        }
        let malformed = |reason: String| TokenizerError::Malformed {
            file: file.to_string(),
            reason,
        };
        let mut next_id = self.next_id(engine);
        let effort = Effort::for_bytes(tokens.iter().map(|token| token.content.len()).sum());
        for token in tokens {
            check_length(&token.content).map_err(malformed)?;
            let known = self.id(&token.content);
            let id = known.or_else(|| engine.token_to_id(&token.content));
            let id = id.unwrap_or_else(|| {
                next_id += 1;
                next_id - 1
            });
            if id >= MAX_VOCAB_SIZE {
                return Err(malformed(format!("an added token would have the id {id}")));
            }
            // A vocabulary with gaps may have given the next id to a piece of its own.
            if let Some(piece) = engine.id_to_token(id)
                && piece != token.content
            {
                return Err(TokenizerError::DuplicateId {
                    file: file.to_string(),
                    id,
                    first: piece,
                    second: token.content,
                });
            }
            self.insert(id, token, engine, &effort).map_err(malformed)?;
        }
        self.search_again().map_err(malformed)
    }

    fn insert(
        &mut self,
        id: u32,
        token: AddedToken,
        engine: &Engine,
        effort: &Effort,
    ) -> Result<(), String> {
        let normalized = if token.normalized {
            let normalized = engine.normalize(&token.content, false, effort)?;
            Some(normalized.text().to_string()).filter(|it| *it != token.content)
        } else {
            None
        };
        self.ids.insert(token.content.clone(), id);
        let is_control = self.by_id.get(&id).is_some_and(|known| known.is_control);
        let added = Added {
            token,
            normalized,
            is_control,
        };
        self.by_id.insert(id, added);
        Ok(())
    }

    fn search_again(&mut self) -> Result<(), String> {
        let lengths = self.by_id.values().map(|added| {
            let normalized = added.normalized.as_ref().map_or(0, String::len);
            added.token.content.len() + normalized
        });
        let (count, total) = (self.by_id.len(), lengths.sum::<usize>());
        if count > MAX_TOKENS || total > MAX_TOTAL_BYTES {
            return Err(format!("{count} added tokens have {total} bytes together"));
        }
        let patterns = |normalized: bool| {
            let chosen = self.iter();
            let chosen = chosen.filter(move |(_, added)| added.token.normalized == normalized);
            chosen
                .map(|(id, added)| {
                    let content = added.normalized.as_ref().unwrap_or(&added.token.content);
                    (content.as_str(), id)
                })
                .collect::<Vec<_>>()
        };
        (self.as_written, self.normalized) =
            (Search::new(&patterns(false)), Search::new(&patterns(true)));
        Ok(())
    }

    /// Makes control tokens of these ids.
    pub(super) fn forbid(&mut self, ids: &[u32]) {
        for id in ids {
            if let Some(added) = self.by_id.get_mut(id) {
                added.is_control = true;
            }
        }
    }

    /// Whether any token is looked for in normalised text.
    pub(super) fn has_normalized(&self) -> bool {
        !self.normalized.is_empty()
    }

    /// Cuts a text at the tokens that are taken as they are. Control tokens count where they lie
    /// wholly inside one of the `owned` ranges, and come before what would begin outside of it.
    pub(super) fn cut(&self, text: &str, owned: &[Range<usize>]) -> Vec<Span> {
        let mut controls = Vec::new();
        for range in owned {
            let found = self.as_written.find(text, range.clone());
            controls.extend(found.filter(|it| self.is_control(it.id)));
        }
        let mut found = Vec::new();
        let mut end = 0;
        for control in controls {
            found.extend(self.ordinary(text, end..control.range.start));
            end = control.range.end;
            found.push(control);
        }
        found.extend(self.ordinary(text, end..text.len()));
        self.spans(text, found)
    }

    fn ordinary<'a>(
        &'a self,
        text: &'a str,
        range: Range<usize>,
    ) -> impl Iterator<Item = AddedMatch> + 'a {
        let found = self.as_written.find(text, range);
        found.filter(|it| !self.is_control(it.id))
    }

    /// Cuts a normalised text at the tokens that are looked for there; `may_count` says which
    /// control tokens count.
    pub(super) fn cut_normalized(
        &self,
        text: &str,
        may_count: impl Fn(Range<usize>) -> bool,
    ) -> Vec<Span> {
        let found = self.normalized.find(text, 0..text.len());
        let counts = |it: &AddedMatch| !self.is_control(it.id) || may_count(it.range.clone());
        self.spans(text, found.filter(counts))
    }

    fn is_control(&self, id: u32) -> bool {
        self.by_id.get(&id).is_some_and(|added| added.is_control)
    }

    /// Lets each token stand only where its flags allow it, and swallow what its flags say.
    fn spans(&self, text: &str, found: impl IntoIterator<Item = AddedMatch>) -> Vec<Span> {
        let mut spans = Vec::new();
        let mut end = 0;
        // White space that was looked at once is not looked at again, however many tokens are in it.
        let mut space = 0..0;
        for AddedMatch { id, range } in found {
            let Some(token) = self.by_id.get(&id).map(|added| &added.token) else {
                continue;
            };
            if token.special && self.splits_special {
                continue;
            }
            if token.single_word && !stands_alone(text, &range) {
                continue;
            }
            let mut start = range.start;
            if token.lstrip {
                let before = text.get(end..start).unwrap_or_default();
                start = end + before.trim_end().len();
            }
            let mut stop = range.end;
            if token.rstrip {
                if !space.contains(&stop) {
                    let rest = &text[stop..];
                    space = stop..text.len() - rest.trim_start().len();
                }
                stop = stop.max(space.end);
            }
            if end < start {
                spans.push(Span::Text(end..start));
            }
            // White space that one token swallowed is no token, if that would swallow it too.
            if start < stop {
                spans.push(Span::Token(id));
            }
            end = stop;
        }
        if end < text.len() {
            spans.push(Span::Text(end..text.len()));
        }
        spans
    }
}

/// Whether what stands around a range forms no word with it.
fn stands_alone(text: &str, range: &Range<usize>) -> bool {
    let before = text[..range.start].chars().next_back();
    let behind = text[range.end..].chars().next();
    !before.is_some_and(is_word_character) && !behind.is_some_and(is_word_character)
}

/// What an added token may be.
fn check_length(content: &str) -> Result<(), String> {
    match content.len() {
        0 => Err("an added token is empty".to_string()),
        1..=MAX_TOKEN_BYTES => Ok(()),
        length => Err(format!("an added token has {length} bytes")),
    }
}

/// Looks for many tokens at once.
#[derive(Debug, Clone)]
struct Search {
    automaton: Option<AhoCorasick>,
    ids: Vec<u32>,
}

impl Search {
    /// Of several tokens with one spelling the first counts.
    fn new(patterns: &[(&str, u32)]) -> Self {
        let patterns: Vec<_> = patterns.iter().filter(|(it, _)| !it.is_empty()).collect();
        let automaton = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(patterns.iter().map(|(content, _)| content))
            .ok()
            .filter(|_| !patterns.is_empty());
        let ids = patterns.iter().map(|&&(_, id)| id).collect();
        Self { automaton, ids }
    }

    fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    fn find<'a>(
        &'a self,
        text: &'a str,
        range: Range<usize>,
    ) -> impl Iterator<Item = AddedMatch> + 'a {
        let input = move || Input::new(text).range(range.clone());
        let found = self
            .automaton
            .iter()
            .flat_map(move |it| it.find_iter(input()));
        found.map(|it| AddedMatch {
            id: self.ids[it.pattern()],
            range: it.range(),
        })
    }
}
