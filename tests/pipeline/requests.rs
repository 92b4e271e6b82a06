//! What one request does is its own affair: order, company and history do not show.

use std::thread;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    Answer, AskRequest, EncodedImage, Message, MultimodalPipeline, SampleOptions, Sampling,
};

use crate::fixture::{LLAVA, open};
use crate::support::picture;

laws![
    requests_from_two_threads_equal_the_same_alone,
    the_order_of_requests_does_not_matter,
    clones_of_a_pipeline_answer_alike,
    two_streams_side_by_side_do_not_mix,
    pictures_stay_with_the_message_they_were_given_to,
];

const QUESTIONS: [&str; 3] = [
    "What is this?",
    "Count the blue squares.",
    "Is it red? Say why.",
];

/// Greedy and drawn, with pictures and without.
fn requests<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
) -> Result<Vec<AskRequest<EncodedImage<B>>>> {
    let (left, right) = (
        pipeline.encode(&picture(1))?,
        pipeline.encode(&picture(90))?,
    );
    let drawn = Sampling::Sample(SampleOptions::default());
    let requests = [
        AskRequest::new().image(left.clone()).user(QUESTIONS[0]),
        AskRequest::new().user(QUESTIONS[1]).sampling(drawn).seed(5),
        AskRequest::new()
            .image(right.clone())
            .user(QUESTIONS[2])
            .sampling(drawn)
            .seed(6),
        AskRequest::new()
            .image(left)
            .image(right)
            .user(QUESTIONS[0]),
    ];
    Ok(requests.map(|request| request.max_new_tokens(12)).to_vec())
}

fn token_ids(answers: &[Answer]) -> Vec<&[u32]> {
    answers
        .iter()
        .map(|answer| answer.token_ids.as_slice())
        .collect()
}

/// Answers all requests one after the other.
fn answer_all<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    requests: &[AskRequest<EncodedImage<B>>],
) -> Result<Vec<Answer>> {
    requests
        .iter()
        .map(|request| Ok(pipeline.answer(request)?))
        .collect()
}

fn requests_from_two_threads_equal_the_same_alone<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let requests = requests(&pipeline)?;
    let alone = answer_all(&pipeline, &requests)?;
    let reversed: Vec<_> = requests.iter().rev().cloned().collect();
    let (forwards, backwards) = thread::scope(|scope| {
        let forwards = scope.spawn(|| answer_all(&pipeline, &requests));
        let backwards = scope.spawn(|| answer_all(&pipeline, &reversed));
        (forwards.join(), backwards.join())
    });
    let forwards = forwards.expect("no answer panics")?;
    let mut backwards = backwards.expect("no answer panics")?;
    backwards.reverse();
    assert_eq!(token_ids(&forwards), token_ids(&alone));
    assert_eq!(token_ids(&backwards), token_ids(&alone));
    Ok(())
}

fn the_order_of_requests_does_not_matter<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let requests = requests(&pipeline)?;
    let forwards = answer_all(&pipeline, &requests)?;
    for (request, expected) in requests.iter().zip(&forwards).rev() {
        let answer = pipeline.answer(request)?;
        assert_eq!(answer.token_ids, expected.token_ids);
        assert_eq!(answer.text, expected.text);
        assert_eq!(answer.usage, expected.usage);
        assert_eq!(answer.kernels, expected.kernels);
    }
    let different: std::collections::BTreeSet<_> = token_ids(&forwards).into_iter().collect();
    assert_eq!(
        different.len(),
        requests.len(),
        "the requests have answers of their own"
    );
    Ok(())
}

fn clones_of_a_pipeline_answer_alike<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let requests = requests(&pipeline)?;
    let clone = pipeline.clone();
    let expected = answer_all(&pipeline, &requests)?;
    drop(pipeline);
    assert_eq!(
        token_ids(&answer_all(&clone, &requests)?),
        token_ids(&expected)
    );
    Ok(())
}

fn two_streams_side_by_side_do_not_mix<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let requests = requests(&pipeline)?;
    let alone = answer_all(&pipeline, &requests)?;
    let mut streams = Vec::new();
    for request in &requests {
        streams.push((pipeline.stream(request)?, String::new(), false));
    }
    while !streams.iter().all(|(_, _, is_done)| *is_done) {
        for (stream, text, is_done) in &mut streams {
            match stream.next() {
                Some(piece) => text.push_str(&piece?),
                None => *is_done = true,
            }
        }
    }
    for ((stream, text, _), expected) in streams.into_iter().zip(alone) {
        assert_eq!(text, expected.text);
        assert_eq!(stream.finish()?.token_ids, expected.token_ids);
    }
    Ok(())
}

fn pictures_stay_with_the_message_they_were_given_to<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let (early, late) = (
        pipeline.encode(&picture(1))?,
        pipeline.encode(&picture(90))?,
    );
    let shown = || Message::user(QUESTIONS[0]).with_image();
    // The first picture waits for `user`, though a message with one of its own comes before.
    let waiting = AskRequest::new()
        .image(late.clone())
        .message(shown(), [early.clone()])
        .assistant("A circle.")
        .user(QUESTIONS[1]);
    // A system text that goes takes its picture along.
    let replaced = AskRequest::new()
        .message(Message::system("Be kind.").with_image(), [late.clone()])
        .system("Be kind.");
    let replaced = replaced.image(early.clone()).user(QUESTIONS[0]);
    let in_order = AskRequest::new().image(early.clone()).user(QUESTIONS[0]);
    let answered = in_order.clone().assistant("A circle.");
    let pairs = [
        (waiting, answered.image(late).user(QUESTIONS[1])),
        (replaced, in_order.system("Be kind.")),
    ];
    for (asked, meant) in pairs {
        let ask =
            |request: AskRequest<EncodedImage<B>>| pipeline.answer(&request.max_new_tokens(9));
        assert_eq!(ask(asked)?.token_ids, ask(meant)?.token_ids);
    }
    Ok(())
}
