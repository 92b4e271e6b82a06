//! Upper and lower case.

use crate::text::jinja::lexer::is_space;
use crate::text::jinja::meter::Meter;
use crate::text::jinja::text::{Text, TextBuilder};
use crate::text::jinja::value::{Result, unsupported};

pub(in crate::text::jinja) fn uppered(text: &Text, meter: &Meter) -> Result<Text> {
    mapped(text, meter, |c, _, out| out.extend(c.to_uppercase()))
}

pub(in crate::text::jinja) fn lowered(text: &Text, meter: &Meter) -> Result<Text> {
    mapped(text, meter, |_, lower, out| out.push_str(lower))
}

pub(super) fn swapped(text: &Text, meter: &Meter) -> Result<Text> {
    mapped(text, meter, |c, lower, out| match c.is_uppercase() {
        true => out.push_str(lower),
        false => out.extend(c.to_uppercase()),
    })
}

/// The method `title`: a word begins behind everything that has no case (`They'Re`).
pub(super) fn titled(text: &Text, meter: &Meter) -> Result<Text> {
    let mut is_in_word = false;
    mapped(text, meter, |c, lower, out| {
        if is_in_word {
            out.push_str(lower);
        } else {
            title(c, out);
        }
        is_in_word = has_case(c);
    })
}

/// The filter `title`: a word begins behind white space and a few signs only.
pub(in crate::text::jinja) fn titled_words(text: &Text, meter: &Meter) -> Result<Text> {
    if text.as_str().contains('\u{3a3}') {
        return Err(unsupported("the filter `title` with a sigma"));
    }
    let mut was_in_word = None;
    mapped(text, meter, |c, lower, out| {
        let is_in_word = !is_space(c) && !"-({[<".contains(c);
        if was_in_word == Some(is_in_word) {
            out.push_str(lower);
        } else {
            out.extend(c.to_uppercase());
        }
        was_in_word = Some(is_in_word);
    })
}

pub(in crate::text::jinja) fn capitalized(text: &Text, meter: &Meter) -> Result<Text> {
    let mut is_first = true;
    mapped(text, meter, |c, lower, out| {
        if is_first {
            title(c, out);
        } else {
            out.push_str(lower);
        }
        is_first = false;
    })
}

/// Maps each character, given with its lower case; it keeps its author.
fn mapped(
    text: &Text,
    meter: &Meter,
    mut map: impl FnMut(char, &str, &mut String),
) -> Result<Text> {
    meter.bytes(text.as_str().len().saturating_mul(6))?;
    // A sigma that ends a word has a form of its own, so the text is lowered as a whole.
    let whole = text.as_str().to_lowercase();
    let mut builder = TextBuilder::new(meter);
    let mut at = 0;
    for (part, author) in text.runs() {
        let mut mapped = String::new();
        for c in part.chars() {
            let len: usize = c.to_lowercase().map(char::len_utf8).sum();
            map(c, &whole[at..at + len], &mut mapped);
            at += len;
        }
        builder.push(&mapped, author)?;
    }
    Ok(builder.finish())
}

fn title(c: char, out: &mut String) {
    match c {
        '\u{1c4}'..='\u{1c6}' => out.push('\u{1c5}'),
        '\u{1c7}'..='\u{1c9}' => out.push('\u{1c8}'),
        '\u{1ca}'..='\u{1cc}' => out.push('\u{1cb}'),
        '\u{1f1}'..='\u{1f3}' => out.push('\u{1f2}'),
        // Georgian has capitals, but no titles.
        '\u{10d0}'..='\u{10ff}' => out.push(c),
        _ => {
            let mut upper = c.to_uppercase();
            out.extend(upper.next());
            out.extend(upper.flat_map(char::to_lowercase));
        }
    }
}

fn has_case(c: char) -> bool {
    c.is_lowercase()
        || c.is_uppercase()
        || matches!(c, '\u{1c5}' | '\u{1c8}' | '\u{1cb}' | '\u{1f2}')
}

/// `str.islower`.
pub(in crate::text::jinja) fn is_lower(text: &Text) -> bool {
    let is_other = |c: char| has_case(c) && !c.is_lowercase();
    let mut chars = text.as_str().chars();
    !text.as_str().chars().any(is_other) && chars.any(char::is_lowercase)
}

/// `str.isupper`.
pub(in crate::text::jinja) fn is_upper(text: &Text) -> bool {
    let is_other = |c: char| has_case(c) && !c.is_uppercase();
    let mut chars = text.as_str().chars();
    !text.as_str().chars().any(is_other) && chars.any(char::is_uppercase)
}
