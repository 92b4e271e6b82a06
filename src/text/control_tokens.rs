//! Finding control tokens in text that is allowed to contain them.

use std::ops::Range;

use aho_corasick::{AhoCorasick, Input, MatchKind};

/// A token that means something to the model beyond its spelling.
#[derive(Debug, Clone)]
pub(crate) struct ControlToken {
    /// Its id.
    pub(crate) id: u32,
    /// How templates spell it.
    pub(crate) content: String,
}

impl ControlToken {
    /// A token of that spelling.
    pub(crate) fn new(id: u32, content: &str) -> Self {
        Self {
            id,
            content: content.to_string(),
        }
    }
}

/// Where a control token stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlMatch {
    pub(crate) id: u32,
    pub(crate) range: Range<usize>,
}

/// The control tokens of a tokenizer.
///
/// A search takes time proportional to the text, whatever it repeats.
#[derive(Debug, Clone)]
pub(crate) struct ControlTokens {
    tokens: Vec<ControlToken>,
    search: AhoCorasick,
}

impl ControlTokens {
    /// Of several tokens with one spelling the first counts.
    ///
    /// # Panics
    ///
    /// If the tokens have more than two thousand million characters; no file that is read does.
    pub(crate) fn new(mut tokens: Vec<ControlToken>) -> Self {
        tokens.retain(|token| !token.content.is_empty());
        let search = AhoCorasick::builder()
            .match_kind(MatchKind::LeftmostLongest)
            .build(tokens.iter().map(|token| &token.content))
            .expect("the files that name tokens are limited in size");
        Self { tokens, search }
    }

    /// Adds tokens behind the known ones.
    pub(crate) fn extend(&mut self, tokens: impl IntoIterator<Item = ControlToken>) {
        let mut all = std::mem::take(&mut self.tokens);
        all.extend(tokens);
        *self = Self::new(all);
    }

    /// Every control token.
    #[cfg(test)]
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ControlToken> {
        self.tokens.iter()
    }

    /// Finds the control tokens of `text` that lie wholly inside one of the `owned` ranges.
    ///
    /// As in Hugging Face's tokenizers, the leftmost match wins, then the longest. What its flags
    /// say of white space and of words is left to the [tokenizer](super::tokenizer::Tokenizer).
    pub(crate) fn find(&self, text: &str, owned: &[Range<usize>]) -> Vec<ControlMatch> {
        let find =
            |range: &Range<usize>| self.search.find_iter(Input::new(text).range(range.clone()));
        let found = owned.iter().flat_map(find);
        found
            .map(|found| ControlMatch {
                id: self.tokens[found.pattern()].id,
                range: found.range(),
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::{ControlMatch, ControlToken, ControlTokens};

    fn found(tokens: &ControlTokens, text: &str) -> Vec<(u32, usize, usize)> {
        let whole = 0..text.len();
        let matches = tokens.find(text, std::slice::from_ref(&whole));
        matches
            .into_iter()
            .map(|m| (m.id, m.range.start, m.range.end))
            .collect()
    }

    #[test]
    fn the_longest_token_at_the_leftmost_place_wins() {
        let tokens = ControlTokens::new(vec![
            ControlToken::new(1, "<a>"),
            ControlToken::new(2, "<a><b>"),
            ControlToken::new(3, "a><b>c"),
        ]);
        assert_eq!(found(&tokens, "x<a><b>c<a>"), [(2, 1, 7), (1, 8, 11)]);
    }

    #[test]
    fn a_token_that_crosses_the_border_of_what_is_owned_is_not_one() {
        let tokens = ControlTokens::new(vec![ControlToken::new(1, "<a>")]);
        let text = "<a><a><a>";
        let matches = tokens.find(text, &[0..3, 4..6, 6..9]);
        assert_eq!(
            matches,
            [
                ControlMatch { id: 1, range: 0..3 },
                ControlMatch { id: 1, range: 6..9 }
            ]
        );
    }

    #[test]
    fn the_first_token_of_a_spelling_counts() {
        let mut tokens = ControlTokens::new(vec![ControlToken::new(1, "<a>")]);
        tokens.extend([
            ControlToken::new(2, "<a>"),
            ControlToken::new(3, "<b>"),
            ControlToken::new(4, ""),
        ]);
        assert_eq!(found(&tokens, "<a><b>"), [(1, 0, 3), (3, 3, 6)]);
        assert!(found(&ControlTokens::new(Vec::new()), "<a>").is_empty());
    }
}
