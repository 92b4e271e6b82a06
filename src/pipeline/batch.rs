//! Several requests at once.

use std::collections::VecDeque;
use std::ptr;

use super::answer::Answer;
use super::encoded_image::RequestImage;
use super::multimodal::MultimodalPipeline;
use super::request::AskRequest;
use super::request_plan::RequestPlan;
use super::stream::AnswerStream;
use crate::error::Result;
use crate::generation::{Generation, Sampling, Sequence, SlotPool};
use crate::kernels::VlmBackend;

/// Requests that are answered side by side; the others wait until one of them has ended.
const MAX_ROWS: usize = 16;

/// A request that is being answered, and its place among the others.
struct Row<'a, B: VlmBackend> {
    index: usize,
    stream: AnswerStream<'a, B>,
}

/// The requests of one call.
struct Batch<'a, B: VlmBackend, I> {
    pipeline: &'a MultimodalPipeline<B>,
    requests: &'a [AskRequest<I>],
    waiting: VecDeque<(usize, RequestPlan)>,
    running: Vec<Row<'a, B>>,
    answers: Vec<Option<Result<Answer>>>,
}

impl<B: VlmBackend> MultimodalPipeline<B> {
    /// Answers several requests at once, each as [`answer`](Self::answer) would alone, with pictures,
    /// seed, ending, deadline and error of its own. Prompts are read one after the other, and then
    /// every step reads a token of each answer together, which costs little more than one; those with
    /// an [adapter](AskRequest::adapter) with the others of the same.
    ///
    /// Up to 16 are in the making at a time; the place of one that has ended is the next one's.
    ///
    /// # Examples
    /// ```no_run
    /// # use burn_vlm::{AskRequest, ImageInput, MultimodalPipeline, backend::Cpu};
    /// # let pipeline = MultimodalPipeline::<Cpu>::open("models/llava", &Default::default())?;
    /// let photo = pipeline.encode(&ImageInput::open("photo.jpg")?)?;
    /// let questions = ["What is on the table?", "How many people are there?"];
    /// let requests = questions.map(|question| AskRequest::new().image(photo.clone()).user(question));
    /// for answer in pipeline.ask_batch(&requests) {
    ///     println!("{}", answer?.text);
    /// }
    /// # Ok::<(), burn_vlm::Error>(())
    /// ```
    pub fn ask_batch<I: RequestImage<B>>(&self, requests: &[AskRequest<I>]) -> Vec<Result<Answer>> {
        let mut batch = Batch {
            pipeline: self,
            requests,
            waiting: VecDeque::new(),
            running: Vec::new(),
            answers: requests.iter().map(|_| None).collect(),
        };
        batch.plan();
        batch.run();
        let answers = batch.answers.into_iter();
        answers
            .map(|answer| answer.expect("a batch ends when all its requests have"))
            .collect()
    }
}

impl<B: VlmBackend, I: RequestImage<B>> Batch<'_, B, I> {
    /// Finds what is wrong with any of the requests before one of them is read.
    fn plan(&mut self) {
        for (index, request) in self.requests.iter().enumerate() {
            match self.pipeline.plan_request(request) {
                Ok(plan) => self.waiting.push_back((index, plan)),
                Err(error) => self.answers[index] = Some(Err(error)),
            }
        }
    }

    fn run(&mut self) {
        let pool = self.pool();
        while !(self.waiting.is_empty() && self.running.is_empty()) {
            while self.running.len() < MAX_ROWS
                && let Some((index, plan)) = self.waiting.pop_front()
            {
                self.start(index, plan, &pool);
            }
            self.step();
        }
    }

    /// A slot for each row, with room for the longest.
    fn pool(&self) -> SlotPool<B> {
        let expected = self.waiting.iter().map(|(_, plan)| plan.expected_tokens());
        let num_slots = self.waiting.len().min(MAX_ROWS);
        self.pipeline.pool(num_slots, expected.max().unwrap_or(0))
    }

    /// Reads the prompt of a request and chooses its first token.
    fn start(&mut self, index: usize, plan: RequestPlan, pool: &SlotPool<B>) {
        let sequence = match plan.options.sampling {
            // Beams have slots of their own.
            Sampling::Beam(_) => self.pipeline.sequence_of(&plan),
            _ => Sequence::new(pool),
        };
        let started = self
            .pipeline
            .start(plan, &self.requests[index], sequence)
            .and_then(|mut stream| {
                if stream.finish_reason().is_none() {
                    stream.generation.advance_alone()?;
                }
                Ok(stream)
            });
        match started {
            Ok(stream) => self.running.push(Row { index, stream }),
            Err(error) => self.answers[index] = Some(Err(error)),
        }
    }

    /// Goes one token on with every row, and takes out those that have ended.
    fn step(&mut self) {
        let (mut joining, mut failed) = (Vec::new(), Vec::new());
        for row in &mut self.running {
            let answer = &mut row.stream.generation;
            if answer.can_join() {
                joining.push((row.index, answer));
            } else if answer.finish_reason().is_none()
                && let Err(error) = answer.advance_alone()
            {
                failed.push((row.index, error));
            }
        }
        // An adapter makes another decoder, and each reads its own rows.
        while let Some((_, first)) = joining.first() {
            let decoder = first.decoder();
            let alike = joining.extract_if(.., |(_, answer)| ptr::eq(answer.decoder(), decoder));
            let (places, mut answers): (Vec<_>, Vec<_>) = alike.unzip();
            let outcomes = Generation::advance_together(&mut answers);
            let outcomes = places.into_iter().zip(outcomes);
            failed.extend(outcomes.filter_map(|(index, outcome)| Some((index, outcome.err()?))));
        }
        for (index, error) in failed {
            self.answers[index] = Some(Err(error));
        }
        self.take_out_ended();
    }

    fn take_out_ended(&mut self) {
        let ended = |row: &mut Row<'_, B>| row.stream.finish_reason().is_some();
        for row in self.running.extract_if(.., ended) {
            let answer = &mut self.answers[row.index];
            answer.get_or_insert_with(|| row.stream.so_far());
        }
    }
}
