//! Statements: what stands between `{%` and `%}`, up to the block that ends it.

use std::sync::Arc;

use super::{Parsed, Parser};
use crate::text::jinja::lexer::TokenKind;
use crate::text::jinja::syntax::{
    Expression, ExpressionKind, Loop, Macro, StatementKind, Target, Uses,
};
use crate::text::jinja::value::unsupported;

impl Parser {
    pub(super) fn statement(&mut self) -> Parsed<StatementKind> {
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
}
