//! Equality, order and membership.

use std::cmp::Ordering;

use super::meter::Meter;
use super::value::{Dict, List, Result, Value, failure, unsupported};

impl Value {
    /// Whether two values are equal, as `==` has it.
    pub(super) fn equals(&self, other: &Self, meter: &Meter) -> Result<bool> {
        meter.steps(1)?;
        if let (Some(left), Some(right)) = (self.as_text(), other.as_text()) {
            meter.bytes(left.as_str().len().min(right.as_str().len()))?;
            return Ok(left.as_str() == right.as_str());
        }
        if let (Some(left), Some(right)) = (self.as_number(), other.as_number()) {
            return Ok(left.compare(right) == Some(Ordering::Equal));
        }
        match (self, other) {
            (Self::Undefined(_), Self::Undefined(_)) | (Self::None, Self::None) => Ok(true),
            (Self::List(left), Self::List(right)) | (Self::Tuple(left), Self::Tuple(right)) => {
                lists_equal(left, right, meter)
            }
            (Self::Dict(left), Self::Dict(right)) => dicts_equal(left, right, meter),
            (Self::Range(left), Self::Range(right)) => {
                let is_same = left.len() == right.len()
                    && (left.len() == 0 || left.start == right.start)
                    && (left.len() < 2 || left.step == right.step);
                Ok(is_same)
            }
            (Self::View(_), _) | (_, Self::View(_)) => {
                Err(unsupported("comparing views of dictionaries"))
            }
            (left, right) if left.is_plain() || right.is_plain() => Ok(false),
            _ => Err(unsupported(format!("comparing a {}", self.kind_name()))),
        }
    }

    /// Whether the value equals only values of its own kind.
    fn is_plain(&self) -> bool {
        matches!(
            self,
            Self::Undefined(_)
                | Self::None
                | Self::Bool(_)
                | Self::Int(_)
                | Self::Float(_)
                | Self::Str(_)
                | Self::List(_)
                | Self::Tuple(_)
                | Self::Dict(_)
                | Self::Range(_)
        )
    }

    pub(super) fn as_number(&self) -> Option<Number> {
        match self {
            Self::Bool(value) => Some(Number::Int(i64::from(*value))),
            Self::Int(value) => Some(Number::Int(*value)),
            Self::Float(value) => Some(Number::Float(*value)),
            _ => None,
        }
    }

    /// The order of two values; `None` where a number is none.
    pub(super) fn compare(&self, other: &Self, meter: &Meter) -> Result<Option<Ordering>> {
        meter.steps(1)?;
        self.check_defined()?;
        other.check_defined()?;
        if let (Some(left), Some(right)) = (self.as_number(), other.as_number()) {
            return Ok(left.compare(right));
        }
        match (self, other) {
            (Self::Str(left), Self::Str(right)) => {
                meter.bytes(left.as_str().len().min(right.as_str().len()))?;
                Ok(Some(left.as_str().cmp(right.as_str())))
            }
            (Self::List(left), Self::List(right)) | (Self::Tuple(left), Self::Tuple(right)) => {
                compare_lists(left, right, meter)
            }
            _ => Err(failure(format!(
                "a {} and a {} have no order",
                self.kind_name(),
                other.kind_name()
            ))),
        }
    }

    /// Whether the value holds `item`, as `in` has it.
    pub(super) fn contains(&self, item: &Self, meter: &Meter) -> Result<bool> {
        match (self, item) {
            (Self::Str(text), Self::Str(part)) => {
                meter.bytes(text.as_str().len() + part.as_str().len())?;
                Ok(text.as_str().contains(part.as_str()))
            }
            (Self::Str(_), _) => Err(failure(format!(
                "a string does not hold a {}",
                item.kind_name()
            ))),
            (Self::Dict(dict), _) => {
                item.check_hashable(meter)?;
                Ok(dict.get(item, meter)?.is_some())
            }
            (Self::List(list) | Self::Tuple(list) | Self::View(list), _) => {
                holds(list.items(), item, meter)
            }
            (Self::Undefined(_), _) => Ok(false),
            (Self::Range(range), _) => match item.as_number() {
                Some(number) => Ok(number.is_in(*range)),
                None => Ok(false),
            },
            (Self::Iterator(_) | Self::Markup(_) | Self::Loop(_), _) => {
                Err(unsupported(format!("`in` a {}", self.kind_name())))
            }
            _ => Err(failure(format!("a {} holds nothing", self.kind_name()))),
        }
    }
}

/// Whether one of the items is or equals `item`.
pub(super) fn holds(items: &[Value], item: &Value, meter: &Meter) -> Result<bool> {
    for found in items {
        if found.equals(item, meter)? {
            return Ok(true);
        }
    }
    Ok(false)
}

fn lists_equal(left: &List, right: &List, meter: &Meter) -> Result<bool> {
    if left.len() != right.len() {
        return Ok(false);
    }
    if left.is(right) && left.len() == 0 {
        return Ok(true);
    }
    for (left, right) in left.items().iter().zip(right.items()) {
        if !left.equals(right, meter)? {
            return Ok(false);
        }
    }
    Ok(true)
}

fn dicts_equal(left: &Dict, right: &Dict, meter: &Meter) -> Result<bool> {
    if left.entries().len() != right.entries().len() {
        return Ok(false);
    }
    for (key, value) in left.entries() {
        match right.get(key, meter)? {
            Some(other) if value.equals(other, meter)? => {}
            _ => return Ok(false),
        }
    }
    Ok(true)
}

fn compare_lists(left: &List, right: &List, meter: &Meter) -> Result<Option<Ordering>> {
    for (left, right) in left.items().iter().zip(right.items()) {
        if !left.equals(right, meter)? {
            return left.compare(right, meter);
        }
    }
    Ok(Some(left.len().cmp(&right.len())))
}

/// A number of either kind.
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    Int(i64),
    Float(f64),
}

impl Number {
    pub(super) fn as_float(self) -> f64 {
        match self {
            Self::Int(value) => value as f64,
            Self::Float(value) => value,
        }
    }

    fn compare(self, other: Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Int(left), Self::Int(right)) => Some(left.cmp(&right)),
            (left, right) => left.as_float().partial_cmp(&right.as_float()),
        }
    }

    fn is_in(self, range: super::value::Range) -> bool {
        let whole = match self {
            Self::Int(value) => value,
            Self::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => value as i64,
            Self::Float(_) => return false,
        };
        let distance = i128::from(whole) - i128::from(range.start);
        let step = i128::from(range.step);
        let index = distance.div_euclid(step);
        distance % step == 0 && index >= 0 && index < range.len() as i128
    }
}

/// Sorts values as Python's `sorted`, by the key of each.
pub(super) fn sort_by_key(
    keyed: &mut [(Value, Value)],
    is_reversed: bool,
    meter: &Meter,
) -> Result<()> {
    meter.values(keyed.len())?;
    let mut error = None;
    let mut order = |left: &Value, right: &Value| match left.compare(right, meter) {
        Ok(order) => order.unwrap_or(Ordering::Equal),
        Err(found) => {
            error.get_or_insert(found);
            Ordering::Equal
        }
    };
    // A sort is stable in both directions.
    if is_reversed {
        keyed.sort_by(|left, right| order(&right.0, &left.0));
    } else {
        keyed.sort_by(|left, right| order(&left.0, &right.0));
    }
    error.map_or(Ok(()), Err)
}
