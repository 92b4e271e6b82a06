//! Strings that are put together.

use crate::text::jinja::meter::Meter;
use crate::text::jinja::text::{Author, Text, TextBuilder};
use crate::text::jinja::value::{List, Result, failure};

/// `separator.join(items)`. Where the template did not decide how many items there are, the
/// separators are not its own either.
pub(in crate::text::jinja) fn joined(
    separator: &Text,
    items: &List,
    meter: &Meter,
) -> Result<Text> {
    let author = items.author_of_cuts();
    let mut builder = TextBuilder::new(meter);
    if let Some(author) = author.filter(|_| items.len() == 0) {
        builder.push("", author)?;
    }
    for (index, item) in items.items().iter().enumerate() {
        if index > 0 {
            push_owned(&mut builder, separator, author)?;
        }
        meter.steps(1)?;
        item.print(&mut builder)?;
    }
    Ok(builder.finish())
}

/// Appends a text as its authors', or as somebody else's.
fn push_owned(builder: &mut TextBuilder<'_>, text: &Text, author: Option<Author>) -> Result<()> {
    match author {
        Some(author) => builder.push(text.as_str(), author),
        None => builder.push_text(text),
    }
}

/// `replace`. What takes the place of somebody's text is theirs.
pub(in crate::text::jinja) fn replaced(
    text: &Text,
    old: &Text,
    new: &Text,
    count: Option<usize>,
    meter: &Meter,
) -> Result<Text> {
    let string = text.as_str();
    meter.bytes(string.len() + old.as_str().len())?;
    let mut builder = TextBuilder::new(meter);
    let mut end = 0;
    let matches = string.match_indices(old.as_str());
    for (at, found) in matches.take(count.unwrap_or(usize::MAX)) {
        meter.steps(1)?;
        builder.push_part(text, end..at)?;
        end = at + found.len();
        push_owned(&mut builder, new, text.foreign_author_of(at..end))?;
    }
    builder.push_part(text, end..string.len())?;
    Ok(builder.finish())
}

/// Fills in front of and behind a text.
fn filled(text: &Text, left: usize, right: usize, fill: &Text, meter: &Meter) -> Result<Text> {
    let mut builder = TextBuilder::new(meter);
    builder.push_repeated(fill, left)?;
    builder.push_text(text)?;
    builder.push_repeated(fill, right)?;
    Ok(builder.finish())
}

fn missing(text: &Text, width: Option<i64>) -> usize {
    let width = usize::try_from(width.unwrap_or(0)).unwrap_or(0);
    width.saturating_sub(text.num_chars())
}

/// `ljust`, `rjust` and `center`.
pub(super) fn padded(
    text: &Text,
    width: Option<i64>,
    fill: Option<Text>,
    method: &str,
    meter: &Meter,
) -> Result<Text> {
    let space = Text::new(" ", Author::Computed, meter)?;
    let fill = fill.unwrap_or(space);
    if fill.num_chars() != 1 {
        return Err(failure(
            "the fill character must be exactly one character long",
        ));
    }
    let missing = missing(text, width);
    let left = match method {
        "ljust" => 0,
        "rjust" => missing,
        // Python puts the odd space to the left where the width is odd.
        _ => missing / 2 + (missing & usize::try_from(width.unwrap_or(0)).unwrap_or(0) & 1),
    };
    filled(text, left, missing - left, &fill, meter)
}

/// `center` with spaces.
pub(in crate::text::jinja) fn centered(text: &Text, width: i64, meter: &Meter) -> Result<Text> {
    padded(text, Some(width), None, "center", meter)
}

/// `zfill`: zeros behind the sign.
pub(super) fn with_zeros(text: &Text, width: Option<i64>, meter: &Meter) -> Result<Text> {
    let zero = Text::new("0", Author::Computed, meter)?;
    let sign = usize::from(text.as_str().starts_with(['+', '-']));
    let mut builder = TextBuilder::new(meter);
    builder.push_part(text, 0..sign)?;
    builder.push_repeated(&zero, missing(text, width))?;
    builder.push_part(text, sign..text.as_str().len())?;
    Ok(builder.finish())
}
