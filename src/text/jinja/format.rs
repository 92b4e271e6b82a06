//! `'%s' % value` and `'{}'.format(value)`.

use super::attributes;
use super::calls::Call;
use super::compare::Number;
use super::meter::Meter;
use super::text::{Author, Text, TextBuilder};
use super::value::{Result, Value, failure, unsupported};

/// How a value is written into a format.
#[derive(Debug, Default)]
struct Spec {
    is_left: bool,
    is_zero_filled: bool,
    has_plus: bool,
    has_space: bool,
    width: usize,
    precision: Option<usize>,
}

/// Most digits behind the point.
const MAX_PRECISION: usize = 100;

/// `format % arguments`.
pub(super) fn format_percent(format: &Text, arguments: &Value, meter: &Meter) -> Result<Value> {
    let string = format.as_str();
    let mut out = TextBuilder::new(meter);
    let mut arguments = Arguments::new(arguments, meter)?;
    let mut end = 0;
    while let Some(at) = string[end..].find('%').map(|at| end + at) {
        out.push_part(format, end..at)?;
        end = at + 1;
        let (name, behind) = key(format, end, meter)?;
        let (spec, behind) = arguments.spec(string, behind)?;
        let kind = string[behind..].chars().next();
        let kind = kind.ok_or_else(|| failure("a format ends in `%`"))?;
        end = behind + kind.len_utf8();
        if kind == '%' {
            out.push_part(format, behind..end)?;
            continue;
        }
        let value = arguments.next(name)?;
        write_percent(&value, kind, &spec, &mut out)?;
    }
    arguments.check_used()?;
    out.push_part(format, end..string.len())?;
    Ok(Value::Str(out.finish()))
}

/// `(name)` behind a `%`, and where it ends.
fn key(format: &Text, start: usize, meter: &Meter) -> Result<(Option<Value>, usize)> {
    let string = format.as_str();
    if !string[start..].starts_with('(') {
        return Ok((None, start));
    }
    let end = string[start..].find(')').map(|at| start + at);
    let end = end.ok_or_else(|| failure("a key of a format has no end"))?;
    if string[start + 1..end].contains('(') {
        return Err(unsupported("brackets in the key of a format"));
    }
    let name = format.slice(start + 1..end, meter)?;
    Ok((Some(Value::Str(name)), end + 1))
}

/// What the conversions of a format take, one after the other or by name.
struct Arguments<'a> {
    whole: &'a Value,
    items: Vec<Value>,
    at: usize,
    is_named: bool,
    meter: &'a Meter,
}

impl<'a> Arguments<'a> {
    fn new(whole: &'a Value, meter: &'a Meter) -> Result<Self> {
        let items = match whole {
            Value::Tuple(list) => {
                meter.values(list.len())?;
                list.items().to_vec()
            }
            other => vec![other.clone()],
        };
        Ok(Self {
            whole,
            items,
            at: 0,
            is_named: false,
            meter,
        })
    }

    fn next(&mut self, name: Option<Value>) -> Result<Value> {
        if let Some(name) = name {
            self.is_named = true;
            let Value::Dict(dict) = self.whole else {
                return Err(failure("a format with keys needs a dictionary"));
            };
            let found = dict.get(&name, self.meter)?.cloned();
            return found.ok_or_else(|| failure("a key of a format is missing"));
        }
        let value = self.items.get(self.at).cloned();
        self.at += 1;
        value.ok_or_else(|| failure("not enough arguments for a format"))
    }

    fn check_used(&self) -> Result<()> {
        // Python lets a single dictionary or list go unused.
        let may_be_left = matches!(
            self.whole,
            Value::Dict(_) | Value::List(_) | Value::Undefined(_)
        );
        match self.is_named || may_be_left || self.at >= self.items.len() {
            true => Ok(()),
            false => Err(failure("not all arguments of a format are used")),
        }
    }

    /// Flags, width and precision, and where they end.
    fn spec(&mut self, string: &str, start: usize) -> Result<(Spec, usize)> {
        let mut spec = Spec::default();
        let mut at = start;
        for flag in string[start..].chars() {
            match flag {
                '-' => spec.is_left = true,
                '0' => spec.is_zero_filled = true,
                '+' => spec.has_plus = true,
                ' ' => spec.has_space = true,
                '#' => return Err(unsupported("`#` in a format")),
                _ => break,
            }
            at += 1;
        }
        if string[at..].starts_with('*') {
            return Err(unsupported("`*` in a format"));
        }
        (spec.width, at) = digits(string, at)?;
        if string[at..].starts_with('.') {
            let (precision, end) = digits(string, at + 1)?;
            spec.precision = Some(precision);
            at = end;
        }
        if string[at..].starts_with(['h', 'l', 'L']) {
            at += 1;
        }
        Ok((spec, at))
    }
}

/// A number at `start`, nothing if there is none, and where it ends.
fn digits(string: &str, start: usize) -> Result<(usize, usize)> {
    let rest = &string[start..];
    let len = rest
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(rest.len());
    let number = match len {
        0 => 0,
        _ => rest[..len]
            .parse()
            .map_err(|_too_large| failure("a width of a format is too large"))?,
    };
    Ok((number, start + len))
}

fn write_percent(value: &Value, kind: char, spec: &Spec, out: &mut TextBuilder<'_>) -> Result<()> {
    match kind {
        's' | 'r' => {
            let text = match kind {
                's' => value.to_text(out.meter())?,
                _ => repr(value, out.meter())?,
            };
            let text = shortened(&text, spec.precision, out.meter())?;
            write_padded(&text, spec, out)
        }
        'd' | 'i' | 'u' => {
            value.check_defined()?;
            let whole = match value.as_number() {
                Some(Number::Int(value)) => value,
                Some(Number::Float(value)) if value.abs() < 9e18 => value.trunc() as i64,
                Some(Number::Float(_)) => return Err(unsupported("so large a float in a format")),
                None => return Err(failure(format!("`%{kind}` takes a number"))),
            };
            if spec.precision.is_some() {
                return Err(unsupported("a precision of an integer"));
            }
            write_number(whole < 0, &whole.unsigned_abs().to_string(), spec, out)
        }
        'x' | 'X' | 'o' => {
            let Some(Number::Int(value)) = value.as_number() else {
                return Err(failure(format!("`%{kind}` takes an integer")));
            };
            let digits = value.unsigned_abs();
            let digits = match kind {
                'x' => format!("{digits:x}"),
                'X' => format!("{digits:X}"),
                _ => format!("{digits:o}"),
            };
            write_number(value < 0, &digits, spec, out)
        }
        'f' | 'F' => {
            value.check_defined()?;
            let value = value.as_number().map(Number::as_float);
            let value = value.ok_or_else(|| failure("`%f` takes a number"))?;
            write_float(value, spec, out)
        }
        'c' => {
            let text = match value {
                Value::Str(text) if text.num_chars() == 1 => text.clone(),
                Value::Int(code) => {
                    let c = u32::try_from(*code).ok().and_then(char::from_u32);
                    let c = c.ok_or_else(|| failure("`%c` takes a character"))?;
                    Text::new(c.encode_utf8(&mut [0; 4]), Author::Computed, out.meter())?
                }
                _ => return Err(failure("`%c` takes a character")),
            };
            write_padded(&text, spec, out)
        }
        'a' | 'e' | 'E' | 'g' | 'G' => Err(unsupported(format!("`%{kind}` in a format"))),
        _ => Err(failure(format!("`%{kind}` is no format"))),
    }
}

fn repr(value: &Value, meter: &Meter) -> Result<Text> {
    let mut out = TextBuilder::new(meter);
    value.print_repr(&mut out)?;
    Ok(out.finish())
}

fn shortened(text: &Text, precision: Option<usize>, meter: &Meter) -> Result<Text> {
    match precision {
        Some(precision) if precision < text.num_chars() => {
            attributes::part(text, 0, precision, meter)
        }
        _ => Ok(text.clone()),
    }
}

fn write_float(value: f64, spec: &Spec, out: &mut TextBuilder<'_>) -> Result<()> {
    let precision = spec.precision.unwrap_or(6);
    if precision > MAX_PRECISION || !value.is_finite() {
        return Err(unsupported("such a float in a format"));
    }
    let digits = format!("{:.precision$}", value.abs());
    write_number(value.is_sign_negative(), &digits, spec, out)
}

fn write_number(
    is_negative: bool,
    digits: &str,
    spec: &Spec,
    out: &mut TextBuilder<'_>,
) -> Result<()> {
    let sign = match (is_negative, spec.has_plus, spec.has_space) {
        (true, ..) => "-",
        (_, true, _) => "+",
        (_, _, true) => " ",
        _ => "",
    };
    let meter = out.meter();
    if spec.is_zero_filled && !spec.is_left {
        let zero = Text::new("0", Author::Computed, meter)?;
        out.push(sign, Author::Computed)?;
        out.push_repeated(&zero, spec.width.saturating_sub(sign.len() + digits.len()))?;
        return out.push(digits, Author::Computed);
    }
    let text = Text::new(&format!("{sign}{digits}"), Author::Computed, meter)?;
    write_padded(&text, spec, out)
}

fn write_padded(text: &Text, spec: &Spec, out: &mut TextBuilder<'_>) -> Result<()> {
    let space = Text::new(" ", Author::Computed, out.meter())?;
    let missing = spec.width.saturating_sub(text.num_chars());
    if !spec.is_left {
        out.push_repeated(&space, missing)?;
    }
    out.push_text(text)?;
    if spec.is_left {
        out.push_repeated(&space, missing)?;
    }
    Ok(())
}

/// `format.format(arguments)`.
pub(super) fn format_braces(format: &Text, call: Call<'_>) -> Result<Text> {
    let (string, meter) = (format.as_str(), call.meter);
    let mut out = TextBuilder::new(meter);
    let mut next = 0;
    let mut end = 0;
    while let Some(at) = string[end..].find(['{', '}']).map(|at| end + at) {
        out.push_part(format, end..at)?;
        let brace = &string[at..=at];
        end = at + 1;
        if string[end..].starts_with(brace) {
            out.push_part(format, at..end)?;
            end += 1;
            continue;
        }
        if brace == "}" {
            return Err(failure("a single `}` in a format"));
        }
        let close = string[end..].find(['{', '}']).map(|at| end + at);
        let close = close.filter(|at| string[*at..].starts_with('}'));
        let close = close.ok_or_else(|| failure("a `{` of a format has no end"))?;
        write_field(&string[end..close], &call, &mut next, &mut out)?;
        end = close + 1;
    }
    out.push_part(format, end..string.len())?;
    Ok(out.finish())
}

/// `name!conversion:spec`; `next` counts the fields without a name.
fn write_field(
    field: &str,
    call: &Call<'_>,
    next: &mut usize,
    out: &mut TextBuilder<'_>,
) -> Result<()> {
    let (field, spec) = field.split_once(':').unwrap_or((field, ""));
    let (name, conversion) = match field.split_once('!') {
        Some((name, conversion)) => (name, Some(conversion)),
        None => (field, None),
    };
    let value = if name.is_empty() {
        *next += 1;
        call.positional.get(*next - 1)
    } else if name.bytes().all(|byte| byte.is_ascii_digit()) {
        if *next > 0 {
            return Err(failure("a format mixes numbered fields and others"));
        }
        let index = name.parse().unwrap_or(usize::MAX);
        call.positional.get(index)
    } else if name.chars().all(|c| c.is_alphanumeric() || c == '_') {
        let mut named = call.named.iter();
        named
            .find(|(found, _)| &**found == name)
            .map(|(_, value)| value)
    } else {
        return Err(unsupported(format!("the field `{name}` of a format")));
    };
    let value = value.ok_or_else(|| failure(format!("a format lacks its field `{name}`")))?;
    let text = match conversion {
        Some("s") => Value::Str(value.to_text(out.meter())?),
        Some("r") => Value::Str(repr(value, out.meter())?),
        Some(_) => return Err(unsupported("this conversion of a format")),
        None => value.clone(),
    };
    write_with_spec(&text, spec, out)
}

fn write_with_spec(value: &Value, spec: &str, out: &mut TextBuilder<'_>) -> Result<()> {
    if spec.is_empty() {
        return value.print(out);
    }
    let (mut at, mut found) = (0, Spec::default());
    let is_number = matches!(value, Value::Int(_) | Value::Float(_));
    found.is_left = !is_number;
    match spec.chars().next() {
        Some('<') => (found.is_left, at) = (true, 1),
        Some('>') => (found.is_left, at) = (false, 1),
        _ => {}
    }
    if spec[at..].starts_with('0') && at == 0 && is_number {
        (found.is_zero_filled, at) = (true, 1);
    }
    (found.width, at) = digits(spec, at)?;
    if spec[at..].starts_with('.') {
        let (precision, end) = digits(spec, at + 1)?;
        (found.precision, at) = (Some(precision), end);
    }
    match (value, &spec[at..]) {
        (Value::Str(text), "" | "s") => {
            let text = shortened(text, found.precision, out.meter())?;
            write_padded(&text, &found, out)
        }
        (Value::Int(_), "" | "d") if found.precision.is_none() => {
            write_percent(value, 'd', &found, out)
        }
        (Value::Int(_) | Value::Float(_), "f") => write_percent(value, 'f', &found, out),
        _ => Err(unsupported("this width or kind in a format")),
    }
}
