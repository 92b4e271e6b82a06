//! Expressions, from the loosest operator to the tightest.

use std::sync::Arc;

use super::{MAX_DEPTH, Parsed, Parser};
use crate::text::jinja::lexer::TokenKind;
use crate::text::jinja::syntax::{Comparison, Expression, ExpressionKind, Operator};

type Level = fn(&mut Parser) -> Parsed<Expression>;

impl Parser {
    pub(super) fn make(&self, kind: ExpressionKind) -> Parsed<Expression> {
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

    pub(super) fn primary(&mut self) -> Parsed<Expression> {
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
}
