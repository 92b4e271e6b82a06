//! Marking the text of messages, so that it can be told from a template's after rendering.

use std::collections::HashSet;

use crate::error::TemplateError;
use crate::text::control_tokens::ControlTokens;
use crate::text::prompt::Piece;

/// Three characters that occur neither in a message nor in the template.
#[derive(Debug)]
pub(super) struct Marks {
    open: char,
    close: char,
    /// Keeps what stands on its two sides from forming a control token.
    gap: char,
}

impl Marks {
    /// Chooses private-use characters that none of `texts` holds.
    ///
    /// # Errors
    ///
    /// [`TemplateError::NoFreeMarker`] when the texts hold almost all 131 068 of them.
    pub(super) fn absent_from<'t>(
        texts: impl IntoIterator<Item = &'t str>,
    ) -> Result<Self, TemplateError> {
        let planes = || ('\u{f0000}'..='\u{ffffd}').chain('\u{100000}'..='\u{10fffd}');
        let taken: HashSet<char> = texts
            .into_iter()
            .flat_map(str::chars)
            .filter(|&c| c >= '\u{f0000}')
            .collect();
        let mut free = planes().filter(|c| !taken.contains(c));
        match (free.next(), free.next(), free.next()) {
            (Some(open), Some(close), Some(gap)) => Ok(Self { open, close, gap }),
            _ => Err(TemplateError::NoFreeMarker),
        }
    }

    fn is_mark(&self, character: char) -> bool {
        [self.open, self.close, self.gap].contains(&character)
    }

    /// Marks a whole text. The white space around it stays outside, where a template that trims
    /// finds it; it cannot be part of a control token.
    pub(super) fn around(&self, text: &str) -> String {
        let core = text.trim();
        if core.is_empty() {
            return text.to_string();
        }
        let start = text.len() - text.trim_start().len();
        let (before, behind) = (&text[..start], &text[start + core.len()..]);
        format!("{before}{}{core}{}{behind}", self.open, self.close)
    }

    /// Splits what was rendered of texts marked by [`around`](Self::around).
    ///
    /// Returns `None` when a mark has lost its partner.
    pub(super) fn split_whole(&self, output: &str) -> Option<Vec<Piece>> {
        let mut pieces = Vec::new();
        let mut rest = output;
        while let Some((before, opened)) = rest.split_once(|c| self.is_mark(c)) {
            let (said, behind) = opened.split_once(|c| self.is_mark(c))?;
            let is_pair = rest[before.len()..].starts_with(self.open)
                && opened[said.len()..].starts_with(self.close);
            if !is_pair {
                return None;
            }
            push_template(&mut pieces, before);
            pieces.push(Piece::Message(said.to_string()));
            rest = behind;
        }
        push_template(&mut pieces, rest);
        Some(pieces)
    }

    /// Marks each forbidden token in a text, and the ends of the text where they could be part of
    /// one that goes on outside.
    pub(super) fn around_tokens(&self, text: &str, forbidden: &ControlTokens) -> String {
        let whole = 0..text.len();
        let mut marked = String::with_capacity(text.len());
        if forbidden
            .iter()
            .any(|token| begins_inside(text, &token.content))
        {
            marked.push(self.gap);
        }
        let mut end = 0;
        for found in forbidden.find(text, std::slice::from_ref(&whole)) {
            marked.push_str(&text[end..found.range.start]);
            marked.push(self.open);
            marked.push_str(&text[found.range.clone()]);
            marked.push(self.close);
            end = found.range.end;
        }
        marked.push_str(&text[end..]);
        if forbidden
            .iter()
            .any(|token| ends_inside(text, &token.content))
        {
            marked.push(self.gap);
        }
        marked
    }

    /// Splits what was rendered of texts marked by [`around_tokens`](Self::around_tokens).
    ///
    /// Marks that a template has parted still keep apart what they stood between.
    pub(super) fn split_tokens(&self, output: &str, forbidden: &ControlTokens) -> Vec<Piece> {
        let mut pieces = Vec::new();
        let mut is_open = false;
        let mut start = 0;
        for (at, mark) in output.char_indices().filter(|&(_, c)| self.is_mark(c)) {
            let text = &output[start..at];
            if is_open && mark == self.close && is_token(text, forbidden) {
                pieces.push(Piece::Message(text.to_string()));
            } else {
                push_template(&mut pieces, text);
                pieces.push(Piece::Message(String::new()));
            }
            is_open = mark == self.open;
            start = at + mark.len_utf8();
        }
        push_template(&mut pieces, &output[start..]);
        pieces
    }
}

fn push_template(pieces: &mut Vec<Piece>, text: &str) {
    if !text.is_empty() {
        pieces.push(Piece::Template(text.to_string()));
    }
}

/// Whether `text` is one of the tokens. Marks that have lost their partners may enclose anything.
fn is_token(text: &str, tokens: &ControlTokens) -> bool {
    let whole = 0..text.len();
    let found = tokens.find(text, std::slice::from_ref(&whole));
    matches!(&found[..], [token] if token.range == whole)
}

/// Whether `text` begins with a proper end of `token`.
fn begins_inside(text: &str, token: &str) -> bool {
    (1..token.len()).any(|cut| text.as_bytes().starts_with(&token.as_bytes()[cut..]))
}

/// Whether `text` ends with a proper beginning of `token`.
fn ends_inside(text: &str, token: &str) -> bool {
    (1..token.len()).any(|cut| text.as_bytes().ends_with(&token.as_bytes()[..cut]))
}

#[cfg(test)]
mod tests {
    use super::{Marks, Piece};
    use crate::error::TemplateError;
    use crate::text::control_tokens::{ControlToken, ControlTokens};

    fn marks() -> Marks {
        Marks::absent_from([""]).expect("all are free")
    }

    fn tokens(contents: &[&str]) -> ControlTokens {
        let tokens = contents.iter().map(|content| ControlToken::new(0, content));
        ControlTokens::new(tokens.collect())
    }

    fn template(text: &str) -> Piece {
        Piece::Template(text.to_string())
    }

    fn message(text: &str) -> Piece {
        Piece::Message(text.to_string())
    }

    #[test]
    fn marks_are_characters_that_nobody_uses() {
        let marks =
            Marks::absent_from(["\u{f0000}\u{f0002}", "\u{f0003}"]).expect("others are free");
        assert_eq!(
            (marks.open, marks.close, marks.gap),
            ('\u{f0001}', '\u{f0004}', '\u{f0005}')
        );
        let all: String = ('\u{f0000}'..='\u{10fffd}').collect();
        assert!(matches!(
            Marks::absent_from([&*all]),
            Err(TemplateError::NoFreeMarker)
        ));
    }

    #[test]
    fn a_marked_text_comes_back_with_its_author() {
        let marks = marks();
        let output = format!(
            "<s>{}</s>{}",
            marks.around(" \nhi <s> you "),
            marks.around("  ")
        );
        let pieces = marks.split_whole(&output).expect("the marks are paired");
        let expected = [
            template("<s> \n"),
            message("hi <s> you"),
            template(" </s>  "),
        ];
        assert_eq!(pieces, expected);
    }

    #[test]
    fn a_mark_without_its_partner_is_noticed() {
        let marks = marks();
        let text = marks.around("one two");
        let (first, second) = text.split_once(' ').expect("there is a space");
        assert_eq!(marks.split_whole(first), None);
        assert_eq!(marks.split_whole(second), None);
        assert_eq!(marks.split_whole(&format!("{second}{first}")), None);
    }

    #[test]
    fn tokens_in_a_text_come_back_as_said() {
        let marks = marks();
        let forbidden = tokens(&["</s>", "<s>"]);
        let text = marks.around_tokens("a</s>b<s", &forbidden);
        let pieces = marks.split_tokens(&format!("{text}></s>"), &forbidden);
        let apart: Vec<Piece> = pieces
            .into_iter()
            .filter(|piece| *piece != message(""))
            .collect();
        let expected = [
            template("a"),
            message("</s>"),
            template("b<s"),
            template("></s>"),
        ];
        assert_eq!(apart, expected);
    }

    #[test]
    fn marks_without_partners_do_not_turn_the_template_into_a_message() {
        let marks = marks();
        let output = format!("{}<s>word</s>{}", marks.open, marks.close);
        let pieces = marks.split_tokens(&output, &tokens(&["</s>", "<s>"]));
        assert_eq!(pieces, [message(""), template("<s>word</s>"), message("")]);
    }

    #[test]
    fn the_end_of_a_token_at_the_start_of_a_text_is_kept_apart() {
        let marks = marks();
        let forbidden = tokens(&["</s>"]);
        let text = marks.around_tokens("/s> and", &forbidden);
        assert_eq!(
            marks.split_tokens(&text, &forbidden),
            [message(""), template("/s> and")]
        );
    }
}
