//! Parts of strings.

use std::collections::HashSet;
use std::ops::Range;

use crate::text::jinja::lexer::is_space;
use crate::text::jinja::meter::Meter;
use crate::text::jinja::text::Text;
use crate::text::jinja::value::{Result, Value, failure};

fn parts(text: &Text, ranges: Vec<Range<usize>>, meter: &Meter) -> Result<Vec<Text>> {
    let parts = ranges.into_iter().map(|range| text.slice(range, meter));
    parts.collect()
}

/// `split` and `rsplit` at a separator.
pub(super) fn at(
    text: &Text,
    separator: &str,
    limit: usize,
    from_right: bool,
    meter: &Meter,
) -> Result<Vec<Text>> {
    if separator.is_empty() {
        return Err(failure("empty separator"));
    }
    let string = text.as_str();
    let mut ranges = Vec::new();
    if from_right {
        let mut end = string.len();
        for (at, _) in string.rmatch_indices(separator).take(limit) {
            ranges.push(at + separator.len()..end);
            end = at;
        }
        ranges.push(0..end);
        ranges.reverse();
    } else {
        let mut start = 0;
        for (at, _) in string.match_indices(separator).take(limit) {
            ranges.push(start..at);
            start = at + separator.len();
        }
        ranges.push(start..string.len());
    }
    parts(text, ranges, meter)
}

/// `split` and `rsplit` at white space.
pub(super) fn at_spaces(
    text: &Text,
    limit: usize,
    from_right: bool,
    meter: &Meter,
) -> Result<Vec<Text>> {
    let string = text.as_str();
    let mut ranges = Vec::new();
    let (mut start, mut end) = (0, string.len());
    loop {
        let rest = &string[start..end];
        let rest = match from_right {
            true => rest.trim_end_matches(is_space),
            false => rest.trim_start_matches(is_space),
        };
        if rest.is_empty() {
            break;
        }
        let word = if from_right {
            end = start + rest.len();
            let space = rest.char_indices().rev().find(|(_, c)| is_space(*c));
            start + space.map_or(0, |(at, c)| at + c.len_utf8())..end
        } else {
            start = end - rest.len();
            start..start + rest.find(is_space).unwrap_or(rest.len())
        };
        if ranges.len() == limit {
            ranges.push(start..end);
            break;
        }
        if from_right {
            end = word.start;
        } else {
            start = word.end;
        }
        ranges.push(word);
    }
    if from_right {
        ranges.reverse();
    }
    parts(text, ranges, meter)
}

/// `splitlines`.
pub(in crate::text::jinja) fn lines(
    text: &Text,
    keeps_ends: bool,
    meter: &Meter,
) -> Result<Vec<Text>> {
    let is_end = |c: char| {
        matches!(
            c,
            '\n' | '\r' | '\u{b}' | '\u{c}' | '\u{1c}'..='\u{1e}' | '\u{85}'
        ) || matches!(c, '\u{2028}' | '\u{2029}')
    };
    let string = text.as_str();
    let mut ranges = Vec::new();
    let mut start = 0;
    while start < string.len() {
        let rest = &string[start..];
        let Some((at, c)) = rest.char_indices().find(|(_, c)| is_end(*c)) else {
            ranges.push(start..string.len());
            break;
        };
        let is_pair = rest[at..].starts_with("\r\n");
        let end = at + if is_pair { 2 } else { c.len_utf8() };
        ranges.push(start..start + if keeps_ends { end } else { at });
        start += end;
    }
    parts(text, ranges, meter)
}

/// `partition` and `rpartition`.
pub(super) fn partition(
    text: &Text,
    separator: &str,
    method: &str,
    meter: &Meter,
) -> Result<Vec<Text>> {
    if separator.is_empty() {
        return Err(failure("empty separator"));
    }
    let string = text.as_str();
    let end = string.len();
    let found = match method {
        "partition" => string.find(separator),
        _ => string.rfind(separator),
    };
    let ranges = match found {
        Some(at) => {
            let behind = at + separator.len();
            vec![0..at, at..behind, behind..end]
        }
        None if method == "partition" => vec![0..end, end..end, end..end],
        None => vec![0..0, 0..0, 0..end],
    };
    parts(text, ranges, meter)
}

/// `removeprefix` and `removesuffix`.
pub(super) fn without_affix(text: &Text, affix: &str, method: &str, meter: &Meter) -> Result<Text> {
    let string = text.as_str();
    let (len, end) = (affix.len(), string.len());
    let range = match method {
        "removeprefix" if string.starts_with(affix) => len..end,
        "removesuffix" if string.ends_with(affix) => 0..end - len,
        _ => 0..end,
    };
    text.slice(range, meter)
}

/// `strip`, `lstrip` and `rstrip`.
pub(in crate::text::jinja) fn stripped(
    text: &Text,
    characters: Option<Value>,
    [left, right]: [bool; 2],
    meter: &Meter,
) -> Result<Text> {
    let set: Option<HashSet<char>> = match characters {
        None | Some(Value::None) => None,
        Some(Value::Str(characters)) => {
            meter.values(characters.num_chars())?;
            Some(characters.as_str().chars().collect())
        }
        Some(_) => return Err(failure("what is stripped must be a string")),
    };
    let is_stripped = |c: char| match &set {
        Some(set) => set.contains(&c),
        None => is_space(c),
    };
    let string = text.as_str();
    let end = match right {
        true => string.trim_end_matches(is_stripped).len(),
        false => string.len(),
    };
    let start = match left {
        true => end - string[..end].trim_start_matches(is_stripped).len(),
        false => 0,
    };
    text.slice(start..end, meter)
}
