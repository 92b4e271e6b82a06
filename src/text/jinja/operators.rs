//! Arithmetic, as Python has it.

use super::compare::Number;
use super::format::format_percent;
use super::meter::Meter;
use super::syntax::Operator;
use super::text::{Text, TextBuilder};
use super::value::{List, Result, Value, failure, unsupported};

/// `left operator right`.
pub(super) fn arithmetic(
    operator: Operator,
    left: &Value,
    right: &Value,
    meter: &Meter,
) -> Result<Value> {
    left.check_defined()?;
    if let (Operator::Rem, Value::Str(format)) = (operator, left) {
        return format_percent(format, right, meter);
    }
    right.check_defined()?;
    match (left, right) {
        (Value::Markup(_), _) | (_, Value::Markup(_)) => {
            return Err(unsupported("calculating with a safe string"));
        }
        _ => {}
    }
    if let (Some(left), Some(right)) = (left.as_number(), right.as_number()) {
        return numbers(operator, left, right);
    }
    match (operator, left, right) {
        (Operator::Add, Value::Str(left), Value::Str(right)) => {
            let mut builder = TextBuilder::new(meter);
            builder.push_text(left)?;
            builder.push_text(right)?;
            Ok(Value::Str(builder.finish()))
        }
        (Operator::Add, Value::List(left), Value::List(right)) => {
            joined(left, right, meter).map(Value::List)
        }
        (Operator::Add, Value::Tuple(left), Value::Tuple(right)) => {
            joined(left, right, meter).map(Value::Tuple)
        }
        (Operator::Mul, Value::Str(text), times) | (Operator::Mul, times, Value::Str(text)) => {
            repeated_text(text, times, meter)
        }
        (Operator::Mul, Value::List(list), times) | (Operator::Mul, times, Value::List(list)) => {
            repeated(list, times, meter).map(Value::List)
        }
        (Operator::Mul, Value::Tuple(list), times) | (Operator::Mul, times, Value::Tuple(list)) => {
            repeated(list, times, meter).map(Value::Tuple)
        }
        _ => Err(failure(format!(
            "a {} and a {} cannot be calculated with",
            left.kind_name(),
            right.kind_name()
        ))),
    }
}

fn joined(left: &List, right: &List, meter: &Meter) -> Result<List> {
    meter.values(left.len().saturating_add(right.len()))?;
    let items = left.items().iter().chain(right.items()).cloned().collect();
    let author = left.author_of_cuts().or(right.author_of_cuts());
    List::cut_by(items, author, meter)
}

fn repeated(list: &List, times: &Value, meter: &Meter) -> Result<List> {
    let times = count(times)?;
    let len = list.len().saturating_mul(times);
    meter.values(len)?;
    let items = list.items().iter().cycle().take(len).cloned().collect();
    List::cut_by(items, list.author_of_cuts(), meter)
}

fn repeated_text(text: &Text, times: &Value, meter: &Meter) -> Result<Value> {
    let mut builder = TextBuilder::new(meter);
    builder.push_repeated(text, count(times)?)?;
    Ok(Value::Str(builder.finish()))
}

fn count(times: &Value) -> Result<usize> {
    match times.as_number() {
        Some(Number::Int(times)) => Ok(usize::try_from(times).unwrap_or(0)),
        _ => Err(failure(format!(
            "nothing can be repeated a {} times",
            times.kind_name()
        ))),
    }
}

fn numbers(operator: Operator, left: Number, right: Number) -> Result<Value> {
    match (left, right) {
        (Number::Int(left), Number::Int(right)) => integers(operator, left, right),
        (left, right) => floats(operator, left.as_float(), right.as_float()).map(Value::Float),
    }
}

fn integers(operator: Operator, left: i64, right: i64) -> Result<Value> {
    let result = match operator {
        Operator::Add => left.checked_add(right),
        Operator::Sub => left.checked_sub(right),
        Operator::Mul => left.checked_mul(right),
        Operator::Div => {
            return floats(operator, left as f64, right as f64).map(Value::Float);
        }
        Operator::FloorDiv | Operator::Rem if right == 0 => return Err(division_by_zero()),
        Operator::FloorDiv => {
            let quotient = left.checked_div(right);
            quotient.map(|quotient| {
                let is_below = left % right != 0 && (left < 0) != (right < 0);
                quotient - i64::from(is_below)
            })
        }
        Operator::Rem => left.checked_rem(right).map(|rest| {
            let has_other_sign = rest != 0 && (rest < 0) != (right < 0);
            if has_other_sign { rest + right } else { rest }
        }),
        Operator::Pow if right < 0 => {
            return floats(operator, left as f64, right as f64).map(Value::Float);
        }
        Operator::Pow => power(left, right),
    };
    result
        .map(Value::Int)
        .ok_or_else(|| unsupported("an integer of more than 64 bits"))
}

fn power(base: i64, exponent: i64) -> Option<i64> {
    match base {
        0 | 1 => Some(if exponent == 0 { 1 } else { base }),
        -1 => Some(if exponent % 2 == 0 { 1 } else { -1 }),
        _ => base.checked_pow(u32::try_from(exponent).ok()?),
    }
}

fn floats(operator: Operator, left: f64, right: f64) -> Result<f64> {
    let divides = matches!(operator, Operator::Div | Operator::FloorDiv | Operator::Rem);
    if divides && right == 0.0 {
        return Err(division_by_zero());
    }
    Ok(match operator {
        Operator::Add => left + right,
        Operator::Sub => left - right,
        Operator::Mul => left * right,
        Operator::Div => left / right,
        Operator::FloorDiv => (left / right).floor(),
        Operator::Rem => {
            let rest = left % right;
            let has_other_sign = rest != 0.0 && (rest < 0.0) != (right < 0.0);
            if has_other_sign { rest + right } else { rest }
        }
        Operator::Pow if left == 0.0 && right < 0.0 => return Err(division_by_zero()),
        Operator::Pow if left < 0.0 && right.fract() != 0.0 => {
            return Err(unsupported("complex numbers"));
        }
        Operator::Pow => {
            let power = left.powf(right);
            if power.is_infinite() && left.is_finite() && right.is_finite() {
                return Err(failure("the result of a power is too large"));
            }
            power
        }
    })
}

fn division_by_zero() -> crate::error::TemplateError {
    failure("division by zero")
}

/// `-value`.
pub(super) fn negative(value: &Value) -> Result<Value> {
    value.check_defined()?;
    match value.as_number() {
        Some(Number::Int(value)) => value
            .checked_neg()
            .map(Value::Int)
            .ok_or_else(|| unsupported("an integer of more than 64 bits")),
        Some(Number::Float(value)) => Ok(Value::Float(-value)),
        None => Err(failure(format!("a {} has no sign", value.kind_name()))),
    }
}

/// `+value`.
pub(super) fn positive(value: &Value) -> Result<Value> {
    value.check_defined()?;
    match value.as_number() {
        Some(Number::Int(value)) => Ok(Value::Int(value)),
        Some(Number::Float(value)) => Ok(Value::Float(value)),
        None => Err(failure(format!("a {} has no sign", value.kind_name()))),
    }
}
