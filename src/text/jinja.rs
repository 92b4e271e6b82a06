//! Jinja as Hugging Face sets it up, written for templates that come from strangers.
//!
//! Three things no engine for honest templates gives, and each needs to know every operation of
//! every value:
//!
//! * **Who wrote what.** Each string knows which of its parts the template's literals wrote and
//!   which came from a message, whatever was done to them in between; see [`Text`](text::Text).
//! * **What it costs.** Work and memory are charged to a [`Meter`](meter::Meter) before they are
//!   spent. Expressions, blocks and values are bounded in depth, no value holds itself, and all of it
//!   runs on a stack of its own.
//! * **Python's answer or none.** What this engine lacks is
//!   [`TemplateError::Unsupported`], never another answer.

mod attributes;
mod calls;
mod checks;
mod compare;
mod filter_names;
mod filters;
mod format;
mod globals;
mod interpreter;
mod json;
mod lexer;
mod meter;
mod methods;
mod operators;
mod parser;
mod print;
mod strings;
mod syntax;
mod text;
mod value;

use std::sync::Arc;
use std::thread;
use std::time::SystemTime;

use self::interpreter::Interpreter;
use self::meter::Meter;
use self::syntax::Template;
pub(crate) use self::text::Author;
use self::text::{Text, TextBuilder};
use self::value::{Dict, Value};
use crate::error::{TemplateError, visible_line};

/// Largest template; the largest seen has 30 KiB.
const MAX_SOURCE_BYTES: usize = 256 << 10;

/// Stack of a render. Only what is used of it becomes memory.
const STACK_BYTES: usize = 64 << 20;

/// A compiled template.
#[derive(Debug)]
pub(crate) struct JinjaTemplate {
    template: Template,
}

/// What a template is given.
#[derive(Debug, Clone)]
pub(crate) enum Data {
    None,
    Bool(bool),
    /// A text in parts of one author each.
    Text(Vec<(String, Author)>),
    List(Vec<Data>),
    Dict(Vec<(&'static str, Data)>),
}

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
        let template = on_own_stack(|| parser::parse(source))?;
        Ok(Self { template })
    }

    /// Renders the template: the text, in parts of one author each. A part may be empty.
    ///
    /// # Errors
    ///
    /// [`TemplateError::Refused`] when the template raises, [`TemplateError::TooExpensive`] and
    /// [`TemplateError::OutputTooLong`] when it goes over a limit, [`TemplateError::Unsupported`]
    /// when it needs what this engine lacks, [`TemplateError::Render`] when it fails otherwise.
    pub(crate) fn render(
        &self,
        variables: Vec<(&str, Data)>,
        now: i64,
    ) -> Result<Vec<(String, Author)>, TemplateError> {
        on_own_stack(|| {
            let meter = Meter::new();
            let mut given = Vec::new();
            for (name, data) in variables {
                given.push((Arc::from(name), data.into_value(&meter)?));
            }
            let mut interpreter = Interpreter::new(&self.template, given, now, &meter);
            let text = interpreter.run();
            let text = text.map_err(|error| at_line(error, interpreter.line()))?;
            let runs = text.runs().map(|(part, author)| (part.to_string(), author));
            Ok(runs.collect())
        })
    }
}

/// Runs `work` where the depth that a template may have fits, whatever the caller's stack.
fn on_own_stack<T: Send>(
    work: impl FnOnce() -> Result<T, TemplateError> + Send,
) -> Result<T, TemplateError> {
    let failed = |reason: &str| TemplateError::Render {
        reason: reason.to_string(),
    };
    thread::scope(|scope| {
        let builder = thread::Builder::new().name("jinja".to_string());
        let thread = builder.stack_size(STACK_BYTES).spawn_scoped(scope, work);
        let thread = thread.map_err(|error| failed(&format!("it gets no thread: {error}")))?;
        let result = thread.join();
        result.map_err(|_panic| failed("the engine panicked, which is a bug in it"))?
    })
}

/// Says where a template failed.
fn at_line(error: TemplateError, line: u32) -> TemplateError {
    match error {
        TemplateError::Render { reason } => TemplateError::Render {
            reason: format!("line {line}: {reason}"),
        },
        TemplateError::Unsupported { feature } => TemplateError::Unsupported {
            feature: format!("{feature} (line {line})"),
        },
        other => other,
    }
}

/// As much of an untrusted text as an error repeats.
fn excerpt(text: &str) -> String {
    visible_line(text).to_string()
}

impl Data {
    /// Text that the caller or the checkpoint wrote, so that control tokens in it count.
    pub(crate) fn trusted(text: &str) -> Self {
        Self::Text(vec![(text.to_string(), Author::Template)])
    }

    fn into_value(self, meter: &Meter) -> Result<Value, TemplateError> {
        Ok(match self {
            Self::None => Value::None,
            Self::Bool(value) => Value::Bool(value),
            Self::Text(parts) => {
                let mut builder = TextBuilder::new(meter);
                for (part, author) in parts {
                    builder.push(&part, author)?;
                }
                Value::Str(builder.finish())
            }
            Self::List(items) => {
                let items = items.into_iter().map(|item| item.into_value(meter));
                Value::list(items.collect::<Result<_, _>>()?, meter)?
            }
            Self::Dict(entries) => {
                let mut pairs = Vec::new();
                for (name, value) in entries {
                    let key = Text::new(name, Author::Template, meter)?;
                    pairs.push((Value::Str(key), value.into_value(meter)?));
                }
                Value::Dict(Dict::new(pairs, meter)?)
            }
        })
    }
}

/// The time of a render, in seconds.
pub(crate) fn now() -> i64 {
    let since_epoch = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since_epoch
        .ok()
        .and_then(|time| i64::try_from(time.as_secs()).ok())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
