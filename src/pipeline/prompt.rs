//! From messages to what a decoder reads.

use super::encoded_image::EncodedImage;
use crate::error::{RequestError, Result, TemplateError};
use crate::generation::{DecoderInput, InputImage};
use crate::kernels::VlmBackend;
use crate::models::ModelSpec;
use crate::text::{
    Bos, ChatOptions, ChatTemplate, ConversationTemplate, Ending, ImageTokens, Message, Prompt,
    PromptTokens, Tokenizer,
};

/// The name under which a request asks for the checkpoint's own template.
const OWN_TEMPLATE: &str = "chat_template";

/// The words of a model: its tokenizer and its prompt formats.
#[derive(Debug)]
pub(super) struct Words {
    pub(super) tokenizer: Tokenizer,
    pub(super) chat_template: Option<ChatTemplate>,
}

/// A prompt format.
enum Format<'a> {
    Own(&'a ChatTemplate),
    Named(&'static ConversationTemplate),
}

impl Words {
    /// Writes `messages` as ids, with places for pictures of `rows[i]` rows each.
    pub(super) fn prompt(
        &self,
        spec: &ModelSpec,
        template: Option<&str>,
        messages: &[Message],
        rows: &[usize],
    ) -> Result<PromptTokens> {
        let vision = spec.config.vision.as_ref();
        if vision.is_none() && !rows.is_empty() {
            let model = spec.family.name.to_string();
            return Err(RequestError::TextOnlyModel {
                images: rows.len(),
                model,
            }
            .into());
        }
        let placeholder_id = vision.map_or(0, |vision| vision.image_token_id);
        let images: Vec<ImageTokens> = rows.iter().map(|rows| ImageTokens::rows(*rows)).collect();
        let prompt = self.render(spec, template, messages)?;
        prompt.tokenize(&self.tokenizer, &images, placeholder_id)
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
        let image_token =
            vision.and_then(|vision| self.tokenizer.token_text(vision.image_token_id));
        // A processor puts the bos in front unless the template wrote it; a tokenizer leaves the
        // whole prompt to the template.
        let bos = if vision.is_some() {
            Bos::UnlessWritten
        } else {
            Bos::OnlyWritten
        };
        let options = ChatOptions {
            image_token: image_token.as_deref(),
            bos,
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
    tokens: PromptTokens,
    images: &[EncodedImage<B>],
) -> DecoderInput<B> {
    let mut used = vec![0; images.len()];
    let images = tokens.image_spans.iter().map(|span| {
        let image = &images[span.image];
        let first = used[span.image];
        used[span.image] += span.len;
        InputImage {
            key: image.key(),
            start: span.start,
            rows: image.rows().slice_dim(0, first..first + span.len),
        }
    });
    DecoderInput {
        images: images.collect(),
        token_ids: tokens.ids,
    }
}
