//! The checkpoint's own prompt format: a Jinja template that ships beside the weights.

mod marks;
mod source;

use std::path::Path;

use minijinja::value::Value;

use self::marks::Marks;
use super::control_tokens::{ControlToken, ControlTokens};
use super::conversation::{Ending, Message, Part, Role, check_content};
use super::jinja::{self, JinjaTemplate};
use super::prompt::{Bos, MAX_TEXT_BYTES, Piece, Prompt};
use super::tokenizer::Tokenizer;
use crate::error::{RequestError, Result, TemplateError};

/// The chat template of a checkpoint.
///
/// It renders as `transformers` does, with two differences: a template may use a bounded amount of
/// work and memory, and what a message says never becomes a control token or a picture.
///
/// The text of each message is rendered between marks that occur nowhere else, so that afterwards
/// it is known who wrote what. Where a template looks into the text (it splits it, or asks how it
/// begins), marks would mislead it; this shows by comparison with a render without marks, and then
/// only the control tokens spelled in messages are marked.
#[derive(Debug)]
pub struct ChatTemplate {
    template: JinjaTemplate,
    source: String,
    forms: ContentForms,
}

/// How to render a chat template.
#[derive(Debug, Clone, Copy)]
pub struct ChatOptions<'a> {
    /// How the template spells a picture, for a model that has eyes.
    pub image_token: Option<&'a str>,
    /// Whether the tokenizer's bos is put in front of what the template wrote:
    /// [`Bos::UnlessWritten`] as a processor does, [`Bos::OnlyWritten`] as a tokenizer does.
    pub bos: Bos,
    /// How the conversation ends.
    pub ending: Ending,
}

/// Which forms of a message's content the template reads.
#[derive(Debug, Clone, Copy)]
struct ContentForms {
    text: bool,
    parts: bool,
}

/// The form of a message's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentForm {
    /// One string.
    Text,
    /// A list of `{"type": "text", "text": ..}` and `{"type": "image"}`.
    Parts,
}

impl ChatTemplate {
    /// Opens the chat template of a model folder, or returns `None` where there is none.
    ///
    /// Looks into `chat_template.jinja`, `chat_template.json`, `processor_config.json` and
    /// `tokenizer_config.json`; of several templates takes the one named `default`.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] when the template is too long, is not Jinja, or none of several is named
    /// `default`; [`Error::Io`](crate::Error::Io) when a file cannot be read.
    pub fn open(folder: &Path) -> Result<Option<Self>> {
        source::find(folder)?
            .map(|source| Self::new(&source))
            .transpose()
    }

    /// Compiles a chat template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::TooLarge`] and [`TemplateError::Syntax`].
    pub fn new(source: &str) -> Result<Self> {
        let template = JinjaTemplate::new(source)?;
        let forms = ContentForms::probe(&template);
        Ok(Self {
            template,
            source: source.to_string(),
            forms,
        })
    }

    /// The template's text.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// Writes a conversation as a prompt.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] when the template fails, refuses the messages or goes over a limit;
    /// [`RequestError`] when nothing is asked, the text is too long, or an open answer does not end
    /// with the assistant.
    pub fn render(
        &self,
        messages: &[Message],
        tokenizer: &Tokenizer,
        options: ChatOptions<'_>,
    ) -> Result<Prompt> {
        check_content(messages)?;
        check_length(messages)?;
        let (messages, ending) = open_answer(messages, options.ending)?;
        let render = Render {
            template: self,
            messages,
            tokenizer,
            image_token: options.image_token,
            adds_generation_prompt: ending == Ending::GenerationPrompt,
            form: self.forms.choose(messages),
            now: jinja::now(),
        };
        let mut pieces = render.pieces()?;
        if ending == Ending::OpenAnswer {
            cut_behind_last_message(&mut pieces)?;
        }
        Ok(Prompt::new(
            number_images(pieces, options.image_token),
            options.bos,
        ))
    }
}

/// An open answer without a word is the generation prompt.
fn open_answer(messages: &[Message], ending: Ending) -> Result<(&[Message], Ending), RequestError> {
    let Some((last, before)) = messages.split_last() else {
        return Err(RequestError::Empty);
    };
    match ending {
        Ending::GenerationPrompt | Ending::Closed => Ok((messages, ending)),
        Ending::OpenAnswer if last.role != Role::Assistant => Err(RequestError::RoleOrder {
            index: before.len(),
            found: last.role.as_str(),
            expected: Role::Assistant.as_str(),
        }),
        Ending::OpenAnswer if last.text().trim().is_empty() => {
            Ok((before, Ending::GenerationPrompt))
        }
        Ending::OpenAnswer => Ok((messages, ending)),
    }
}

/// A text beyond the limit would be rendered twice only to be refused.
fn check_length(messages: &[Message]) -> Result<(), RequestError> {
    let said = messages.iter().flat_map(|message| &message.parts);
    let found_bytes = said.map(|part| text_of_part(part).len()).sum();
    if found_bytes > MAX_TEXT_BYTES {
        return Err(RequestError::TooLong {
            found_bytes,
            limit_bytes: MAX_TEXT_BYTES,
        });
    }
    Ok(())
}

fn cut_behind_last_message(pieces: &mut Vec<Piece>) -> Result<(), TemplateError> {
    let is_said = |piece: &Piece| matches!(piece, Piece::Message(text) if !text.is_empty());
    let last = pieces
        .iter()
        .rposition(is_said)
        .ok_or_else(|| TemplateError::Render {
            reason: "it does not show the answer to go on with".to_string(),
        })?;
    pieces.truncate(last + 1);
    Ok(())
}

/// Turns each picture token that the template wrote into the place of the next picture.
fn number_images(pieces: Vec<Piece>, image_token: Option<&str>) -> Vec<Piece> {
    let Some(image_token) = image_token.filter(|token| !token.is_empty()) else {
        return pieces;
    };
    let mut numbered = Vec::with_capacity(pieces.len());
    let mut num_images = 0;
    for piece in pieces {
        let Piece::Template(text) = piece else {
            numbered.push(piece);
            continue;
        };
        for (index, text) in text.split(image_token).enumerate() {
            if index > 0 {
                numbered.push(Piece::Image(num_images));
                num_images += 1;
            }
            if !text.is_empty() {
                numbered.push(Piece::Template(text.to_string()));
            }
        }
    }
    numbered
}

impl ContentForms {
    /// Tries both forms with a word and looks whether it comes out, and nothing of the list itself.
    fn probe(template: &JinjaTemplate) -> Self {
        const WORD: &str = "prqzx";
        let render = |content: Value| {
            let message = Value::from_pairs([("role", Value::from("user")), ("content", content)]);
            let named = [
                ("bos_token", ""),
                ("eos_token", ""),
                ("unk_token", ""),
                ("pad_token", ""),
            ];
            let context = context(vec![message], true, jinja::now(), named);
            template
                .render(&context)
                .ok()
                .filter(|output| output.contains(WORD))
        };
        let part = Value::from_pairs([("type", Value::from("text")), ("text", Value::from(WORD))]);
        let parts = render(Value::from(vec![part]));
        Self {
            text: render(Value::from(WORD)).is_some(),
            parts: parts.is_some_and(|output| {
                !["'type'", "\"type\""]
                    .iter()
                    .any(|key| output.contains(key))
            }),
        }
    }

    /// Pictures need parts where the template reads them; text alone is most often one string.
    fn choose(self, messages: &[Message]) -> ContentForm {
        let has_images = messages.iter().any(|message| message.num_images() > 0);
        match self {
            Self { parts: true, .. } if has_images => ContentForm::Parts,
            Self {
                text: false,
                parts: true,
            } => ContentForm::Parts,
            Self { .. } => ContentForm::Text,
        }
    }
}

/// The variables of a render.
fn context<'a>(
    messages: Vec<Value>,
    adds_generation_prompt: bool,
    now: i64,
    named: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Value {
    let context = [
        ("messages", Value::from(messages)),
        ("add_generation_prompt", Value::from(adds_generation_prompt)),
        ("tools", Value::from(())),
        ("documents", Value::from(())),
        (jinja::NOW, Value::from(now)),
    ];
    let named = named
        .into_iter()
        .map(|(name, token)| (name, Value::from(token)));
    Value::from_pairs(context.into_iter().chain(named))
}

/// One conversation on its way through a template.
struct Render<'a> {
    template: &'a ChatTemplate,
    messages: &'a [Message],
    tokenizer: &'a Tokenizer,
    image_token: Option<&'a str>,
    adds_generation_prompt: bool,
    form: ContentForm,
    now: i64,
}

impl Render<'_> {
    fn pieces(&self) -> Result<Vec<Piece>> {
        let parts = self.messages.iter().flat_map(|message| &message.parts);
        let texts = parts.map(text_of_part);
        let marks = Marks::absent_from(texts.chain([self.template.source.as_str()]))?;
        let unmarked = self.render(str::to_string)?;
        let marked = self.render(|text| marks.around(text));
        if let Some(pieces) = marked.ok().and_then(|output| marks.split_whole(&output))
            && text_of(&pieces) == unmarked
        {
            return Ok(pieces);
        }
        log::debug!("the chat template looks into messages; marking their control tokens only");
        let forbidden = self.forbidden_tokens();
        let output = self.render(|text| marks.around_tokens(text, &forbidden))?;
        Ok(marks.split_tokens(&output, &forbidden))
    }

    fn render(&self, mark: impl Fn(&str) -> String) -> Result<String, TemplateError> {
        let messages = self.messages.iter().map(|message| {
            let content = match self.form {
                ContentForm::Text => self.content_text(message, &mark),
                ContentForm::Parts => content_parts(message, &mark),
            };
            let role = Value::from(message.role.as_str());
            Value::from_pairs([("role", role), ("content", content)])
        });
        let context = context(
            messages.collect(),
            self.adds_generation_prompt,
            self.now,
            self.tokenizer.named_tokens(),
        );
        self.template.template.render(&context)
    }

    fn content_text(&self, message: &Message, mark: impl Fn(&str) -> String) -> Value {
        let parts = message.parts.iter().map(|part| match part {
            Part::Text(text) | Part::Context(text) => mark(text),
            Part::Image => self.image_token.unwrap_or_default().to_string(),
        });
        Value::from(parts.collect::<Vec<_>>().join("\n"))
    }

    /// Everything that no message may spell.
    fn forbidden_tokens(&self) -> ControlTokens {
        let known = self
            .tokenizer
            .control_tokens()
            .iter()
            .map(|token| token.content.as_str());
        let forbidden = known.chain(self.image_token);
        ControlTokens::new(
            forbidden
                .map(|content| ControlToken::new(0, content))
                .collect(),
        )
    }
}

fn content_parts(message: &Message, mark: impl Fn(&str) -> String) -> Value {
    let parts = message.parts.iter().map(|part| match part {
        Part::Text(text) | Part::Context(text) => Value::from_pairs([
            ("type", Value::from("text")),
            ("text", Value::from(mark(text))),
        ]),
        Part::Image => Value::from_pairs([("type", Value::from("image"))]),
    });
    Value::from(parts.collect::<Vec<_>>())
}

fn text_of_part(part: &Part) -> &str {
    match part {
        Part::Text(text) | Part::Context(text) => text,
        Part::Image => "",
    }
}

fn text_of(pieces: &[Piece]) -> String {
    let texts = pieces.iter().map(|piece| match piece {
        Piece::Template(text) | Piece::Message(text) => text.as_str(),
        Piece::Image(_) | Piece::Bos | Piece::Eos => "",
    });
    texts.collect()
}

#[cfg(test)]
mod tests;
