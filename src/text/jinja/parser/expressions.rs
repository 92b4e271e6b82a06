//! Expressions, from the loosest operator to the tightest.

use std::sync::Arc;

use super::{MAX_DEPTH, Parsed, Parser};
use crate::text::jinja::lexer::TokenKind;
use crate::text::jinja::syntax::{
    Arguments, Comparison, Expression, ExpressionKind, Filter, Operator,
};

type Level = fn(&mut Parser) -> Parsed<Expression>;

impl Parser {
    fn make(&self, kind: ExpressionKind) -> Parsed<Expression> {
        let expression = Expression::new(kind);
        match expression.depth > MAX_DEPTH {
            true => self.error(format!("an expression of more than {MAX_DEPTH} levels")),
            false => Ok(expression),
        }
    }

    pub(super) fn expression(&mut self) -> Parsed<Expression> {
        self.nested(Self::conditional)
    }

    fn conditional(&mut self) -> Parsed<Expression> {
        let mut value = self.or()?;
        while self.skip_name("if") {
            let test = Box::new(self.or()?);
            let otherwise = match self.skip_name("else") {
                true => Some(Box::new(self.expression()?)),
                false => None,
            };
            let then = Box::new(value);
            value = self.make(ExpressionKind::Condition {
                test,
                then,
                otherwise,
            })?;
        }
        Ok(value)
    }

    fn or(&mut self) -> Parsed<Expression> {
        let mut left = self.and()?;
        while self.skip_name("or") {
            let right = self.and()?;
            left = self.make(ExpressionKind::Or(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn and(&mut self) -> Parsed<Expression> {
        let mut left = self.not()?;
        while self.skip_name("and") {
            let right = self.not()?;
            left = self.make(ExpressionKind::And(Box::new(left), Box::new(right)))?;
        }
        Ok(left)
    }

    fn not(&mut self) -> Parsed<Expression> {
        if !self.skip_name("not") {
            return self.comparison();
        }
        let value = self.nested(Self::not)?;
        self.make(ExpressionKind::Not(Box::new(value)))
    }

    fn comparison(&mut self) -> Parsed<Expression> {
        let first = self.sum()?;
        let mut rest = Vec::new();
        while let Some(comparison) = self.comparison_sign() {
            rest.push((comparison, self.sum()?));
        }
        match rest.is_empty() {
            true => Ok(first),
            false => self.make(ExpressionKind::Compare(Box::new(first), rest)),
        }
    }

    fn comparison_sign(&mut self) -> Option<Comparison> {
        let next_is_in = matches!(
            self.tokens.get(self.at + 1).map(|token| &token.kind),
            Some(TokenKind::Name(name)) if name == "in"
        );
        let found = match self.kind() {
            TokenKind::Sign("==") => Comparison::Equal,
            TokenKind::Sign("!=") => Comparison::NotEqual,
            TokenKind::Sign("<") => Comparison::Less,
            TokenKind::Sign("<=") => Comparison::LessOrEqual,
            TokenKind::Sign(">") => Comparison::Greater,
            TokenKind::Sign(">=") => Comparison::GreaterOrEqual,
            TokenKind::Name(name) if name == "in" => Comparison::In,
            TokenKind::Name(name) if name == "not" && next_is_in => {
                self.next();
                Comparison::NotIn
            }
            _ => return None,
        };
        self.next();
        Some(found)
    }

    /// Operators of one level, which bind to the left.
    fn chain(&mut self, operators: &[(&str, Operator)], operand: Level) -> Parsed<Expression> {
        let mut left = operand(self)?;
        loop {
            let found = operators.iter().find(|(sign, _)| self.is_sign(sign));
            let Some((_, operator)) = found else {
                return Ok(left);
            };
            self.next();
            let right = operand(self)?;
            let (operator, left_box) = (*operator, Box::new(left));
            left = self.make(ExpressionKind::Arithmetic(
                operator,
                left_box,
                Box::new(right),
            ))?;
        }
    }

    fn sum(&mut self) -> Parsed<Expression> {
        let operators = [("+", Operator::Add), ("-", Operator::Sub)];
        self.chain(&operators, Self::concat)
    }

    fn concat(&mut self) -> Parsed<Expression> {
        let first = self.product()?;
        let mut operands = vec![first];
        while self.skip_sign("~") {
            operands.push(self.product()?);
        }
        match (operands.len(), operands.pop()) {
            (1, Some(only)) => Ok(only),
            (_, last) => {
                operands.extend(last);
                self.make(ExpressionKind::Concat(operands))
            }
        }
    }

    fn product(&mut self) -> Parsed<Expression> {
        let operators = [
            ("*", Operator::Mul),
            ("/", Operator::Div),
            ("//", Operator::FloorDiv),
            ("%", Operator::Rem),
        ];
        self.chain(&operators, Self::power)
    }

    fn power(&mut self) -> Parsed<Expression> {
        self.chain(&[("**", Operator::Pow)], |parser| parser.unary(true))
    }

    fn unary(&mut self, takes_filters: bool) -> Parsed<Expression> {
        let value = if self.skip_sign("-") {
            let value = self.nested(|parser| parser.unary(false))?;
            self.make(ExpressionKind::Negative(Box::new(value)))?
        } else if self.skip_sign("+") {
            let value = self.nested(|parser| parser.unary(false))?;
            self.make(ExpressionKind::Positive(Box::new(value)))?
        } else {
            self.primary()?
        };
        let value = self.postfix(value)?;
        match takes_filters {
            true => self.filters_and_tests(value),
            false => Ok(value),
        }
    }

    fn primary(&mut self) -> Parsed<Expression> {
        let kind = match self.kind().clone() {
            TokenKind::Name(name) => {
                self.note(&name);
                match name.as_str() {
                    "true" | "True" => ExpressionKind::Bool(true),
                    "false" | "False" => ExpressionKind::Bool(false),
                    "none" | "None" => ExpressionKind::None,
                    _ => ExpressionKind::Name(Arc::from(name)),
                }
            }
            TokenKind::Int(value) => ExpressionKind::Int(value),
            TokenKind::Float(value) => ExpressionKind::Float(value),
            TokenKind::Str(_) => return self.strings(),
            TokenKind::Sign("(") => return self.in_parentheses(),
            TokenKind::Sign("[") => return self.list(),
            TokenKind::Sign("{") => return self.dict(),
            _ => return self.unexpected("a value"),
        };
        self.next();
        self.make(kind)
    }

    /// Strings side by side are one.
    fn strings(&mut self) -> Parsed<Expression> {
        let mut whole = String::new();
        while let TokenKind::Str(text) = self.kind() {
            whole.push_str(text);
            self.next();
        }
        self.make(ExpressionKind::Str(whole))
    }

    fn in_parentheses(&mut self) -> Parsed<Expression> {
        self.expect_sign("(")?;
        if self.skip_sign(")") {
            return self.make(ExpressionKind::Tuple(Vec::new()));
        }
        let value = self.tuple(true, &[])?;
        self.expect_sign(")")?;
        Ok(value)
    }

    /// One value, or several with commas between them.
    pub(super) fn tuple(&mut self, has_conditions: bool, ends: &[&str]) -> Parsed<Expression> {
        self.nested(|parser| {
            let mut values = Vec::new();
            let mut is_tuple = false;
            while !parser.ends_tuple(ends) {
                values.push(match has_conditions {
                    true => parser.conditional()?,
                    false => parser.or()?,
                });
                if !parser.skip_sign(",") {
                    break;
                }
                is_tuple = true;
            }
            match (is_tuple, values.pop()) {
                (_, None) => parser.unexpected("a value"),
                (false, Some(only)) => Ok(only),
                (true, Some(last)) => {
                    values.push(last);
                    parser.make(ExpressionKind::Tuple(values))
                }
            }
        })
    }

    fn ends_tuple(&self, ends: &[&str]) -> bool {
        matches!(
            self.kind(),
            TokenKind::PrintEnd | TokenKind::BlockEnd | TokenKind::Sign(")")
        ) || ends.iter().any(|end| self.is_name(end))
    }

    fn list(&mut self) -> Parsed<Expression> {
        self.expect_sign("[")?;
        let mut items = Vec::new();
        while !self.is_sign("]") {
            items.push(self.expression()?);
            if !self.skip_sign(",") {
                break;
            }
        }
        self.expect_sign("]")?;
        self.make(ExpressionKind::List(items))
    }

    fn dict(&mut self) -> Parsed<Expression> {
        self.expect_sign("{")?;
        let mut entries = Vec::new();
        while !self.is_sign("}") {
            let key = self.expression()?;
            self.expect_sign(":")?;
            entries.push((key, self.expression()?));
            if !self.skip_sign(",") {
                break;
            }
        }
        self.expect_sign("}")?;
        self.make(ExpressionKind::Dict(entries))
    }

    fn postfix(&mut self, mut value: Expression) -> Parsed<Expression> {
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

    fn filters_and_tests(&mut self, mut value: Expression) -> Parsed<Expression> {
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
