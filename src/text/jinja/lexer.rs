//! Cuts the source of a template into tokens, as Jinja's lexer does.

mod literals;

use crate::error::TemplateError;

/// A token, with the line it stands in.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token {
    pub(super) kind: TokenKind,
    pub(super) line: u32,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum TokenKind {
    /// Text between tags.
    Text(String),
    PrintBegin,
    PrintEnd,
    BlockBegin,
    BlockEnd,
    Name(String),
    Str(String),
    Int(i64),
    Float(f64),
    Sign(&'static str),
    End,
}

/// The signs of expressions, longer ones first.
const SIGNS: [&str; 26] = [
    "//", "**", "==", "!=", ">=", "<=", "+", "-", "/", "*", "%", "~", "[", "]", "(", ")", "{", "}",
    ">", "<", "=", ".", ":", "|", ",", ";",
];

/// Splits a template into tokens, the last of which is [`TokenKind::End`].
///
/// Line ends become `\n` and the last one is dropped; `trim_blocks` and `lstrip_blocks` are on.
///
/// # Errors
///
/// [`TemplateError::Syntax`].
pub(super) fn tokens(source: &str) -> Result<Vec<Token>, TemplateError> {
    let source = source.replace("\r\n", "\n").replace('\r', "\n");
    let source = source.strip_suffix('\n').unwrap_or(&source);
    let mut lexer = Lexer {
        source,
        at: 0,
        line: 1,
        counted_to: 0,
        starts_line: true,
        tokens: Vec::new(),
    };
    lexer.run()?;
    Ok(lexer.tokens)
}

/// A [`TemplateError::Syntax`] at a line.
pub(super) fn syntax_error(line: u32, reason: impl std::fmt::Display) -> TemplateError {
    TemplateError::Syntax {
        reason: super::excerpt(&format!("line {line}: {reason}")),
    }
}

struct Lexer<'s> {
    source: &'s str,
    at: usize,
    line: u32,
    /// Up to where line ends are counted in `line`.
    counted_to: usize,
    /// Whether what comes next begins a line.
    starts_line: bool,
    tokens: Vec<Token>,
}

impl<'s> Lexer<'s> {
    fn run(&mut self) -> Result<(), TemplateError> {
        while self.at < self.source.len() {
            let Some((begin, opening)) = self.next_tag() else {
                self.push_text(self.source.len());
                self.at = self.source.len();
                break;
            };
            let sign = self.source[begin + 2..].chars().next();
            let text_end = self.text_end(begin, opening, sign);
            self.push_text(text_end);
            self.at = begin + 2;
            match opening {
                "{#" => self.skip_comment(sign)?,
                "{%" => match self.raw_begin() {
                    Some(end) => self.raw(end)?,
                    None => self.tag(sign, TokenKind::BlockBegin, "%}", TokenKind::BlockEnd)?,
                },
                _ => self.tag(sign, TokenKind::PrintBegin, "}}", TokenKind::PrintEnd)?,
            }
        }
        self.push(TokenKind::End);
        Ok(())
    }

    fn next_tag(&self) -> Option<(usize, &'static str)> {
        let rest = &self.source[self.at..];
        rest.match_indices('{').find_map(|(at, _)| {
            let opening = ["{{", "{%", "{#"];
            let found = opening.into_iter().find(|tag| rest[at..].starts_with(tag));
            found.map(|tag| (self.at + at, tag))
        })
    }

    /// Where the text before a tag ends once the tag has taken the white space that it takes.
    fn text_end(&self, begin: usize, opening: &str, sign: Option<char>) -> usize {
        let text = &self.source[self.at..begin];
        if sign == Some('-') {
            return self.at + text.trim_end_matches(is_space).len();
        }
        if sign == Some('+') || opening == "{{" {
            return begin;
        }
        let line_start = text.rfind('\n').map_or(0, |at| at + 1);
        let begins_line = line_start > 0 || self.starts_line;
        if begins_line && text[line_start..].chars().all(is_space) {
            self.at + line_start
        } else {
            begin
        }
    }

    fn push_text(&mut self, end: usize) {
        if end > self.at {
            self.push(TokenKind::Text(self.source[self.at..end].to_string()));
        }
    }

    fn push(&mut self, kind: TokenKind) {
        let passed = &self.source[self.counted_to..self.at];
        self.line += passed.matches('\n').count() as u32;
        self.counted_to = self.at;
        let line = self.line;
        self.tokens.push(Token { kind, line });
    }

    fn skip_comment(&mut self, sign: Option<char>) -> Result<(), TemplateError> {
        self.at += usize::from(is_sign(sign));
        let rest = &self.source[self.at..];
        let end = rest
            .find("#}")
            .ok_or_else(|| syntax_error(self.line, "a comment has no end"))?;
        let sign = rest[..end].chars().next_back();
        self.at += end + "#}".len();
        self.after_tag(sign, true);
        Ok(())
    }

    /// Behind the end of a tag: `-` takes white space, and a block takes the end of its line.
    fn after_tag(&mut self, sign: Option<char>, trims_line: bool) {
        let rest = &self.source[self.at..];
        let taken = match sign {
            Some('-') => rest.len() - rest.trim_start_matches(is_space).len(),
            Some('+') => 0,
            _ => usize::from(trims_line && rest.starts_with('\n')),
        };
        self.starts_line = rest[..taken].ends_with('\n');
        self.at += taken;
    }

    /// The end of `{% raw %}`, if that is what begins here.
    fn raw_begin(&self) -> Option<usize> {
        let rest = &self.source[self.at..];
        let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        let rest = rest.trim_start_matches(is_space).strip_prefix("raw")?;
        let rest = rest.trim_start_matches(is_space);
        let rest = match rest.strip_prefix("-%}") {
            Some(rest) => rest.trim_start_matches(is_space),
            None => rest.strip_prefix("%}")?,
        };
        Some(self.source.len() - rest.len())
    }

    fn raw(&mut self, start: usize) -> Result<(), TemplateError> {
        self.at = start;
        self.starts_line = self.source[..start].ends_with('\n');
        let tags = self.source[start..].match_indices("{%");
        for (begin, _) in tags.map(|(at, tag)| (start + at, tag)) {
            let rest = &self.source[begin + 2..];
            let sign = rest.chars().next().filter(|c| ['-', '+'].contains(c));
            let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            let rest = rest.trim_start_matches(is_space).strip_prefix("endraw");
            let Some(rest) = rest.map(|rest| rest.trim_start_matches(is_space)) else {
                continue;
            };
            let closing = rest.chars().next().filter(|c| ['-', '+'].contains(c));
            let rest = rest.strip_prefix(['-', '+']).unwrap_or(rest);
            if let Some(rest) = rest.strip_prefix("%}") {
                let end = self.text_end(begin, "{%", sign);
                self.push_text(end);
                self.at = self.source.len() - rest.len();
                self.after_tag(closing, true);
                return Ok(());
            }
        }
        Err(syntax_error(self.line, "`raw` has no end"))
    }

    /// A tag from behind its opening to behind its end.
    fn tag(
        &mut self,
        sign: Option<char>,
        begin: TokenKind,
        closing: &str,
        end: TokenKind,
    ) -> Result<(), TemplateError> {
        self.push(begin);
        self.at += usize::from(is_sign(sign));
        let mut open = Vec::new();
        loop {
            let rest = &self.source[self.at..];
            if open.is_empty()
                && let Some((sign, length)) = tag_end(rest, closing)
            {
                self.push(end);
                self.at += length;
                self.after_tag(sign, closing == "%}");
                return Ok(());
            }
            match rest.chars().next() {
                None => return Err(syntax_error(self.line, format!("`{closing}` is missing"))),
                Some(c) if is_space(c) => self.at += c.len_utf8(),
                Some(c) => self.token(c, &mut open)?,
            }
        }
    }

    /// One token inside a tag.
    fn token(&mut self, first: char, open: &mut Vec<char>) -> Result<(), TemplateError> {
        let rest = &self.source[self.at..];
        let follows_dot = self.source[..self.at].ends_with('.');
        let (kind, length) = if first.is_ascii_digit() {
            literals::number(rest, follows_dot, self.line)?
        } else if first.is_alphabetic() || first == '_' {
            let is_name = |c: char| c.is_alphanumeric() || c == '_';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            (TokenKind::Name(rest[..end].to_string()), end)
        } else if first == '"' || first == '\'' {
            literals::string(rest, first, self.line)?
        } else {
            let sign = SIGNS.into_iter().find(|sign| rest.starts_with(sign));
            let sign = sign
                .ok_or_else(|| syntax_error(self.line, format!("`{first}` means nothing here")))?;
            self.balance(sign, open)?;
            (TokenKind::Sign(sign), sign.len())
        };
        self.push(kind);
        self.at += length;
        Ok(())
    }

    /// Brackets must close in order; inside them `}}` ends no tag.
    fn balance(&self, sign: &str, open: &mut Vec<char>) -> Result<(), TemplateError> {
        let closing = match sign {
            "(" => Some(')'),
            "[" => Some(']'),
            "{" => Some('}'),
            _ => None,
        };
        open.extend(closing);
        if matches!(sign, ")" | "]" | "}") && !open.pop().is_some_and(|c| sign.starts_with(c)) {
            return Err(syntax_error(self.line, format!("unexpected `{sign}`")));
        }
        Ok(())
    }
}

fn is_sign(c: Option<char>) -> bool {
    matches!(c, Some('-' | '+'))
}

/// The sign of the end of a tag and its length, if the tag ends here.
fn tag_end(rest: &str, closing: &str) -> Option<(Option<char>, usize)> {
    if rest.starts_with(closing) {
        return Some((None, closing.len()));
    }
    let sign = rest.chars().next().filter(|c| {
        // Only a block keeps its line end with `+`.
        *c == '-' || (*c == '+' && closing == "%}")
    })?;
    rest[1..]
        .starts_with(closing)
        .then_some((Some(sign), 1 + closing.len()))
}

/// White space as Python's `str.isspace` has it.
pub(super) fn is_space(c: char) -> bool {
    c.is_whitespace() || ('\u{1c}'..='\u{1f}').contains(&c)
}
