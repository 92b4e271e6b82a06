//! Numbers and strings in expressions.

use super::{TokenKind, syntax_error};
use crate::error::TemplateError;
use crate::text::jinja::value::unsupported;

type Literal = Result<(TokenKind, usize), TemplateError>;

/// A number at the beginning of `rest`, and its length. Behind a dot (`a.0.1`) it is an integer.
pub(super) fn number(rest: &str, follows_dot: bool, line: u32) -> Literal {
    let bytes = rest.as_bytes();
    for (prefix, radix) in [("0x", 16), ("0o", 8), ("0b", 2)] {
        let is_prefixed = rest
            .get(..2)
            .is_some_and(|start| start.eq_ignore_ascii_case(prefix));
        if is_prefixed {
            let end = digits_end(bytes, 2, radix);
            return integer(&rest[2..end], radix).map(|kind| (kind, end));
        }
    }
    let whole = digits_end(bytes, 0, 10);
    let end = if follows_dot {
        whole
    } else {
        float_end(bytes, whole)
    };
    if end == whole {
        return integer(&rest[..whole], 10).map(|kind| (kind, whole));
    }
    let value = rest[..end].replace('_', "").parse();
    let value = value.map_err(|_not_a_float| syntax_error(line, "not a number"))?;
    Ok((TokenKind::Float(value), end))
}

fn integer(digits: &str, radix: u32) -> Result<TokenKind, TemplateError> {
    i64::from_str_radix(&digits.replace('_', ""), radix)
        .map(TokenKind::Int)
        .map_err(|_too_large| unsupported("an integer of more than 64 bits"))
}

/// Behind digits that may be parted by single `_`.
fn digits_end(bytes: &[u8], start: usize, radix: u32) -> usize {
    let is_digit = |at: usize| {
        bytes
            .get(at)
            .is_some_and(|&byte| char::from(byte).is_digit(radix))
    };
    let mut end = start;
    loop {
        if is_digit(end) {
            end += 1;
        } else if bytes.get(end) == Some(&b'_') && is_digit(end + 1) {
            end += 2;
        } else {
            return end;
        }
    }
}

fn float_end(bytes: &[u8], whole: usize) -> usize {
    let mut end = whole;
    if bytes.get(end) == Some(&b'.') && bytes.get(end + 1).is_some_and(u8::is_ascii_digit) {
        end = digits_end(bytes, end + 1, 10);
    }
    if matches!(bytes.get(end), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(end + 1), Some(b'+' | b'-')));
        if bytes.get(end + 1 + sign).is_some_and(u8::is_ascii_digit) {
            end = digits_end(bytes, end + 1 + sign, 10);
        }
    }
    end
}

/// A string at the beginning of `rest`, and its length.
pub(super) fn string(rest: &str, quote: char, line: u32) -> Literal {
    let error = |reason: &str| Err(syntax_error(line, reason));
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        if c == quote {
            return Ok((TokenKind::Str(text), at + 1));
        }
        if c != '\\' {
            text.push(c);
            continue;
        }
        let Some((_, escape)) = chars.next() else {
            break;
        };
        let simple = match escape {
            '\n' => continue,
            '\\' | '\'' | '"' => Some(escape),
            'a' => Some('\u{7}'),
            'b' => Some('\u{8}'),
            'f' => Some('\u{c}'),
            'n' => Some('\n'),
            'r' => Some('\r'),
            't' => Some('\t'),
            'v' => Some('\u{b}'),
            _ => None,
        };
        match (simple, escape) {
            (Some(c), _) => text.push(c),
            (None, '0'..='7') => text.push(octal(escape, &mut chars)),
            (None, 'x') => text.push(coded(&mut chars, 2, line)?),
            (None, 'u') => text.push(coded(&mut chars, 4, line)?),
            (None, 'U') => text.push(coded(&mut chars, 8, line)?),
            (None, 'N') => return Err(unsupported("characters by name")),
            (None, other) => text.extend(['\\', other]),
        }
    }
    error("a string has no end")
}

type Chars<'a> = std::iter::Skip<std::str::CharIndices<'a>>;

fn octal(first: char, chars: &mut Chars<'_>) -> char {
    let mut code = first.to_digit(8).unwrap_or_default();
    for _ in 0..2 {
        let Some(digit) = chars.clone().next().and_then(|(_, c)| c.to_digit(8)) else {
            break;
        };
        chars.next();
        code = code * 8 + digit;
    }
    char::from_u32(code).unwrap_or_default()
}

fn coded(chars: &mut Chars<'_>, num_digits: usize, line: u32) -> Result<char, TemplateError> {
    let mut code = 0_u32;
    for _ in 0..num_digits {
        let digit = chars.next().and_then(|(_, c)| c.to_digit(16));
        let digit = digit.ok_or_else(|| syntax_error(line, "an escape lacks digits"))?;
        code = code.wrapping_mul(16).wrapping_add(digit);
    }
    // Python has halves of surrogate pairs in strings.
    char::from_u32(code).ok_or_else(|| unsupported("an escape that names no character"))
}
