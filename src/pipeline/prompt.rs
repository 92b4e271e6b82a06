//! From messages to what a decoder reads.

use super::image_rows::KeyedRows;
use super::question::QuestionReader;
use crate::error::{Result, TemplateError};
use crate::generation::{DecoderInput, InputImage};
use crate::kernels::{SplicedRows, VlmBackend};
use crate::models::{ImageLayout, ModelSpec};
use crate::text::{
    Bos, ChatOptions, ChatTemplate, ConversationTemplate, Ending, ImageTokens, Message, Prompt,
    PromptTokens, Tokenizer,
};

/// The name under which a request asks for the checkpoint's own template.
const OWN_TEMPLATE: &str = "chat_template";

/// What stands between messages and ids: the tokenizer of a model and its chat template.
#[derive(Debug)]
pub(super) struct TextProcessor {
    pub(super) tokenizer: Tokenizer,
    pub(super) chat_template: Option<ChatTemplate>,
    /// For a projector that reads the question.
    pub(super) question_reader: Option<QuestionReader>,
}

/// A prompt format.
enum Format<'a> {
    Own(&'a ChatTemplate),
    Named(&'static ConversationTemplate),
}

impl TextProcessor {
    /// Writes `messages` as ids, with places for pictures as `layouts` plan them.
    pub(super) fn prompt(
        &self,
        spec: &ModelSpec,
        template: Option<&str>,
        messages: &[Message],
        layouts: &[ImageLayout],
    ) -> Result<PromptTokens> {
        let vision = spec.config.vision.as_ref();
        let placeholder_id = vision.and_then(|vision| vision.image_token_id);
        let placeholder_id = placeholder_id.unwrap_or_default();
        let images: Vec<ImageTokens> = layouts.iter().map(|plan| plan.tokens.clone()).collect();
        let mut prompt = self.render(spec, template, messages)?;
        if spec.family.chat_bos == Bos::AfterImages {
            prompt = prompt.with_images_first();
        }
        prompt.tokenize(&self.tokenizer, &images, placeholder_id)
    }

    /// The question as the projector reads it; nothing where it does not.
    ///
    /// # Errors
    ///
    /// [`Error::ContextOverflow`](crate::Error::ContextOverflow) if it is longer than that can be.
    pub(super) fn question_ids(&self, question: &str) -> Result<Vec<u32>> {
        match &self.question_reader {
            Some(reader) => reader.ids(question),
            None => Ok(Vec::new()),
        }
    }

    /// The strings at which the format ends an answer.
    pub(super) fn stop_strings(
        &self,
        spec: &ModelSpec,
        template: Option<&str>,
    ) -> Result<&'static [&'static str]> {
        Ok(match self.format(spec, template)? {
            Format::Own(_) => &[],
            Format::Named(template) => template.stop,
        })
    }

    fn render(
        &self,
        spec: &ModelSpec,
        template: Option<&str>,
        messages: &[Message],
    ) -> Result<Prompt> {
        let ending = Ending::GenerationPrompt;
        let own = match self.format(spec, template)? {
            Format::Named(template) => return template.render(messages, ending),
            Format::Own(own) => own,
        };
        let vision = spec.config.vision.as_ref();
        let image_token = vision.and_then(|vision| vision.image_token_id);
        let image_token = image_token.and_then(|id| self.tokenizer.token_text(id));
        let options = ChatOptions {
            image_token: image_token.as_deref(),
            bos: spec.family.chat_bos,
            ending,
        };
        own.render(messages, &self.tokenizer, options)
    }

    fn format(&self, spec: &ModelSpec, template: Option<&str>) -> Result<Format<'_>> {
        match (template, &self.chat_template) {
            (None | Some(OWN_TEMPLATE), Some(own)) => Ok(Format::Own(own)),
            (Some(OWN_TEMPLATE), None) => Err(TemplateError::Missing {
                known: ConversationTemplate::names(),
            }
            .into()),
            (Some(name), _) => ConversationTemplate::by_name(name).map(Format::Named),
            (None, None) => {
                ConversationTemplate::by_name(spec.family.default_template).map(Format::Named)
            }
        }
    }
}

/// Joins ids and pictures; the spans of a picture take up its rows from first to last.
pub(super) fn decoder_input<B: VlmBackend>(
    tokens: &PromptTokens,
    images: &[KeyedRows<B>],
) -> DecoderInput<B> {
    let mut used = vec![0; images.len()];
    let images = tokens.image_spans.iter().map(|span| {
        let image = &images[span.image];
        let first = used[span.image];
        used[span.image] += span.len;
        InputImage {
            key: image.key,
            place: SplicedRows {
                start: span.start,
                rows: image.rows.clone().slice_dim(0, first..first + span.len),
            },
        }
    });
    DecoderInput {
        images: images.collect(),
        token_ids: tokens.ids.clone(),
    }
}
