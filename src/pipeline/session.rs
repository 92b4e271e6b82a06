//! A conversation that keeps its cache.

use super::answer::Answer;
use super::encoded_image::{EncodedImage, RequestImage};
use super::multimodal::MultimodalPipeline;
use super::request::AskRequest;
use super::stream::AnswerStream;
use crate::error::{RequestError, Result};
use crate::generation::{FinishReason, Sequence};
use crate::kernels::VlmBackend;
use crate::models::ImageLayout;
use crate::text::{Message, check_content};

/// Tokens that a new session has room for: a few turns.
const EXPECTED_TOKENS: usize = 512;

/// A conversation. Each turn reads only what is new; the answer is the one that the whole
/// conversation, asked afresh, would get.
///
/// It may move to another thread between two steps. Its cache grows with what is said, up to the
/// pipeline's context.
///
/// # Examples
/// ```no_run
/// # use burn_vlm::{AskRequest, ImageInput, MultimodalPipeline, backend::Cpu};
/// # let pipeline = MultimodalPipeline::<Cpu>::open("models/llava", &Default::default())?;
/// let photo = pipeline.encode(&ImageInput::open("photo.jpg")?)?;
/// let mut session = pipeline.session();
/// session.turn(&AskRequest::new().image(photo).user("What is in this picture?"))?;
/// let answer = session.ask("And how many are there?")?;
/// # let _ = answer;
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug)]
pub struct Session<B: VlmBackend> {
    pipeline: MultimodalPipeline<B>,
    sequence: Sequence<B>,
    /// The adapter that what the sequence holds was read with.
    read_with: Option<String>,
    history: History<B>,
}

/// What was said so far, and the pictures shown.
#[derive(Debug, Clone)]
struct History<B: VlmBackend> {
    messages: Vec<Message>,
    images: Vec<EncodedImage<B>>,
    /// Where each turn began.
    turns: Vec<TurnStart>,
    /// The adapter that all turns are answered with, if one is.
    adapter: Option<String>,
}

/// What was there when a turn began.
#[derive(Debug, Clone, Copy)]
struct TurnStart {
    num_messages: usize,
    num_images: usize,
}

impl<B: VlmBackend> Session<B> {
    pub(super) fn new(pipeline: MultimodalPipeline<B>) -> Self {
        let sequence = pipeline.sequence(EXPECTED_TOKENS);
        Self {
            sequence,
            read_with: None,
            pipeline,
            history: History {
                messages: Vec::new(),
                images: Vec::new(),
                turns: Vec::new(),
                adapter: None,
            },
        }
    }

    /// Asks one more question, answered as the checkpoint's `generation_config.json` says: greedily
    /// where it says nothing.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn).
    pub fn ask(&mut self, question: &str) -> Result<Answer> {
        self.turn(&AskRequest::<EncodedImage<B>>::new().user(question))
    }

    /// Adds the request's messages to the conversation and answers.
    ///
    /// A turn that was cancelled or ran into its deadline keeps what it answered until then; one
    /// that said nothing leaves no trace.
    ///
    /// # Errors
    ///
    /// As [`MultimodalPipeline::answer`]. A turn that fails leaves no trace, and the session goes
    /// on from where it was.
    pub fn turn<I: RequestImage<B>>(&mut self, request: &AskRequest<I>) -> Result<Answer> {
        self.stream(request)?.finish()
    }

    /// As [`turn`](Self::turn), piece by piece. What was written when the stream is dropped counts
    /// as the answer.
    ///
    /// # Errors
    ///
    /// As [`turn`](Self::turn); what goes wrong later comes from the stream.
    pub fn stream<I: RequestImage<B>>(
        &mut self,
        request: &AskRequest<I>,
    ) -> Result<SessionStream<'_, B>> {
        let (asked, images) = (request.all_messages()?, request.images());
        check_content(&asked)?;
        let earlier = self.history.images.clone();
        let mut layouts: Vec<ImageLayout> =
            earlier.iter().map(|image| image.layout().clone()).collect();
        layouts.extend(self.pipeline.layouts(&images)?);
        let mut messages = self.history.messages.clone();
        messages.extend(asked);
        let mut settings = request.settings.clone();
        settings.adapter = self.adapter_of_turn(settings.adapter)?;
        let plan = self.pipeline.plan(&messages, &layouts, &settings)?;
        let shown = self.pipeline.show(&plan, earlier, &images)?;
        if self.read_with != settings.adapter {
            self.sequence = self.pipeline.sequence(EXPECTED_TOKENS);
            self.read_with = settings.adapter.clone();
        }
        let stream = AnswerStream::new(&self.pipeline, &mut self.sequence, plan, &shown)?;
        let mut turns = self.history.turns.clone();
        turns.push(TurnStart {
            num_messages: self.history.messages.len(),
            num_images: self.history.images.len(),
        });
        let asked = History {
            messages,
            images: shown.all,
            turns,
            adapter: settings.adapter,
        };
        Ok(SessionStream {
            stream,
            history: &mut self.history,
            asked: Some(asked),
        })
    }

    /// What a turn is answered with that names this adapter, or none: the session remembers its own.
    fn adapter_of_turn(&self, named: Option<String>) -> Result<Option<String>> {
        let own = &self.history.adapter;
        match named {
            None => Ok(own.clone()),
            Some(named) if self.history.turns.is_empty() || own.as_ref() == Some(&named) => {
                Ok(Some(named))
            }
            Some(found) => Err(RequestError::AdapterOfSession {
                session: own.clone(),
                found,
            }
            .into()),
        }
    }

    /// What was said so far.
    pub fn messages(&self) -> &[Message] {
        &self.history.messages
    }

    /// Takes the last turn back: all that its request said and showed, and the answer. Returns
    /// whether there was one.
    pub fn undo(&mut self) -> bool {
        let Some(last) = self.history.turns.pop() else {
            return false;
        };
        self.history.messages.truncate(last.num_messages);
        self.history.images.truncate(last.num_images);
        if self.history.turns.is_empty() {
            self.history.adapter = None;
        }
        true
    }

    /// Tokens that the cache holds.
    pub fn cached_tokens(&self) -> usize {
        self.sequence.len()
    }

    /// The pipeline it runs on.
    pub fn pipeline(&self) -> &MultimodalPipeline<B> {
        &self.pipeline
    }
}

/// One turn of a [`Session`], piece by piece.
#[derive(Debug)]
pub struct SessionStream<'a, B: VlmBackend> {
    stream: AnswerStream<'a, B, &'a mut Sequence<B>>,
    history: &'a mut History<B>,
    /// The conversation with this turn's question, until it is decided whether it stays.
    asked: Option<History<B>>,
}

impl<B: VlmBackend> SessionStream<'_, B> {
    /// The text so far.
    pub fn text(&self) -> &str {
        self.stream.text()
    }

    /// Why the answer ended, once it has.
    pub fn finish_reason(&self) -> Option<FinishReason> {
        self.stream.finish_reason()
    }

    /// Generates what is left and returns the whole answer.
    ///
    /// # Errors
    ///
    /// As [`Session::turn`].
    pub fn finish(mut self) -> Result<Answer> {
        for piece in &mut self {
            piece?;
        }
        self.stream.so_far()
    }
}

impl<B: VlmBackend> Iterator for SessionStream<'_, B> {
    type Item = Result<String>;

    fn next(&mut self) -> Option<Self::Item> {
        // A turn that failed leaves no trace, nor does one whose backend panicked.
        let asked = self.asked.take();
        let item = self.stream.next();
        self.asked = asked.filter(|_| !matches!(item, Some(Err(_))));
        item
    }
}

impl<B: VlmBackend> Drop for SessionStream<'_, B> {
    fn drop(&mut self) {
        let answer = self.stream.text();
        let is_whole = !matches!(
            self.stream.finish_reason(),
            None | Some(FinishReason::Cancelled | FinishReason::Deadline)
        );
        if let Some(mut asked) = self.asked.take()
            && (is_whole || !answer.is_empty())
        {
            asked.messages.push(Message::assistant(answer));
            *self.history = asked;
        }
    }
}
