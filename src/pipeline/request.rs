//! What is asked.

use std::time::Instant;

use crate::error::{RequestError, Result};
use crate::generation::{CancelToken, Interruption, LogitRules, Sampling};
use crate::image::ImageInput;
use crate::text::{Message, Part, Role};

/// Tokens of an answer where the request does not say.
pub const DEFAULT_MAX_NEW_TOKENS: usize = 256;

/// A question, its pictures, and how it is to be answered.
///
/// Pictures are [`ImageInput`]s, which are encoded for this request, or
/// [`EncodedImage`](super::EncodedImage)s, which were encoded before.
///
/// # Examples
/// ```no_run
/// use burn_vlm::{AskRequest, ImageInput};
///
/// let request = AskRequest::new()
///     .image(ImageInput::open("left.png")?)
///     .image(ImageInput::open("right.png")?)
///     .user("What changed between the two?")
///     .max_new_tokens(64);
/// # let _ = request;
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct AskRequest<I = ImageInput> {
    messages: Vec<IllustratedMessage<I>>,
    /// Pictures waiting for the user message they belong to.
    pending_images: Vec<I>,
    pub(super) settings: AnswerSettings,
}

/// A message and the pictures that were given with it, so that none can end up in another's place.
#[derive(Debug, Clone)]
struct IllustratedMessage<I> {
    message: Message,
    images: Vec<I>,
}

impl<I> From<Message> for IllustratedMessage<I> {
    fn from(message: Message) -> Self {
        Self {
            message,
            images: Vec::new(),
        }
    }
}

impl<I> IllustratedMessage<I> {
    /// # Errors
    /// [`RequestError::ImageCount`] if the message has room for another number of pictures.
    fn check(&self) -> Result<(), RequestError> {
        let (slots, images) = (self.message.num_images(), self.images.len());
        match slots == images {
            true => Ok(()),
            false => Err(RequestError::ImageCount { slots, images }),
        }
    }
}

/// How a request is to be answered.
#[derive(Debug, Clone, Default)]
pub(super) struct AnswerSettings {
    pub(super) template: Option<String>,
    pub(super) adapter: Option<String>,
    pub(super) sampling: Option<Sampling>,
    pub(super) rules: Option<LogitRules>,
    pub(super) max_new_tokens: Option<usize>,
    pub(super) stop: Vec<String>,
    pub(super) stop_token_ids: Vec<u32>,
    pub(super) seed: u64,
    pub(super) interruption: Interruption,
    pub(super) shows_control_tokens: bool,
}

impl AskRequest<ImageInput> {
    /// A request of one text and no picture.
    pub fn text(question: impl Into<String>) -> Self {
        Self::new().user(question)
    }
}

impl<I> Default for AskRequest<I> {
    fn default() -> Self {
        Self {
            messages: Vec::new(),
            pending_images: Vec::new(),
            settings: AnswerSettings::default(),
        }
    }
}

impl<I> AskRequest<I> {
    /// An empty request.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a picture in front of the text of the next user message.
    #[must_use]
    pub fn image(mut self, image: I) -> Self {
        self.pending_images.push(image);
        self
    }

    /// Adds a user message: the pictures added since the last one, and `text`.
    #[must_use]
    pub fn user(self, text: impl Into<String>) -> Self {
        self.user_message(Message::user(text))
    }

    /// As [`user`](Self::user), with what the question is about, such as a passage to summarise:
    /// see [`Part::Context`].
    #[must_use]
    pub fn user_about(self, text: impl Into<String>, context: impl Into<String>) -> Self {
        self.user_message(Message::user(text).with_context(context))
    }

    fn user_message(mut self, mut message: Message) -> Self {
        let images = std::mem::take(&mut self.pending_images);
        let places = vec![Part::Image; images.len()];
        message.parts.splice(0..0, places);
        self.message(message, images)
    }

    /// Adds an earlier answer.
    #[must_use]
    pub fn assistant(mut self, text: impl Into<String>) -> Self {
        self.messages.push(Message::assistant(text).into());
        self
    }

    /// Sets the system text, in place of the template's own.
    #[must_use]
    pub fn system(mut self, text: impl Into<String>) -> Self {
        self.messages
            .retain(|asked| asked.message.role != Role::System);
        self.messages.insert(0, Message::system(text).into());
        self
    }

    /// Adds a message whose parts are in an order of their own. Its pictures are `images`, one for
    /// each [`Part::Image`]; those that [`image`](Self::image) added wait for the next
    /// [`user`](Self::user). The checkpoint's own template keeps the order; those that go by a name
    /// put the pictures of a message first.
    #[must_use]
    pub fn message(mut self, message: Message, images: impl IntoIterator<Item = I>) -> Self {
        let images = images.into_iter().collect();
        self.messages.push(IllustratedMessage { message, images });
        self
    }

    /// Chooses the prompt format: a name of [`TEMPLATES`](crate::text::TEMPLATES), or
    /// `chat_template` for the checkpoint's own. Without it the checkpoint's own is used where
    /// there is one, else the family's usual one.
    #[must_use]
    pub fn template(mut self, name: impl Into<String>) -> Self {
        self.settings.template = Some(name.into());
        self
    }

    /// Answers with the adapter that was loaded
    /// [under this name](crate::LoadOptions::with_named_adapter); without this call with the weights
    /// alone, or in a session as its earlier turns.
    #[must_use]
    pub fn adapter(mut self, name: impl Into<String>) -> Self {
        self.settings.adapter = Some(name.into());
        self
    }

    /// How each token is chosen; without this call as the checkpoint's `generation_config.json`
    /// says, which is greedily where it says nothing.
    #[must_use]
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.settings.sampling = Some(sampling);
        self
    }

    /// What is done to the scores before a token is chosen, and nothing else; without this call what
    /// the checkpoint's `generation_config.json` says.
    #[must_use]
    pub fn rules(mut self, rules: LogitRules) -> Self {
        self.settings.rules = Some(rules);
        self
    }

    /// Most tokens of the answer. A prompt that leaves less room is an error; without this call
    /// the answer takes what room there is, up to what the checkpoint's `generation_config.json` says
    /// or else [`DEFAULT_MAX_NEW_TOKENS`].
    #[must_use]
    pub fn max_new_tokens(mut self, tokens: usize) -> Self {
        self.settings.max_new_tokens = Some(tokens);
        self
    }

    /// Adds a string that ends the answer in front of it, besides those of the template: at most 16
    /// together, each of at most 256 bytes.
    #[must_use]
    pub fn stop(mut self, stop: impl Into<String>) -> Self {
        self.settings.stop.push(stop.into());
        self
    }

    /// Adds a token id that ends the answer.
    #[must_use]
    pub fn stop_token_id(mut self, id: u32) -> Self {
        self.settings.stop_token_ids.push(id);
        self
    }

    /// Where the random numbers of sampling start; 0 by default. The same request with the same
    /// seed has the same answer, whatever runs beside it.
    #[must_use]
    pub fn seed(mut self, seed: u64) -> Self {
        self.settings.seed = seed;
        self
    }

    /// Writes the control tokens of the answer out as text: what a model that reads documents says
    /// in tags of its own is lost without. Without this call they are left out.
    #[must_use]
    pub fn show_control_tokens(mut self, are_shown: bool) -> Self {
        self.settings.shows_control_tokens = are_shown;
        self
    }

    /// When to give up: the answer is what there is by then.
    #[must_use]
    pub fn deadline(mut self, deadline: Instant) -> Self {
        self.settings.interruption.deadline = Some(deadline);
        self
    }

    /// Ends the answer when `cancel` is cancelled.
    #[must_use]
    pub fn cancel(mut self, cancel: CancelToken) -> Self {
        self.settings.interruption.cancel = cancel;
        self
    }

    /// The messages; pictures that no message followed stand in a user message of their own.
    ///
    /// # Errors
    /// [`RequestError::ImageCount`] if a message has room for another number of pictures than it was
    /// given.
    pub(super) fn all_messages(&self) -> Result<Vec<Message>> {
        let mut messages = Vec::new();
        for asked in &self.messages {
            asked.check()?;
            messages.push(asked.message.clone());
        }
        if !self.pending_images.is_empty() {
            let parts = vec![Part::Image; self.pending_images.len()];
            messages.push(Message {
                role: Role::User,
                parts,
            });
        }
        Ok(messages)
    }

    /// The pictures, in the order of their places in [`all_messages`](Self::all_messages).
    pub(super) fn images(&self) -> Vec<&I> {
        let placed = self.messages.iter().flat_map(|asked| &asked.images);
        placed.chain(&self.pending_images).collect()
    }

    /// The same request over other pictures.
    #[cfg(any(feature = "flex", feature = "wgpu", feature = "cuda"))]
    pub(super) fn map_images<J>(&self, map: impl Fn(&I) -> J) -> AskRequest<J> {
        let messages = self.messages.iter().map(|asked| IllustratedMessage {
            message: asked.message.clone(),
            images: asked.images.iter().map(&map).collect(),
        });
        AskRequest {
            messages: messages.collect(),
            pending_images: self.pending_images.iter().map(&map).collect(),
            settings: self.settings.clone(),
        }
    }
}
