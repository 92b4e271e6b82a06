//! What stands behind a value: attributes, subscripts, calls, filters and tests.

use std::sync::Arc;

use super::{Parsed, Parser};
use crate::text::jinja::lexer::TokenKind;
use crate::text::jinja::syntax::{Arguments, Expression, ExpressionKind, Filter};

impl Parser {
    pub(super) fn postfix(&mut self, mut value: Expression) -> Parsed<Expression> {
        loop {
            value = match self.kind() {
                TokenKind::Sign(".") => self.attribute(value)?,
                TokenKind::Sign("[") => self.subscript(value)?,
                TokenKind::Sign("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn attribute(&mut self, value: Expression) -> Parsed<Expression> {
        self.expect_sign(".")?;
        let kind = match self.next() {
            TokenKind::Name(name) => ExpressionKind::Attribute(Box::new(value), Arc::from(name)),
            TokenKind::Int(index) => {
                let index = self.make(ExpressionKind::Int(index))?;
                ExpressionKind::Item(Box::new(value), Box::new(index))
            }
            _ => return self.error("expected a name behind the dot"),
        };
        self.make(kind)
    }

    fn subscript(&mut self, value: Expression) -> Parsed<Expression> {
        self.expect_sign("[")?;
        let start = match self.is_sign(":") {
            true => None,
            false => Some(self.expression()?),
        };
        let kind = match (self.is_sign(":"), start) {
            (true, start) => self.slice(value, start)?,
            (false, Some(mut item)) => {
                if self.is_sign(",") {
                    item = self.items_behind(item)?;
                }
                ExpressionKind::Item(Box::new(value), Box::new(item))
            }
            (false, None) => return self.unexpected("a subscript"),
        };
        self.expect_sign("]")?;
        self.make(kind)
    }

    fn items_behind(&mut self, first: Expression) -> Parsed<Expression> {
        let mut items = vec![first];
        while self.skip_sign(",") {
            items.push(self.expression()?);
        }
        self.make(ExpressionKind::Tuple(items))
    }

    fn slice(&mut self, value: Expression, start: Option<Expression>) -> Parsed<ExpressionKind> {
        let mut bounds = [start.map(Box::new), None, None];
        for bound in &mut bounds[1..] {
            if !self.skip_sign(":") {
                break;
            }
            if !self.is_sign(":") && !self.is_sign("]") {
                *bound = Some(Box::new(self.expression()?));
            }
        }
        Ok(ExpressionKind::Slice(Box::new(value), bounds))
    }

    fn call(&mut self, value: Expression) -> Parsed<Expression> {
        let arguments = self.arguments()?;
        self.make(ExpressionKind::Call(Box::new(value), arguments))
    }

    pub(super) fn arguments(&mut self) -> Parsed<Arguments> {
        self.expect_sign("(")?;
        let mut arguments = Arguments::default();
        let mut is_first = true;
        while !self.is_sign(")") {
            if !is_first {
                self.expect_sign(",")?;
                if self.is_sign(")") {
                    break;
                }
            }
            is_first = false;
            self.argument(&mut arguments)?;
        }
        self.expect_sign(")")?;
        Ok(arguments)
    }

    fn argument(&mut self, arguments: &mut Arguments) -> Parsed<()> {
        let is_named = matches!(self.kind(), TokenKind::Name(_))
            && matches!(
                self.tokens.get(self.at + 1).map(|token| &token.kind),
                Some(TokenKind::Sign("="))
            );
        if arguments.dict.is_some() {
            return self.error("an argument stands behind `**`");
        }
        if self.skip_sign("**") {
            arguments.dict = Some(Box::new(self.expression()?));
        } else if self.is_sign("*") && arguments.list.is_none() {
            self.next();
            arguments.list = Some(Box::new(self.expression()?));
        } else if is_named && arguments.list.is_none() {
            let name = self.name()?;
            self.expect_sign("=")?;
            let value = self.expression()?;
            arguments.named.push((name, value));
        } else if arguments.list.is_none() && arguments.named.is_empty() {
            arguments.positional.push(self.expression()?);
        } else {
            return self.error("an argument stands behind one with a name or `*`");
        }
        Ok(())
    }

    pub(super) fn filters_and_tests(&mut self, mut value: Expression) -> Parsed<Expression> {
        loop {
            value = match self.kind() {
                TokenKind::Sign("|") => {
                    self.next();
                    let filter = self.filter()?;
                    self.make(ExpressionKind::Filter(Box::new(value), filter))?
                }
                TokenKind::Name(name) if name == "is" => self.test(value)?,
                // A call may stand behind filters and tests too.
                TokenKind::Sign("(") => self.call(value)?,
                _ => return Ok(value),
            };
        }
    }

    fn filter(&mut self) -> Parsed<Filter> {
        let name = self.dotted_name()?;
        let arguments = self.arguments_of(self.is_sign("("))?;
        Ok(Filter { name, arguments })
    }

    /// `a | b(c)`, as `{% filter %}` has it.
    pub(super) fn filter_chain(&mut self) -> Parsed<Vec<Filter>> {
        let mut filters = vec![self.filter()?];
        filters.extend(self.filters_behind()?);
        Ok(filters)
    }

    pub(super) fn filters_behind(&mut self) -> Parsed<Vec<Filter>> {
        let mut filters = Vec::new();
        while self.skip_sign("|") {
            filters.push(self.filter()?);
        }
        Ok(filters)
    }

    fn dotted_name(&mut self) -> Parsed<Arc<str>> {
        let mut name = self.name()?.to_string();
        while self.skip_sign(".") {
            name.push('.');
            name.push_str(&self.name()?);
        }
        Ok(Arc::from(name))
    }

    fn test(&mut self, value: Expression) -> Parsed<Expression> {
        self.expect_name("is")?;
        let is_negated = self.skip_name("not");
        let name = self.dotted_name()?;
        let mut arguments = Arguments::default();
        if self.is_sign("(") {
            arguments = self.arguments()?;
        } else if self.begins_argument_of_test() {
            if self.is_name("is") {
                return self.error("tests cannot be chained with `is`");
            }
            let argument = self.primary()?;
            arguments.positional.push(self.postfix(argument)?);
        }
        let test = self.make(ExpressionKind::Test(
            Box::new(value),
            Filter { name, arguments },
        ))?;
        match is_negated {
            true => self.make(ExpressionKind::Not(Box::new(test))),
            false => Ok(test),
        }
    }

    fn begins_argument_of_test(&self) -> bool {
        match self.kind() {
            TokenKind::Name(name) => !["else", "or", "and"].contains(&name.as_str()),
            TokenKind::Str(_) | TokenKind::Int(_) | TokenKind::Float(_) => true,
            TokenKind::Sign(sign) => ["[", "{"].contains(sign),
            _ => false,
        }
    }
}
