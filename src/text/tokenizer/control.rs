//! Which tokens are control tokens: those that only a template or the caller may write.

use std::collections::BTreeSet;
use std::sync::Arc;

use aho_corasick::AhoCorasick;
use tokenizers::AddedToken;

use super::{Inner, Tokenizer};
use crate::error::{Result, TokenizerError};
use crate::text::control_tokens::ControlToken;

/// Most places that are looked at where tokens stand in a prompt format.
const MAX_SPELLED: usize = 10_000_000;

impl Tokenizer {
    /// Makes `token` a control token, although its file calls it an ordinary one.
    ///
    /// Some checkpoints list `<image>` so; unless it is registered, a user who types it gets it.
    /// Decoding shows the token as before.
    ///
    /// # Errors
    ///
    /// [`TokenizerError::UnknownToken`] when the vocabulary does not hold it.
    pub(crate) fn with_control_token(mut self, token: &str) -> Result<Self> {
        let id = self
            .token_id(token)
            .ok_or_else(|| TokenizerError::UnknownToken {
                token: token.to_string(),
            })?;
        let inner = Arc::make_mut(&mut self.inner);
        if inner.added.get(id).is_none() {
            let added = AddedToken::from(token, true);
            inner.added.add(vec![added], &inner.engine, "the model")?;
        }
        inner.forbid(&[id]);
        Ok(self)
    }

    /// Makes control tokens of the added tokens that prompt formats spell, whatever their file
    /// calls them: a user who types `<|im_start|>` must not open a turn.
    ///
    /// Added words are left alone: only what begins and ends with neither a letter, a digit nor
    /// white space marks something.
    ///
    /// # Errors
    ///
    /// [`TokenizerError`] when the tokenizer refuses to register one.
    pub(crate) fn with_control_tokens_of(mut self, formats: &[&str]) -> Result<Self> {
        let is_mark = |character: char| !character.is_alphanumeric() && !character.is_whitespace();
        let marks = |token: &AddedToken| {
            let text = token.content.as_str();
            !token.special
                && text.starts_with(is_mark)
                && text.ends_with(is_mark)
                && text.chars().nth(1).is_some()
        };
        let candidates = self.inner.added.iter();
        let candidates = candidates.filter(|(_, added)| marks(&added.token));
        let candidates: Vec<_> = candidates
            .map(|(id, added)| (id, added.token.content.as_str()))
            .collect();
        let found = spelled_in(&candidates, formats);
        Arc::make_mut(&mut self.inner).forbid(&found);
        Ok(self)
    }
}

impl Inner {
    /// Makes control tokens of added tokens.
    pub(super) fn forbid(&mut self, ids: &[u32]) {
        self.added.forbid(ids);
        // A control token of one character cannot be told from that character, and text that the
        // vocabulary cannot spell rightly becomes the unknown token.
        let unknown = self
            .config
            .named
            .get("unk_token")
            .map(|token| &token.content);
        let tokens = ids
            .iter()
            .filter_map(|&id| Some((id, &self.added.get(id)?.token.content)));
        let mut control_tokens = Vec::new();
        for (id, content) in tokens {
            if content.chars().nth(1).is_some() && unknown != Some(content) {
                self.forbidden_ids.insert(id);
            }
            control_tokens.push(ControlToken::new(id, content));
        }
        self.control_tokens.extend(control_tokens);
    }
}

/// The ids of the tokens that any of the texts spells.
fn spelled_in(tokens: &[(u32, &str)], texts: &[&str]) -> Vec<u32> {
    let all = || tokens.iter().map(|&(id, _)| id).collect();
    let Ok(search) = AhoCorasick::new(tokens.iter().map(|(_, content)| content)) else {
        return all();
    };
    let mut found = BTreeSet::new();
    let mut left = MAX_SPELLED;
    for text in texts {
        for token in search.find_overlapping_iter(text) {
            found.insert(tokens[token.pattern()].0);
            left -= 1;
            // A text made so that tokens lie in tokens: all of them may as well be in it.
            if left == 0 {
                return all();
            }
        }
    }
    found.into_iter().collect()
}
