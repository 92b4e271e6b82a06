//! Makes a tree of tokens, by the grammar of Jinja's own parser.

mod expressions;
mod postfix;
mod statements;

use std::sync::Arc;

use super::lexer::{Token, TokenKind, syntax_error, tokens};
use super::syntax::{Arguments, Statement, StatementKind, Template, Uses};
use crate::error::TemplateError;

/// Deepest nesting of blocks, or of brackets and signs in an expression. The deepest template seen
/// has nine.
const MAX_NESTING: usize = 100;

/// Deepest expression; a chain (`a + b + c`, `a.b.c`) is as deep as it is long. The longest seen
/// has some thirty links.
const MAX_DEPTH: usize = 250;

/// Parses a template.
///
/// # Errors
///
/// [`TemplateError::Syntax`].
pub(super) fn parse(source: &str) -> Result<Template, TemplateError> {
    let mut parser = Parser {
        tokens: tokens(source)?,
        at: 0,
        nesting: 0,
        loops: 0,
        names: Vec::new(),
        template: Template::default(),
    };
    let (body, _) = parser.body(&[])?;
    parser.template.body = body;
    Ok(parser.template)
}

type Parsed<T> = Result<T, TemplateError>;

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    nesting: usize,
    /// Loops around the statement, inside of the same macro.
    loops: usize,
    /// Names that are read in the macros and loops being parsed, one entry each.
    names: Vec<Uses>,
    template: Template,
}

impl Parser {
    fn kind(&self) -> &TokenKind {
        &self.tokens[self.at].kind
    }

    fn line(&self) -> u32 {
        self.tokens[self.at].line
    }

    fn next(&mut self) -> TokenKind {
        let kind = self.kind().clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        kind
    }

    fn error<T>(&self, reason: impl std::fmt::Display) -> Parsed<T> {
        Err(syntax_error(self.line(), reason))
    }

    fn unexpected<T>(&self, expected: &str) -> Parsed<T> {
        self.error(format!("expected {expected}, found {}", shown(self.kind())))
    }

    fn is_sign(&self, sign: &str) -> bool {
        matches!(self.kind(), TokenKind::Sign(found) if *found == sign)
    }

    fn is_name(&self, name: &str) -> bool {
        matches!(self.kind(), TokenKind::Name(found) if found == name)
    }

    fn skip_sign(&mut self, sign: &str) -> bool {
        let is_there = self.is_sign(sign);
        if is_there {
            self.next();
        }
        is_there
    }

    fn skip_name(&mut self, name: &str) -> bool {
        let is_there = self.is_name(name);
        if is_there {
            self.next();
        }
        is_there
    }

    fn expect_sign(&mut self, sign: &str) -> Parsed<()> {
        match self.skip_sign(sign) {
            true => Ok(()),
            false => self.unexpected(&format!("`{sign}`")),
        }
    }

    fn expect_name(&mut self, name: &str) -> Parsed<()> {
        match self.skip_name(name) {
            true => Ok(()),
            false => self.unexpected(&format!("`{name}`")),
        }
    }

    fn expect_block_end(&mut self) -> Parsed<()> {
        match self.kind() {
            TokenKind::BlockEnd => {
                self.next();
                Ok(())
            }
            _ => self.unexpected("the end of the block"),
        }
    }

    fn name(&mut self) -> Parsed<Arc<str>> {
        match self.kind() {
            TokenKind::Name(name) => {
                let name = Arc::from(name.as_str());
                self.next();
                Ok(name)
            }
            _ => self.unexpected("a name"),
        }
    }

    /// Runs `parse` one level deeper.
    fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Parsed<T>) -> Parsed<T> {
        if self.nesting == MAX_NESTING {
            return self.error(format!("more than {MAX_NESTING} levels of nesting"));
        }
        self.nesting += 1;
        let parsed = parse(self);
        self.nesting -= 1;
        parsed
    }

    /// Statements up to a block whose name is one of `ends`, which is returned; its name is read,
    /// the rest of it is not. Without `ends`, up to the end of the template.
    fn body(&mut self, ends: &[&'static str]) -> Parsed<(Vec<Statement>, &'static str)> {
        let mut body = Vec::new();
        loop {
            let line = self.line();
            let kind = match self.next() {
                TokenKind::Text(text) => StatementKind::Text(text),
                TokenKind::PrintBegin => {
                    let value = self.tuple(true, &[])?;
                    if self.next() != TokenKind::PrintEnd {
                        self.at -= 1;
                        return self.unexpected("the end of the print statement");
                    }
                    StatementKind::Print(vec![value])
                }
                TokenKind::BlockBegin => {
                    if let Some(end) = ends.iter().find(|end| self.is_name(end)) {
                        self.next();
                        return Ok((body, end));
                    }
                    self.nested(Self::statement)?
                }
                TokenKind::End if ends.is_empty() => return Ok((body, "")),
                _ => return self.unexpected(&format!("`{}`", ends.join("` or `"))),
            };
            body.push(Statement { line, kind });
        }
    }

    /// Statements up to the block `end` and the end of that block.
    fn body_to(&mut self, end: &'static str) -> Parsed<Vec<Statement>> {
        let (body, _) = self.body(&[end])?;
        self.expect_block_end()?;
        Ok(body)
    }

    /// Notes that a name is read.
    fn note(&mut self, name: &str) {
        // One inside of a macro inside of another is looked up in both.
        for uses in &mut self.names {
            match name {
                "caller" => uses.caller = true,
                "loop" => uses.r#loop = true,
                "kwargs" => uses.kwargs = true,
                "varargs" => uses.varargs = true,
                _ => {}
            }
        }
    }

    fn arguments_of(&mut self, is_called: bool) -> Parsed<Arguments> {
        match is_called {
            true => self.arguments(),
            false => Ok(Arguments::default()),
        }
    }
}

fn shown(kind: &TokenKind) -> String {
    match kind {
        TokenKind::Text(_) => "text".to_string(),
        TokenKind::PrintBegin => "`{{`".to_string(),
        TokenKind::PrintEnd => "`}}`".to_string(),
        TokenKind::BlockBegin => "`{%`".to_string(),
        TokenKind::BlockEnd => "`%}`".to_string(),
        TokenKind::Name(name) => format!("`{name}`"),
        TokenKind::Str(_) => "a string".to_string(),
        TokenKind::Int(_) | TokenKind::Float(_) => "a number".to_string(),
        TokenKind::Sign(sign) => format!("`{sign}`"),
        TokenKind::End => "the end of the template".to_string(),
    }
}
