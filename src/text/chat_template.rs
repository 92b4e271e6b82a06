//! The checkpoint's own prompt format: a Jinja template that ships beside the weights.

mod source;

use std::ops::Range;
use std::path::Path;

use super::conversation::{Ending, Message, Part, Role, check_content};
use super::jinja::{self, Author, Data, JinjaTemplate};
use super::prompt::{Bos, MAX_TEXT_BYTES, Piece, Prompt};
use super::tokenizer::Tokenizer;
use crate::error::{RequestError, Result, TemplateError};

/// The chat template of a checkpoint.
///
/// It renders as `transformers` does or, where this crate lacks what the template needs, not at all;
/// with two differences: a template may use a bounded amount of work and memory, and what a message
/// says never becomes a control token or a picture. Every piece of text keeps its author through
/// whatever the template does to it, and only what the template itself or the caller wrote counts.
/// What takes the place of a message's text (`replace`) and what is computed of it (its length)
/// does not.
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
    /// Looks where `transformers` 5 does: for a model that `reads_pictures` into `processor_config.json`,
    /// `chat_template.json`, `chat_template.jinja`, `additional_chat_templates/default.jinja` and
    /// `tokenizer_config.json`, in this order; for another as its tokenizer does, into the additional
    /// one, `chat_template.jinja` and `tokenizer_config.json`. Of several templates in a file it takes
    /// the one named `default`.
    ///
    /// # Errors
    ///
    /// [`TemplateError`] when the template is too long, is not Jinja, or none of several is named
    /// `default`; [`Error::Io`](crate::Error::Io) when a file cannot be read.
    pub fn open(folder: &Path, reads_pictures: bool) -> Result<Option<Self>> {
        source::find(folder, reads_pictures)?
            .map(|source| Self::new(&source))
            .transpose()
    }

    /// Compiles a chat template.
    ///
    /// # Errors
    ///
    /// [`TemplateError::TooLarge`], [`TemplateError::Syntax`], [`TemplateError::Unsupported`], and
    /// [`TemplateError::TooExpensive`] when a word alone takes too much.
    pub fn new(source: &str) -> Result<Self> {
        let template = JinjaTemplate::new(source)?;
        let forms = ContentForms::probe(&template)?;
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
        };
        let mut parts = render.parts()?;
        check_told_apart(&parts, tokenizer, options.image_token)?;
        if ending == Ending::OpenAnswer {
            cut_behind_last_message(&mut parts, messages.len() - 1)?;
        }
        let pieces = parts.into_iter().map(|(text, author)| match author {
            Author::Template => Piece::Template(text),
            Author::Message(_) | Author::Computed => Piece::Message(text),
        });
        Ok(Prompt::new(
            number_images(pieces.collect(), options.image_token),
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

/// A text beyond the limit would be rendered only to be refused.
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

/// Refuses what is a control token only together with what was computed: where `transformers` finds
/// one in `<|{{ number }}|>`, text would be another answer, and a token could be the user's choice.
fn check_told_apart(
    parts: &[(String, Author)],
    tokenizer: &Tokenizer,
    image_token: Option<&str>,
) -> Result<(), TemplateError> {
    let is_said = |part: &(String, Author)| matches!(part.1, Author::Message(_));
    for parts in parts.chunk_by(|left, right| !is_said(left) && !is_said(right)) {
        if !parts.iter().any(|(_, author)| *author == Author::Computed) {
            continue;
        }
        let (mut text, mut computed) = (String::new(), Vec::new());
        for (part, author) in parts {
            let start = text.len();
            text.push_str(part);
            computed.extend((*author == Author::Computed).then_some(start..text.len()));
        }
        let whole = 0..text.len();
        let tokens = tokenizer.control_tokens();
        let tokens = tokens.find(&text, std::slice::from_ref(&whole)).into_iter();
        let images = image_token.filter(|token| !token.is_empty()).into_iter();
        let images = images.flat_map(|token| text.match_indices(token));
        let images = images.map(|(at, token)| at..at + token.len());
        for found in tokens.map(|token| token.range).chain(images) {
            // Tokens of white space, and white space that tokens swallow, say nothing.
            let start = found.end - text[found.clone()].trim_start().len();
            let end = start + text[start..found.end].trim_end().len();
            let touches = |part: &Range<usize>| match part.is_empty() {
                true => start < part.start && part.start < end,
                false => part.start < end && start < part.end,
            };
            if computed.iter().any(touches) {
                return Err(TemplateError::Unsupported {
                    feature: format!("a computed part in the token {}", &text[start..end]),
                });
            }
        }
    }
    Ok(())
}

fn cut_behind_last_message(
    parts: &mut Vec<(String, Author)>,
    index: usize,
) -> Result<(), TemplateError> {
    let is_said =
        |(text, author): &(String, Author)| *author == Author::Message(index) && !text.is_empty();
    let last = parts
        .iter()
        .rposition(is_said)
        .ok_or_else(|| TemplateError::Render {
            reason: "it does not show the answer to go on with".to_string(),
        })?;
    parts.truncate(last + 1);
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
    fn probe(template: &JinjaTemplate) -> Result<Self, TemplateError> {
        const WORD: &str = "prqzx";
        let render = |content: Data| {
            let message = Data::Dict(vec![("role", Data::trusted("user")), ("content", content)]);
            let named = ["bos_token", "eos_token", "unk_token", "pad_token"].map(|name| (name, ""));
            let output = template.render(context(vec![message], true, named), jinja::now());
            match output {
                Err(error @ TemplateError::TooExpensive { .. }) => Err(error),
                Err(_does_not_read_it) => Ok(None),
                Ok(parts) => {
                    let text: String = parts.into_iter().map(|(text, _)| text).collect();
                    Ok(Some(text).filter(|text| text.contains(WORD)))
                }
            }
        };
        let text = Data::trusted(WORD);
        let part = Data::Dict(vec![
            ("type", Data::trusted("text")),
            ("text", text.clone()),
        ]);
        let parts = render(Data::List(vec![part]))?;
        let shows_list = |text: &String| text.contains("'type'") || text.contains("\"type\"");
        Ok(Self {
            text: render(text)?.is_some(),
            parts: parts.is_some_and(|text| !shows_list(&text)),
        })
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
    messages: Vec<Data>,
    adds_generation_prompt: bool,
    named: impl IntoIterator<Item = (&'a str, &'a str)>,
) -> Vec<(&'a str, Data)> {
    let context = [
        ("messages", Data::List(messages)),
        ("add_generation_prompt", Data::Bool(adds_generation_prompt)),
        ("tools", Data::None),
        ("documents", Data::None),
    ];
    let named = named
        .into_iter()
        .map(|(name, token)| (name, Data::trusted(token)));
    context.into_iter().chain(named).collect()
}

/// One conversation on its way through a template.
struct Render<'a> {
    template: &'a ChatTemplate,
    messages: &'a [Message],
    tokenizer: &'a Tokenizer,
    image_token: Option<&'a str>,
    adds_generation_prompt: bool,
    form: ContentForm,
}

impl Render<'_> {
    fn parts(&self) -> Result<Vec<(String, Author)>, TemplateError> {
        let messages = self.messages.iter().enumerate().map(|(index, message)| {
            let author = Author::Message(index);
            let content = match self.form {
                ContentForm::Text => self.content_text(message, author),
                ContentForm::Parts => content_parts(message, author),
            };
            let role = Data::trusted(message.role.as_str());
            Data::Dict(vec![("role", role), ("content", content)])
        });
        let context = context(
            messages.collect(),
            self.adds_generation_prompt,
            self.tokenizer.named_tokens(),
        );
        self.template.template.render(context, jinja::now())
    }

    /// The parts of a message, one a line.
    fn content_text(&self, message: &Message, author: Author) -> Data {
        let mut text = Vec::new();
        for (index, part) in message.parts.iter().enumerate() {
            if index > 0 {
                text.push(("\n".to_string(), Author::Computed));
            }
            text.push(match part {
                Part::Text(said) | Part::Context(said) => (said.clone(), author),
                Part::Image => (
                    self.image_token.unwrap_or_default().to_string(),
                    Author::Template,
                ),
            });
        }
        Data::Text(text)
    }
}

fn content_parts(message: &Message, author: Author) -> Data {
    let parts = message.parts.iter().map(|part| match part {
        Part::Text(text) | Part::Context(text) => Data::Dict(vec![
            ("type", Data::trusted("text")),
            ("text", Data::Text(vec![(text.clone(), author)])),
        ]),
        Part::Image => Data::Dict(vec![("type", Data::trusted("image"))]),
    });
    Data::List(parts.collect())
}

fn text_of_part(part: &Part) -> &str {
    match part {
        Part::Text(text) | Part::Context(text) => text,
        Part::Image => "",
    }
}

#[cfg(test)]
mod tests;
