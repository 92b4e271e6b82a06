//! A Jinja engine set up as Hugging Face's, with a bound on time, memory and output.

mod python;

use std::borrow::Cow;
use std::fmt::Write;
use std::time::SystemTime;

use chrono::DateTime;
use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Value};
use minijinja::{
    Environment, Error, ErrorKind, Output, State, UndefinedBehavior, escape_formatter,
};

use crate::error::TemplateError;

/// Largest template; the largest seen has 30 KiB.
const MAX_SOURCE_BYTES: usize = 256 << 10;

/// Longest rendered prompt: four times the longest text that is tokenised.
const MAX_OUTPUT_BYTES: usize = 4 << 20;

/// Steps of a render, one for about every instruction or 64 bytes: a template cannot use more than
/// 64 MiB. A conversation of 100 turns takes some thousand.
const FUEL: u64 = 1_000_000;

/// Deepest nesting of macros and loops. Each level takes stack, and a caller's thread may have
/// little of it; the deepest template seen needs nine.
const MAX_RECURSION: usize = 64;

/// Name under which the time of the render is kept, so that two renders agree on the date.
pub(crate) const NOW: &str = "__render_time";

/// A compiled template.
pub(crate) struct JinjaTemplate {
    environment: Environment<'static>,
}

/// The one template of an environment.
const NAME: &str = "chat_template";

impl JinjaTemplate {
    /// Compiles a template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::TooLarge`] and [`TemplateError::Syntax`].
    pub(crate) fn new(source: &str) -> Result<Self, TemplateError> {
        if source.len() > MAX_SOURCE_BYTES {
            return Err(TemplateError::TooLarge {
                found_bytes: source.len(),
                limit_bytes: MAX_SOURCE_BYTES,
            });
        }
        let syntax_error = |error: Error| TemplateError::Syntax {
            reason: error.to_string(),
        };
        let mut environment = Environment::new();
        let mut syntax = SyntaxConfig::builder();
        syntax.trim_blocks(true).lstrip_blocks(true);
        environment.set_syntax(syntax.build().map_err(syntax_error)?);
        environment.set_fuel(Some(FUEL));
        environment.set_recursion_limit(MAX_RECURSION);
        environment.set_undefined_behavior(UndefinedBehavior::Lenient);
        environment.set_formatter(format_as_python);
        environment.set_unknown_method_callback(python::call_method);
        environment.add_filter("tojson", to_json);
        environment.add_function("raise_exception", raise_exception);
        environment.add_function("strftime_now", strftime_now);
        let source = without_generation_tags(source).into_owned();
        environment
            .add_template_owned(NAME, source)
            .map_err(syntax_error)?;
        Ok(Self { environment })
    }

    /// Renders the template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Refused`] when the template raises, [`TemplateError::TooExpensive`] and
    /// [`TemplateError::OutputTooLong`] when it goes over a limit, [`TemplateError::Render`] when
    /// it fails otherwise.
    pub(crate) fn render(&self, context: &Value) -> Result<String, TemplateError> {
        let template = self.environment.get_template(NAME).map_err(render_error)?;
        let output = template.render(context).map_err(render_error)?;
        if output.len() > MAX_OUTPUT_BYTES {
            return Err(TemplateError::OutputTooLong {
                found_bytes: output.len(),
                limit_bytes: MAX_OUTPUT_BYTES,
            });
        }
        Ok(output)
    }
}

impl std::fmt::Debug for JinjaTemplate {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter
            .debug_struct("JinjaTemplate")
            .finish_non_exhaustive()
    }
}

/// What a template says with `raise_exception`.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Refusal(String);

fn raise_exception(message: String) -> Result<Value, Error> {
    let error = Error::new(
        ErrorKind::InvalidOperation,
        "the template raised an exception",
    );
    Err(error.with_source(Refusal(message)))
}

fn render_error(error: Error) -> TemplateError {
    if error.kind() == ErrorKind::OutOfFuel {
        return TemplateError::TooExpensive { budget: FUEL };
    }
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&error);
    while let Some(cause) = source {
        if let Some(Refusal(message)) = cause.downcast_ref() {
            return TemplateError::Refused {
                message: message.clone(),
            };
        }
        source = cause.source();
    }
    TemplateError::Render {
        reason: error.to_string(),
    }
}

/// Python prints local time; a server's answers should not depend on where it stands, so it is UTC.
fn strftime_now(state: &mut State, format: &str) -> Result<String, Error> {
    let wrong = |reason| Error::new(ErrorKind::InvalidOperation, reason);
    let now = state.lookup(NOW).and_then(|now| i64::try_from(now).ok());
    let now = DateTime::from_timestamp_secs(now.unwrap_or_default());
    let now = now.ok_or_else(|| wrong("the time of the render is no date".to_string()))?;
    let mut text = String::new();
    write!(text, "{}", now.format(format))
        .map_err(|_unknown| wrong(format!("strftime_now does not know all of `{format}`")))?;
    Ok(text)
}

/// The time of a render, in seconds, for [`NOW`].
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch
        .ok()
        .and_then(|time| i64::try_from(time.as_secs()).ok())
        .unwrap_or_default()
}

/// Prints truth and nothing as Python does.
fn format_as_python(output: &mut Output, state: &mut State, value: &Value) -> Result<(), Error> {
    if value.is_none() {
        return Ok(output.write_str("None")?);
    }
    match bool::try_from(value.clone()) {
        Ok(true) => Ok(output.write_str("True")?),
        Ok(false) => Ok(output.write_str("False")?),
        Err(_not_a_bool) => escape_formatter(output, state, value),
    }
}

/// `tojson` as `transformers` has it: Python's spacing, no escapes for HTML.
fn to_json(value: Value, options: Kwargs) -> Result<String, Error> {
    let indent: Option<usize> = options.get("indent")?;
    let is_ascii: Option<bool> = options.get("ensure_ascii")?;
    let is_sorted: Option<bool> = options.get("sort_keys")?;
    options.assert_all_used()?;
    if is_ascii == Some(true) {
        let reason = "tojson does not know ensure_ascii=true";
        return Err(Error::new(ErrorKind::InvalidOperation, reason));
    }
    let failed =
        |error: serde_json::Error| Error::new(ErrorKind::BadSerialization, error.to_string());
    let mut json = serde_json::to_value(&value).map_err(failed)?;
    if is_sorted == Some(true) {
        json.sort_all_objects();
    }
    python::to_json(&json, indent.map(|indent| indent.min(MAX_INDENT))).map_err(failed)
}

/// Widest indentation of `tojson`.
const MAX_INDENT: usize = 16;

/// `{% generation %}` marks answers for training and prints nothing; it becomes `{% if true %}`.
fn without_generation_tags(source: &str) -> Cow<'_, str> {
    if !source.contains("generation") {
        return Cow::Borrowed(source);
    }
    let mut output = String::with_capacity(source.len());
    let mut rest = source;
    while let Some(at) = rest.find("{%") {
        let (before, tag) = rest.split_at(at + "{%".len());
        output.push_str(before);
        let Some(end) = tag.find("%}") else {
            rest = tag;
            break;
        };
        let (tag, after) = tag.split_at(end);
        match tag.trim_matches(|c: char| c.is_whitespace() || c == '-' || c == '+') {
            "generation" => output.push_str(&tag.replace("generation", "if true")),
            "endgeneration" => output.push_str(&tag.replace("endgeneration", "endif")),
            _ => output.push_str(tag),
        }
        rest = after;
    }
    output.push_str(rest);
    Cow::Owned(output)
}

#[cfg(test)]
mod tests;
