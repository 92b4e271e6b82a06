//! A request before anything is computed for it: its prompt, its options, the plans of its pictures.

use super::encoded_image::RequestImage;
use super::load_options::KernelPolicy;
use super::multimodal::MultimodalPipeline;
use super::question::last_question;
use super::request::{AnswerSettings, AskRequest, DEFAULT_MAX_NEW_TOKENS};
use crate::error::{Error, Result};
use crate::generation::{GenerationOptions, Sampling, StopRules, check_room};
use crate::kernels::VlmBackend;
use crate::models::ImageLayout;
use crate::text::{Message, PromptTokens};

/// A request that was thought through: all that can be wrong with it was found, and nothing was
/// computed yet.
pub(super) struct RequestPlan {
    pub(super) prompt: PromptTokens,
    /// What a projector reads of the question.
    pub(super) question: Vec<u32>,
    pub(super) options: GenerationOptions,
    /// The adapter that answers, if one does.
    pub(super) adapter: Option<String>,
}

impl RequestPlan {
    /// Tokens that the cache has room for at first. Allocators reuse blocks of a size they know, so
    /// sizes come in steps; and few answers are as long as they may be.
    pub(super) fn expected_tokens(&self) -> usize {
        let new_tokens = self.options.max_new_tokens.min(DEFAULT_MAX_NEW_TOKENS);
        (self.prompt.ids.len() + new_tokens).next_multiple_of(64)
    }

    /// Slots that the answer takes: beams have one each, besides the prompt's and its origin's.
    pub(super) fn num_slots(&self) -> usize {
        match self.options.sampling {
            Sampling::Beam(options) => options.num_beams + 2,
            _ => 1,
        }
    }
}

impl<B: VlmBackend> MultimodalPipeline<B> {
    /// The plans of the pictures of a request.
    pub(super) fn layouts<I: RequestImage<B>>(&self, images: &[&I]) -> Result<Vec<ImageLayout>> {
        if !images.is_empty() && self.spec().config.vision.is_none() {
            return Err(self.text_only(images.len()));
        }
        images.iter().map(|image| image.plan(self)).collect()
    }

    /// Finds all that is wrong with a request before anything is computed for it.
    pub(super) fn plan_request<I: RequestImage<B>>(
        &self,
        request: &AskRequest<I>,
    ) -> Result<RequestPlan> {
        let messages = request.all_messages()?;
        let layouts = self.layouts(&request.images())?;
        self.plan(&messages, &layouts, &request.settings)
    }

    /// As [`plan_request`](Self::plan_request), for the messages of a whole conversation.
    pub(super) fn plan(
        &self,
        messages: &[Message],
        layouts: &[ImageLayout],
        settings: &AnswerSettings,
    ) -> Result<RequestPlan> {
        self.decoder(settings.adapter.as_deref())?;
        let prompt = self.tokenize(messages, layouts, settings)?;
        let options = self.generation_options(settings, prompt.ids.len())?;
        check_room(
            prompt.ids.len(),
            options.max_new_tokens,
            self.context_length(),
        )?;
        let vocab_size = self.spec().config.decoder.vocab_size;
        options.check::<B>(self.tokenizer(), vocab_size)?;
        let question = self.text_processor();
        let question = question.question_ids(&last_question(messages))?;
        Ok(RequestPlan {
            prompt,
            question,
            options,
            adapter: settings.adapter.clone(),
        })
    }

    pub(super) fn tokenize(
        &self,
        messages: &[Message],
        layouts: &[ImageLayout],
        settings: &AnswerSettings,
    ) -> Result<PromptTokens> {
        let template = settings.template.as_deref();
        let text_processor = self.text_processor();
        text_processor.prompt(self.spec(), template, messages, layouts)
    }

    fn generation_options(
        &self,
        settings: &AnswerSettings,
        prompt_tokens: usize,
    ) -> Result<GenerationOptions> {
        let (spec, text_processor) = (self.spec(), self.text_processor());
        let of_template = text_processor.stop_strings(spec, settings.template.as_deref())?;
        let of_checkpoint = &spec.generation;
        let mut stop_strings = settings.stop.clone();
        stop_strings.extend(of_template.iter().map(|stop| (*stop).to_string()));
        stop_strings.extend(of_checkpoint.stop_strings.iter().cloned());
        // `generate` of transformers never asks the tokenizer; here it is better than no end at all.
        let end_of_text_ids = match spec.config.eos_token_ids.as_slice() {
            [] => text_processor.tokenizer.eos_id().into_iter().collect(),
            ids => ids.to_vec(),
        };
        let rules = settings.rules.as_ref().unwrap_or(&of_checkpoint.rules);
        Ok(GenerationOptions {
            sampling: settings.sampling.unwrap_or(of_checkpoint.sampling),
            rules: rules.clone(),
            seed: settings.seed,
            max_new_tokens: self.max_new_tokens(settings.max_new_tokens, prompt_tokens)?,
            stop: StopRules {
                end_of_text_ids,
                stop_token_ids: settings.stop_token_ids.clone(),
                stop_strings,
            },
            interruption: settings.interruption.clone(),
            shows_control_tokens: settings.shows_control_tokens,
            is_strict: self.kernel_policy() == KernelPolicy::Strict,
        })
    }

    /// The room that was asked for, or what there is of the one that the checkpoint names, or of the
    /// usual one.
    fn max_new_tokens(&self, asked: Option<usize>, prompt_tokens: usize) -> Result<usize> {
        if let Some(asked) = asked {
            return Ok(asked);
        }
        let of_checkpoint = &self.spec().generation;
        let usual = match (of_checkpoint.max_new_tokens, of_checkpoint.max_length) {
            (Some(tokens), _) => tokens,
            (None, Some(length)) if length > prompt_tokens => length - prompt_tokens,
            (None, Some(context_length)) => {
                return Err(Error::ContextOverflow {
                    prompt_tokens,
                    max_new_tokens: 1,
                    context_length,
                });
            }
            (None, None) => DEFAULT_MAX_NEW_TOKENS,
        };
        // The last token of an answer is never read back.
        let room = (self.context_length() + 1).saturating_sub(prompt_tokens);
        Ok(usual.min(room).max(1))
    }
}
