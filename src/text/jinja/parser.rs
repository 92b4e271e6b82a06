//! Makes a tree of tokens, by the grammar of Jinja's own parser.

mod expressions;

use std::sync::Arc;

use super::lexer::{Token, TokenKind, syntax_error, tokens};
use super::syntax::{
    Arguments, Expression, ExpressionKind, Loop, Macro, Statement, StatementKind, Target, Template,
    Uses,
};
use super::value::unsupported;
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

    fn statement(&mut self) -> Parsed<StatementKind> {
        let name = self.name()?;
        match &*name {
            "for" => self.for_loop(),
            "if" => self.condition(),
            "set" => self.set(),
            "with" => self.with(),
            "macro" => self.macro_definition(),
            "call" => self.call_block(),
            "filter" => {
                let filters = self.filter_chain()?;
                self.expect_block_end()?;
                let body = self.body_to("endfilter")?;
                Ok(StatementKind::Filter { filters, body })
            }
            "print" => self.print(),
            "block" => self.block(),
            "generation" => {
                self.expect_block_end()?;
                let loops = std::mem::take(&mut self.loops);
                let body = self.body_to("endgeneration")?;
                self.loops = loops;
                Ok(StatementKind::Generation(body))
            }
            "break" | "continue" if self.loops == 0 => {
                self.error(format!("`{name}` stands outside of a loop"))
            }
            "break" => self.expect_block_end().map(|()| StatementKind::Break),
            "continue" => self.expect_block_end().map(|()| StatementKind::Continue),
            "autoescape" => Err(unsupported("the block `autoescape`")),
            "include" | "import" | "from" | "extends" => {
                self.error(format!("there are no files for `{name}`"))
            }
            _ => self.error(format!("there is no block `{name}`")),
        }
    }

    fn for_loop(&mut self) -> Parsed<StatementKind> {
        let target = self.target(&["recursive"])?;
        self.expect_name("in")?;
        let iterable = self.tuple(false, &["recursive"])?;
        let condition = match self.skip_name("if") {
            true => Some(self.expression()?),
            false => None,
        };
        let is_recursive = self.skip_name("recursive");
        self.expect_block_end()?;
        self.loops += 1;
        self.names.push(Uses::default());
        let (body, end) = self.body(&["else", "endfor"])?;
        let uses_loop = self.names.pop().unwrap_or_default().r#loop;
        self.loops -= 1;
        self.expect_block_end()?;
        let otherwise = match end {
            "else" => self.body_to("endfor")?,
            _ => Vec::new(),
        };
        let found = Loop {
            target,
            iterable,
            condition,
            body,
            otherwise,
            uses_loop,
        };
        if !is_recursive {
            return Ok(StatementKind::For(Box::new(found)));
        }
        self.template.recursive_loops.push(found);
        let index = self.template.recursive_loops.len() - 1;
        Ok(StatementKind::RecursiveFor(index))
    }

    fn condition(&mut self) -> Parsed<StatementKind> {
        let mut branches = Vec::new();
        loop {
            let test = self.tuple(false, &[])?;
            self.expect_block_end()?;
            let (body, end) = self.body(&["elif", "else", "endif"])?;
            branches.push((test, body));
            if end == "elif" {
                continue;
            }
            self.expect_block_end()?;
            let otherwise = match end {
                "else" => self.body_to("endif")?,
                _ => Vec::new(),
            };
            return Ok(StatementKind::If {
                branches,
                otherwise,
            });
        }
    }

    fn set(&mut self) -> Parsed<StatementKind> {
        let target = self.target_of_set()?;
        if self.skip_sign("=") {
            let value = self.tuple(true, &[])?;
            self.expect_block_end()?;
            return Ok(StatementKind::Set { target, value });
        }
        let filters = match self.is_sign("|") {
            true => self.filters_behind()?,
            false => Vec::new(),
        };
        self.expect_block_end()?;
        let body = self.body_to("endset")?;
        Ok(StatementKind::SetBlock {
            target,
            filters,
            body,
        })
    }

    fn with(&mut self) -> Parsed<StatementKind> {
        let mut variables = Vec::new();
        while *self.kind() != TokenKind::BlockEnd {
            if !variables.is_empty() {
                self.expect_sign(",")?;
            }
            let target = self.target(&[])?;
            self.expect_sign("=")?;
            variables.push((target, self.expression()?));
        }
        self.expect_block_end()?;
        let body = self.body_to("endwith")?;
        Ok(StatementKind::With { variables, body })
    }

    fn print(&mut self) -> Parsed<StatementKind> {
        let mut values = Vec::new();
        while *self.kind() != TokenKind::BlockEnd {
            if !values.is_empty() {
                self.expect_sign(",")?;
            }
            values.push(self.expression()?);
        }
        self.expect_block_end()?;
        Ok(StatementKind::Print(values))
    }

    fn block(&mut self) -> Parsed<StatementKind> {
        let name = self.name()?;
        if self.is_name("scoped") || self.is_name("required") {
            return Err(unsupported("a `scoped` or `required` block"));
        }
        self.expect_block_end()?;
        let loops = std::mem::take(&mut self.loops);
        let (body, _) = self.body(&["endblock"])?;
        self.loops = loops;
        self.skip_name(&name);
        self.expect_block_end()?;
        Ok(StatementKind::Block(body))
    }

    fn macro_definition(&mut self) -> Parsed<StatementKind> {
        let name = self.name()?;
        let parameters = self.parameters()?;
        self.expect_block_end()?;
        self.macro_body(name, parameters, "endmacro")
            .map(StatementKind::Macro)
    }

    fn call_block(&mut self) -> Parsed<StatementKind> {
        let parameters = match self.is_sign("(") {
            true => self.parameters()?,
            false => Vec::new(),
        };
        let call = self.expression()?;
        if !matches!(call.kind, ExpressionKind::Call(..)) {
            return self.unexpected("a call");
        }
        self.expect_block_end()?;
        let caller = self.macro_body(Arc::from("caller"), parameters, "endcall")?;
        Ok(StatementKind::Call { caller, call })
    }

    fn macro_body(
        &mut self,
        name: Arc<str>,
        parameters: Vec<(Arc<str>, Option<Expression>)>,
        end: &'static str,
    ) -> Parsed<usize> {
        let loops = std::mem::take(&mut self.loops);
        self.names.push(Uses::default());
        let body = self.body_to(end)?;
        let uses = self.names.pop().unwrap_or_default();
        self.loops = loops;
        self.template.macros.push(Macro {
            name,
            parameters,
            body,
            uses,
        });
        Ok(self.template.macros.len() - 1)
    }

    fn parameters(&mut self) -> Parsed<Vec<(Arc<str>, Option<Expression>)>> {
        self.expect_sign("(")?;
        let mut parameters: Vec<(Arc<str>, Option<Expression>)> = Vec::new();
        while !self.is_sign(")") {
            if !parameters.is_empty() {
                self.expect_sign(",")?;
            }
            let name = self.name()?;
            let default = match self.skip_sign("=") {
                true => Some(self.expression()?),
                false => None,
            };
            if default.is_none() && parameters.last().is_some_and(|(_, last)| last.is_some()) {
                return self.error("a parameter without a default follows one that has one");
            }
            parameters.push((name, default));
        }
        self.expect_sign(")")?;
        Ok(parameters)
    }

    fn target_of_set(&mut self) -> Parsed<Target> {
        let is_attribute = matches!(
            self.tokens.get(self.at + 1).map(|token| &token.kind),
            Some(TokenKind::Sign("."))
        );
        if !is_attribute {
            return self.target(&[]);
        }
        let object = self.name()?;
        self.expect_sign(".")?;
        let name = self.name()?;
        Ok(Target::Attribute { object, name })
    }

    /// A name, or names with commas between them.
    fn target(&mut self, ends: &[&str]) -> Parsed<Target> {
        let mut targets = Vec::new();
        let mut is_tuple = false;
        loop {
            let is_end = ["in"].iter().chain(ends).any(|end| self.is_name(end));
            if is_end || self.is_sign("=") || self.is_sign(")") {
                break;
            }
            targets.push(match self.skip_sign("(") {
                true => {
                    let target = self.nested(|parser| parser.target(&[]))?;
                    self.expect_sign(")")?;
                    target
                }
                false => self.target_name()?,
            });
            if !self.skip_sign(",") {
                break;
            }
            is_tuple = true;
        }
        match (is_tuple, targets.pop()) {
            (_, None) => self.unexpected("a name to assign to"),
            (false, Some(target)) => Ok(target),
            (true, Some(last)) => {
                targets.push(last);
                Ok(Target::Tuple(targets))
            }
        }
    }

    fn target_name(&mut self) -> Parsed<Target> {
        const CONSTANTS: [&str; 6] = ["true", "false", "none", "True", "False", "None"];
        let name = self.name()?;
        match CONSTANTS.contains(&&*name) {
            true => self.error(format!("`{name}` cannot be assigned to")),
            false => Ok(Target::Name(name)),
        }
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
