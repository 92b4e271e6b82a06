//! Evaluates expressions.

use std::cmp::Ordering;
use std::sync::Arc;

use super::Interpreter;
use crate::text::jinja::attributes::{attribute, item, slice};
use crate::text::jinja::calls::Call;
use crate::text::jinja::operators::{arithmetic, negative, positive};
use crate::text::jinja::syntax::{Arguments, Comparison, Expression, ExpressionKind, Filter};
use crate::text::jinja::text::{Author, Text, TextBuilder};
use crate::text::jinja::value::{Dict, Result, Value, failure, unsupported};
use crate::text::jinja::{checks, filters, globals};

impl<'t> Interpreter<'t> {
    pub(super) fn evaluate(&mut self, expression: &'t Expression) -> Result<Value> {
        self.deeper(|inner| inner.value_of(&expression.kind))
    }

    fn value_of(&mut self, kind: &'t ExpressionKind) -> Result<Value> {
        match kind {
            ExpressionKind::None => Ok(Value::None),
            ExpressionKind::Bool(value) => Ok(Value::Bool(*value)),
            ExpressionKind::Int(value) => Ok(Value::Int(*value)),
            ExpressionKind::Float(value) => Ok(Value::Float(*value)),
            ExpressionKind::Str(text) => {
                Text::new(text, Author::Template, self.meter).map(Value::Str)
            }
            ExpressionKind::Name(name) => self.name(name),
            ExpressionKind::List(items) => Value::list(self.all(items)?, self.meter),
            ExpressionKind::Tuple(items) => Value::tuple(self.all(items)?, self.meter),
            ExpressionKind::Dict(entries) => self.dict(entries),
            ExpressionKind::Attribute(value, name) => {
                let value = self.evaluate(value)?;
                self.check_readable(&value)?;
                attribute(&value, name, self.meter)
            }
            ExpressionKind::Item(value, key) => {
                let value = self.evaluate(value)?;
                self.check_readable(&value)?;
                let key = self.evaluate(key)?;
                item(&value, &key, self.meter)
            }
            ExpressionKind::Slice(value, bounds) => self.slice(value, bounds),
            ExpressionKind::Call(callee, arguments) => self.call(callee, arguments, None),
            ExpressionKind::Filter(value, filter) => {
                let value = self.evaluate(value)?;
                self.apply_filter(value, filter)
            }
            ExpressionKind::Test(value, test) => {
                let value = self.evaluate(value)?;
                let call = self.arguments(&test.name, &test.arguments)?;
                checks::check(&test.name, &value, call).map(Value::Bool)
            }
            _ => self.value_of_operator(kind),
        }
    }

    fn value_of_operator(&mut self, kind: &'t ExpressionKind) -> Result<Value> {
        match kind {
            ExpressionKind::Not(value) => Ok(Value::Bool(!self.evaluate(value)?.is_true())),
            ExpressionKind::Negative(value) => negative(&self.evaluate(value)?),
            ExpressionKind::Positive(value) => positive(&self.evaluate(value)?),
            ExpressionKind::Arithmetic(operator, left, right) => {
                let left = self.evaluate(left)?;
                let right = self.evaluate(right)?;
                arithmetic(*operator, &left, &right, self.meter)
            }
            ExpressionKind::Concat(operands) => {
                let mut builder = TextBuilder::new(self.meter);
                for operand in operands {
                    self.evaluate(operand)?.print(&mut builder)?;
                }
                Ok(Value::Str(builder.finish()))
            }
            ExpressionKind::And(left, right) => match self.evaluate(left)? {
                left if left.is_true() => self.evaluate(right),
                left => Ok(left),
            },
            ExpressionKind::Or(left, right) => match self.evaluate(left)? {
                left if left.is_true() => Ok(left),
                _ => self.evaluate(right),
            },
            ExpressionKind::Compare(first, rest) => self.comparison(first, rest),
            ExpressionKind::Condition {
                test,
                then,
                otherwise,
            } => match (self.evaluate(test)?.is_true(), otherwise) {
                (true, _) => self.evaluate(then),
                (false, Some(otherwise)) => self.evaluate(otherwise),
                (false, None) => Ok(Value::undefined("an `if` without `else`")),
            },
            _ => Err(unsupported("this expression")),
        }
    }

    fn slice(
        &mut self,
        value: &'t Expression,
        bounds: &'t [Option<Box<Expression>>; 3],
    ) -> Result<Value> {
        let value = self.evaluate(value)?;
        let mut found = [None, None, None];
        for (found, bound) in found.iter_mut().zip(bounds) {
            if let Some(bound) = bound {
                *found = Some(self.evaluate(bound)?);
            }
        }
        slice(&value, found, self.meter)
    }

    fn all(&mut self, items: &'t [Expression]) -> Result<Vec<Value>> {
        items.iter().map(|item| self.evaluate(item)).collect()
    }

    fn dict(&mut self, entries: &'t [(Expression, Expression)]) -> Result<Value> {
        let mut pairs = Vec::new();
        for (key, value) in entries {
            pairs.push((self.evaluate(key)?, self.evaluate(value)?));
        }
        Dict::new(pairs, self.meter).map(Value::Dict)
    }

    fn name(&mut self, name: &Arc<str>) -> Result<Value> {
        if let Some(value) = self.lookup(name)? {
            return Ok(value);
        }
        Ok(match globals::function(name) {
            Some(function) => Value::Function(function),
            None => Value::undefined(name),
        })
    }

    /// A condition that Python asks at another time must not depend on what changes in between.
    fn check_readable(&self, value: &Value) -> Result<()> {
        match value {
            Value::Namespace(_) if self.hides_namespaces => Err(unsupported(
                "a namespace in the condition of a loop that uses `loop`",
            )),
            _ => Ok(()),
        }
    }

    fn comparison(
        &mut self,
        first: &'t Expression,
        rest: &'t [(Comparison, Expression)],
    ) -> Result<Value> {
        let mut left = self.evaluate(first)?;
        for (comparison, right) in rest {
            let right = self.evaluate(right)?;
            if !self.compares(*comparison, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn compares(&self, comparison: Comparison, left: &Value, right: &Value) -> Result<bool> {
        let meter = self.meter;
        let order = || left.compare(right, meter);
        Ok(match comparison {
            Comparison::Equal => left.equals(right, meter)?,
            Comparison::NotEqual => !left.equals(right, meter)?,
            Comparison::Less => order()? == Some(Ordering::Less),
            Comparison::LessOrEqual => order()?.is_some_and(Ordering::is_le),
            Comparison::Greater => order()? == Some(Ordering::Greater),
            Comparison::GreaterOrEqual => order()?.is_some_and(Ordering::is_ge),
            Comparison::In => right.contains(left, meter)?,
            Comparison::NotIn => !right.contains(left, meter)?,
        })
    }

    pub(super) fn apply_filter(&mut self, value: Value, filter: &'t Filter) -> Result<Value> {
        let call = self.arguments(&filter.name, &filter.arguments)?;
        self.filter(value, call)
    }

    /// Applies the filter that a call names.
    pub(in crate::text::jinja) fn filter(&mut self, value: Value, call: Call<'_>) -> Result<Value> {
        self.deeper(|inner| filters::apply(inner, value, call))
    }

    /// Evaluates the arguments of a call.
    pub(super) fn arguments(
        &mut self,
        name: &'t str,
        arguments: &'t Arguments,
    ) -> Result<Call<'t>> {
        let mut positional = self.all(&arguments.positional)?;
        let mut named = Vec::new();
        for (name, value) in &arguments.named {
            named.push((Arc::clone(name), self.evaluate(value)?));
        }
        if let Some(list) = &arguments.list {
            let list = self.evaluate(list)?;
            list.check_defined()?;
            positional.extend(list.items(self.meter)?);
        }
        if let Some(dict) = &arguments.dict {
            let Value::Dict(dict) = self.evaluate(dict)? else {
                return Err(failure("what stands behind `**` is no dictionary"));
            };
            self.meter.values(dict.entries().len())?;
            for (key, value) in dict.entries() {
                let key = key
                    .as_text()
                    .ok_or_else(|| failure("a keyword is a string"))?;
                named.push((Arc::from(key.as_str()), value.clone()));
            }
        }
        check_unique(name, &named)?;
        Ok(Call {
            name,
            positional,
            named,
            meter: self.meter,
        })
    }
}

fn check_unique(name: &str, named: &[(Arc<str>, Value)]) -> Result<()> {
    let mut names: Vec<&str> = named.iter().map(|(name, _)| &**name).collect();
    names.sort_unstable();
    match names.windows(2).any(|pair| pair[0] == pair[1]) {
        true => Err(failure(format!("`{name}` is called with one name twice"))),
        false => Ok(()),
    }
}
