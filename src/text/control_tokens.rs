//! Finding control tokens in text that is allowed to contain them.

use std::collections::BTreeMap;
use std::ops::Range;

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

/// Where a control token stands, with the white space it swallows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ControlMatch {
    pub(crate) id: u32,
    pub(crate) range: Range<usize>,
}

/// The control tokens of a tokenizer, as a trie over their bytes.
///
/// A search takes time proportional to the text, whatever it repeats.
#[derive(Debug, Clone, Default)]
pub(crate) struct ControlTokens {
    tokens: Vec<ControlToken>,
    nodes: Vec<Node>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    children: BTreeMap<u8, usize>,
    token: Option<usize>,
}

impl ControlTokens {
    /// Adds a token; one of the same spelling is replaced.
    pub(crate) fn insert(&mut self, token: ControlToken) {
        if token.content.is_empty() {
            return;
        }
        if self.nodes.is_empty() {
            self.nodes.push(Node::default());
        }
        let mut node = 0;
        for &byte in token.content.as_bytes() {
            let next = self.nodes.len();
            node = *self.nodes[node].children.entry(byte).or_insert(next);
            if node == next {
                self.nodes.push(Node::default());
            }
        }
        match self.nodes[node].token {
            Some(known) => self.tokens[known] = token,
            None => {
                self.nodes[node].token = Some(self.tokens.len());
                self.tokens.push(token);
            }
        }
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
            let mut at = range.start;
            while at < range.end {
                let Some(token) = self.longest_prefix(&text.as_bytes()[at..range.end]) else {
                    at += 1;
                    continue;
                };
                let end = at + token.content.len();
                let previous_end = matches.last().map_or(0, |previous| previous.range.end);
                if at >= previous_end && stands_alone(token, text, at..end) {
                    let range = swallow_space(token, text, at..end, previous_end);
                    matches.push(ControlMatch {
                        id: token.id,
                        range,
                    });
                }
                at = end;
            }
        }
        matches
    }

    fn longest_prefix(&self, bytes: &[u8]) -> Option<&ControlToken> {
        let mut node = self.nodes.first()?;
        let mut longest = None;
        for byte in bytes {
            let Some(&child) = node.children.get(byte) else {
                break;
            };
            node = &self.nodes[child];
            longest = node.token.or(longest);
        }
        longest.map(|index| &self.tokens[index])
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

    fn token(id: u32, content: &str) -> ControlToken {
        ControlToken {
            id,
            content: content.to_string(),
            strips_left: false,
            strips_right: false,
            is_single_word: false,
        }
    }

    fn tokens(list: impl IntoIterator<Item = ControlToken>) -> ControlTokens {
        let mut tokens = ControlTokens::default();
        list.into_iter().for_each(|token| tokens.insert(token));
        tokens
    }

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
        let tokens = tokens([token(1, "<a>"), token(2, "<a><b>"), token(3, "a><b>c")]);
        assert_eq!(found(&tokens, "x<a><b>c<a>"), [(2, 1, 7), (1, 8, 11)]);
    }

    #[test]
    fn a_token_that_crosses_the_border_of_what_is_owned_is_not_one() {
        let tokens = tokens([token(1, "<a>")]);
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
            ..token(1, "<a>")
        };
        let tokens = tokens([strips]);
        assert_eq!(found(&tokens, "x \n<a>  <a> y"), [(1, 1, 8), (1, 8, 12)]);
    }

    #[test]
    fn a_single_word_token_does_not_match_inside_a_word() {
        let tokens = tokens([ControlToken {
            is_single_word: true,
            ..token(1, "mask")
        }]);
        assert_eq!(
            found(&tokens, "mask unmask mask_ (mask)"),
            [(1, 0, 4), (1, 19, 23)]
        );
    }

    #[test]
    fn a_second_token_of_the_same_spelling_replaces_the_first() {
        let tokens = tokens([token(1, "<a>"), token(2, "<a>")]);
        assert_eq!(found(&tokens, "<a>"), [(2, 0, 3)]);
        assert_eq!(tokens.iter().count(), 1);
    }
}
