//! A turn that was cancelled, ran late or failed leaves the session as good as before.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

use anyhow::Result;
use burn_vlm::kernels::{Fault, VlmBackend};
use burn_vlm::text::Part;
use burn_vlm::{
    Answer, AskRequest, CancelToken, DeviceError, EncodedImage, Error, FinishReason, LoadOptions,
    MultimodalPipeline, RequestError, SampleOptions, Sampling, TemplateError,
};

use crate::fixture::{LLAVA, open, open_with};
use crate::support::{SafetensorsFile, copy_model, picture};

laws![
    a_turn_cancelled_before_it_begins_leaves_no_trace,
    a_turn_cancelled_while_it_answers_keeps_what_it_said,
    a_deadline_in_the_past_leaves_no_trace,
    a_deadline_that_passes_while_it_answers_keeps_what_was_said,
    turns_that_cannot_be_asked_leave_no_trace,
    a_turn_that_fails_on_its_prompt_leaves_no_trace,
    a_turn_that_fails_while_it_answers_leaves_no_trace,
    a_turn_whose_device_fails_anywhere_leaves_no_trace,
    a_dropped_stream_counts_as_what_it_said,
    a_dropped_stream_that_said_nothing_leaves_no_trace,
    an_interrupted_answer_is_the_beginning_of_the_whole_one,
];

const FIRST: &str = "What is in this picture?";
const SECOND: &str = "And how many of them are red?";

type Request<B> = AskRequest<EncodedImage<B>>;

fn question<B: VlmBackend>(text: &str) -> Request<B> {
    AskRequest::new().user(text).max_new_tokens(10)
}

/// Runs `disturb` between two turns, and asserts that the second equals the conversation asked
/// afresh: the first turn, what `disturb` says was asked and answered, and the second.
fn undisturbed<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    disturb: impl FnOnce(&mut burn_vlm::Session<B>) -> Result<Option<(String, String)>>,
) -> Result<()> {
    let photo = pipeline.encode(&picture(3))?;
    undisturbed_after(
        pipeline,
        AskRequest::new().image(photo).user(FIRST),
        disturb,
    )
}

/// As [`undisturbed`], for a model that reads text only.
fn undisturbed_text<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    disturb: impl FnOnce(&mut burn_vlm::Session<B>) -> Result<Option<(String, String)>>,
) -> Result<()> {
    undisturbed_after(pipeline, AskRequest::new().user(FIRST), disturb)
}

fn undisturbed_after<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    first: Request<B>,
    disturb: impl FnOnce(&mut burn_vlm::Session<B>) -> Result<Option<(String, String)>>,
) -> Result<()> {
    let first = first.max_new_tokens(10);
    let mut session = pipeline.session();
    let answer = session.turn(&first)?;
    let mut whole = first.assistant(answer.text);
    if let Some((asked, said)) = disturb(&mut session)? {
        whole = whole.user(asked).assistant(said);
    }
    let second = session.turn(&question(SECOND))?;
    let expected = pipeline.answer(&whole.user(SECOND))?;
    assert_eq!(second.token_ids, expected.token_ids);
    assert_eq!(second.text, expected.text);
    assert_eq!(second.usage, expected.usage);
    Ok(())
}

fn assert_silent(answer: &Answer, finish: FinishReason) {
    assert_eq!(answer.finish, finish);
    assert_eq!(
        (answer.text.as_str(), answer.usage.generated_tokens),
        ("", 0)
    );
}

fn a_turn_cancelled_before_it_begins_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let cancel = CancelToken::new();
        cancel.cancel();
        let other = session.pipeline().encode(&picture(120))?;
        let answer = session.turn(&AskRequest::new().image(other).user("Who?").cancel(cancel))?;
        assert_silent(&answer, FinishReason::Cancelled);
        assert_eq!(session.messages().len(), 2);
        Ok(None)
    })
}

fn a_turn_cancelled_while_it_answers_keeps_what_it_said<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let cancel = CancelToken::new();
        let request = question("Go on and on.")
            .max_new_tokens(60)
            .cancel(cancel.clone());
        let mut stream = session.stream(&request)?;
        for piece in stream.by_ref().take(3) {
            piece?;
        }
        cancel.cancel();
        let answer = stream.finish()?;
        assert_eq!(answer.finish, FinishReason::Cancelled);
        assert!(!answer.text.is_empty() && answer.usage.generated_tokens < 60);
        Ok(Some(("Go on and on.".to_string(), answer.text)))
    })
}

fn a_deadline_in_the_past_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let answer = session.turn(&question("Who?").deadline(Instant::now()))?;
        assert_silent(&answer, FinishReason::Deadline);
        assert_eq!(session.messages().len(), 2);
        Ok(None)
    })
}

fn a_deadline_that_passes_while_it_answers_keeps_what_was_said<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let asked = "Go on and on.";
        let deadline = Instant::now() + Duration::from_millis(500);
        let request = question(asked).max_new_tokens(60).deadline(deadline);
        let mut stream = session.stream(&request)?;
        let piece = stream.next().transpose()?;
        while Instant::now() < deadline {
            std::hint::spin_loop();
        }
        let answer = stream.finish()?;
        assert_eq!(answer.finish, FinishReason::Deadline);
        assert!(
            answer
                .text
                .starts_with(piece.as_deref().unwrap_or_default())
        );
        Ok((!answer.text.is_empty()).then(|| (asked.to_string(), answer.text)))
    })
}

fn turns_that_cannot_be_asked_leave_no_trace<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let hot = Sampling::Sample(SampleOptions {
            temperature: -1.0,
            ..SampleOptions::default()
        });
        let long = question("a ".repeat(1200).as_str());
        let cached = session.cached_tokens();
        let refused = [
            session.turn(&question("Who?").sampling(hot)).err(),
            session.turn(&question("Who?").template("vicuna_v9")).err(),
            session.turn(&long).err(),
            session.turn(&Request::<B>::new()).err(),
            session.turn(&question("Who?").stop("")).err(),
        ];
        assert!(
            matches!(
                refused,
                [
                    Some(Error::Request(RequestError::Parameter {
                        parameter: "temperature",
                        ..
                    })),
                    Some(Error::Template(TemplateError::Unknown { .. })),
                    Some(Error::ContextOverflow {
                        context_length: 1024,
                        ..
                    }),
                    Some(Error::Request(RequestError::Empty)),
                    Some(Error::Request(RequestError::Parameter {
                        parameter: "stop",
                        ..
                    })),
                ]
            ),
            "{refused:?}"
        );
        assert_eq!(
            (session.messages().len(), session.cached_tokens()),
            (2, cached)
        );
        Ok(None)
    })
}

/// A model whose embedding of one token is not a number.
fn open_poisoned<B: VlmBackend>(id: u32) -> Result<MultimodalPipeline<B>> {
    let folder = tempfile::tempdir()?;
    copy_model(LLAVA, folder.path());
    let mut file = SafetensorsFile::read(&folder.path().join("model.safetensors"));
    let table = "language_model.model.embed_tokens.weight";
    let width = file.header[table]["shape"][1].as_u64();
    let width = width.expect("the fixture is sound") as usize;
    let row = id as usize * width;
    file.fill_bf16(table, row..row + width, f32::NAN);
    file.write();
    let options = LoadOptions::new();
    Ok(MultimodalPipeline::open(folder.path(), &options)?)
}

fn assert_not_finite<T>(result: burn_vlm::Result<T>, expected: &str) {
    let Err(Error::Device(DeviceError::NotFinite { stage })) = result else {
        panic!("no error about numbers: {:?}", result.err())
    };
    assert_eq!(stage, expected);
}

fn a_turn_that_fails_on_its_prompt_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    let id = open::<B>(LLAVA)?.tokenizer().token_id("q");
    let id = id.expect("the vocabulary has every letter");
    let drawn = Sampling::Sample(SampleOptions::default());
    for sampling in [Sampling::Greedy, drawn] {
        undisturbed(&open_poisoned::<B>(id)?, |session| {
            let other = session.pipeline().encode(&picture(120))?;
            let request = AskRequest::new().image(other).user("Why q?");
            assert_not_finite(session.turn(&request.sampling(sampling)), "prefill");
            assert_eq!(session.messages().len(), 2);
            Ok(None)
        })?;
    }
    Ok(())
}

fn a_turn_that_fails_while_it_answers_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    let asked = question::<B>("Go on and on.").max_new_tokens(40);
    let mut harmful = None;
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let answer = session.turn(&asked)?;
        let prompt = session.pipeline().prompt(&said_around(session))?;
        let is_new = |id: &&u32| !prompt.ids.contains(id);
        harmful = answer.token_ids[4..].iter().find(is_new).copied();
        Ok(Some(("Go on and on.".to_string(), answer.text)))
    })?;
    let harmful = harmful.expect("the answer has a token that no question has");
    undisturbed(&open_poisoned::<B>(harmful)?, |session| {
        let mut stream = session.stream(&asked)?;
        let first = stream.next().expect("the answer begins well")?;
        assert!(!first.is_empty());
        let failure = stream.by_ref().find(Result::is_err);
        assert_not_finite(failure.expect("a number is none"), "decode");
        assert!(stream.next().is_none() && stream.finish_reason().is_none());
        let error = stream.finish().expect_err("an answer that failed is none");
        assert!(error.to_string().contains("decode"), "{error}");
        assert_eq!(session.messages().len(), 2);
        Ok(None)
    })
}

fn a_turn_whose_device_fails_anywhere_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    for name in [LLAVA, "dynamic_rope"] {
        undisturbed_text(&open::<B>(name)?, |session| {
            let request = question(SECOND);
            let expected = session.turn(&request)?;
            assert!(session.undo());
            let operations: usize = expected.kernels.calls().map(|(.., calls)| calls).sum();
            for fault in [Fault::Launch, Fault::Panic] {
                for after in (0..operations).step_by(operations / 9) {
                    fault.after(after);
                    let turn = AssertUnwindSafe(|| session.turn(&request).map(drop));
                    let failed = catch_unwind(turn);
                    assert!(Fault::disarm(), "{fault:?} after {after} happened");
                    let is_told = match fault {
                        Fault::Panic => failed.is_err(),
                        Fault::Launch => {
                            matches!(failed, Ok(Err(Error::Device(DeviceError::Failed { .. }))))
                        }
                    };
                    assert!(is_told, "{name}: {fault:?} after {after}");
                    assert_eq!(session.messages().len(), 2);
                    let again = session.turn(&request)?;
                    assert_eq!(
                        again.token_ids, expected.token_ids,
                        "{fault:?} after {after}"
                    );
                    assert!(session.undo());
                }
            }
            Ok(None)
        })?;
    }
    Ok(())
}

/// A prompt of all that is said around the second turn of a session: its ids may do no harm.
fn said_around<B: VlmBackend>(session: &burn_vlm::Session<B>) -> AskRequest<EncodedImage<B>> {
    let before = session.messages()[..3].iter();
    let parts = before.flat_map(|message| &message.parts);
    let texts = parts.filter_map(|part| match part {
        Part::Text(text) => Some(text.as_str()),
        Part::Context(_) | Part::Image => None,
    });
    let texts: Vec<&str> = texts.chain([SECOND]).collect();
    AskRequest::new().user(texts.join(" "))
}

fn a_dropped_stream_counts_as_what_it_said<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let mut said = String::new();
        let mut stream = session.stream(&question("Go on.").max_new_tokens(40))?;
        for piece in stream.by_ref().take(4) {
            said.push_str(&piece?);
        }
        drop(stream);
        assert_eq!(session.messages().len(), 4);
        Ok(Some(("Go on.".to_string(), said)))
    })
}

fn a_dropped_stream_that_said_nothing_leaves_no_trace<B: VlmBackend>() -> Result<()> {
    undisturbed(&open::<B>(LLAVA)?, |session| {
        let other = session.pipeline().encode(&picture(120))?;
        drop(session.stream(&AskRequest::new().image(other).user("Who?"))?);
        assert_eq!(session.messages().len(), 2);
        Ok(None)
    })
}

fn an_interrupted_answer_is_the_beginning_of_the_whole_one<B: VlmBackend>() -> Result<()> {
    let pipeline = open_with::<B>("vicuna_bin", LoadOptions::new().with_context_length(300))?;
    let request = question::<B>(FIRST).max_new_tokens(40);
    let whole = pipeline.answer(&request)?;
    for num_pieces in [1, 5, 9] {
        let cancel = CancelToken::new();
        let mut stream = pipeline.stream(&request.clone().cancel(cancel.clone()))?;
        let pieces = stream
            .by_ref()
            .take(num_pieces)
            .collect::<burn_vlm::Result<String>>()?;
        assert_eq!(stream.text(), pieces);
        assert_eq!(stream.finish_reason(), None);
        cancel.cancel();
        let answer = stream.finish()?;
        assert_eq!(answer.finish, FinishReason::Cancelled);
        assert!(whole.token_ids.starts_with(&answer.token_ids));
        assert!(answer.text.starts_with(&pieces) && answer.token_ids.len() < 40);
    }
    Ok(())
}
