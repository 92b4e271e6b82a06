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
    /// Whether it swallows the white space before it.
    pub(crate) strips_left: bool,
    /// Whether it swallows the white space behind it.
    pub(crate) strips_right: bool,
    /// Whether it is only recognised between characters that form no word with it.
    pub(crate) is_single_word: bool,
}

impl ControlToken {
    /// A token that is recognised anywhere and swallows nothing.
    pub(crate) fn new(id: u32, content: &str) -> Self {
        Self {
            id,
            content: content.to_string(),
            strips_left: false,
            strips_right: false,
            is_single_word: false,
        }
    }
}

/// Where a control token stands, with the white space it swallows.
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
    pub(crate) fn iter(&self) -> impl Iterator<Item = &ControlToken> {
        self.tokens.iter()
    }

    /// Finds the control tokens of `text` that lie wholly inside one of the `owned` ranges.
    ///
    /// As in Hugging Face's tokenizers, the leftmost match wins, then the longest; the white space
    /// that a token swallows may lie outside the ranges.
    pub(crate) fn find(&self, text: &str, owned: &[Range<usize>]) -> Vec<ControlMatch> {
        let mut matches: Vec<ControlMatch> = Vec::new();
        for range in owned {
            for found in self.search.find_iter(Input::new(text).range(range.clone())) {
                let token = &self.tokens[found.pattern()];
                let previous_end = matches.last().map_or(0, |previous| previous.range.end);
                if found.start() >= previous_end && stands_alone(token, text, found.range()) {
                    let range = swallow_space(token, text, found.range(), previous_end);
                    matches.push(ControlMatch {
                        id: token.id,
                        range,
                    });
                }
            }
        }
        matches
    }
}

fn stands_alone(token: &ControlToken, text: &str, range: Range<usize>) -> bool {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let joins = text[..range.start].chars().next_back().is_some_and(is_word)
        || text[range.end..].chars().next().is_some_and(is_word);
    !token.is_single_word || !joins
}

fn swallow_space(
    token: &ControlToken,
    text: &str,
    range: Range<usize>,
    previous_end: usize,
) -> Range<usize> {
    let mut swallowed = range.clone();
    if token.strips_left {
        swallowed.start = previous_end + text[previous_end..range.start].trim_end().len();
    }
    if token.strips_right {
        let rest = &text[range.end..];
        swallowed.end = range.end + (rest.len() - rest.trim_start().len());
    }
    swallowed
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
    fn stripping_tokens_swallow_white_space_once() {
        let strips = ControlToken {
            strips_left: true,
            strips_right: true,
            ..ControlToken::new(1, "<a>")
        };
        let tokens = ControlTokens::new(vec![strips]);
        assert_eq!(found(&tokens, "x \n<a>  <a> y"), [(1, 1, 8), (1, 8, 12)]);
    }

    #[test]
    fn a_single_word_token_does_not_match_inside_a_word() {
        let tokens = ControlTokens::new(vec![ControlToken {
            is_single_word: true,
            ..ControlToken::new(1, "mask")
        }]);
        assert_eq!(
            found(&tokens, "mask unmask mask_ (mask)"),
            [(1, 0, 4), (1, 19, 23)]
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
