//! A request among others is answered as it would be alone.

use std::time::Instant;

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    Answer, AskRequest, BeamOptions, CancelToken, EncodedImage, Error, FinishReason, LogitRules,
    MultimodalPipeline, RequestError, SampleOptions, Sampling,
};

use crate::fixture::{LLAVA, family_models, open};
use crate::support::picture;

laws![
    a_row_of_a_batch_equals_the_request_alone,
    a_row_of_a_batch_equals_the_request_alone_in_every_family,
    rows_that_outgrow_the_trained_context_equal_the_requests_alone,
    what_goes_wrong_with_a_row_is_its_own_affair,
    a_batch_of_nothing_has_no_answers,
];

type Request<B> = AskRequest<EncodedImage<B>>;

/// Rows of every kind, more than are answered at a time, that end at different lengths.
fn requests<B: VlmBackend>(pipeline: &MultimodalPipeline<B>) -> Result<Vec<Request<B>>> {
    let (left, right) = (
        pipeline.encode(&picture(1))?,
        pipeline.encode(&picture(90))?,
    );
    let drawn = Sampling::Sample(SampleOptions::default());
    let mut requests = Vec::new();
    for index in 0..20 {
        let mut request = AskRequest::new().max_new_tokens(2 + index % 7);
        if index % 2 == 0 {
            request = request.image(left.clone());
        }
        if index % 5 == 0 {
            request = request.image(right.clone());
        }
        request = request.user("Count the shapes. ".repeat(1 + index % 3));
        if index % 3 == 0 {
            request = request.sampling(drawn).seed(index as u64);
        }
        if index % 4 == 1 {
            request = request.rules(LogitRules {
                no_repeat_ngram_size: 1,
                ..LogitRules::default()
            });
        }
        requests.push(request);
    }
    requests[7] = requests[7].clone().sampling(Sampling::Beam(BeamOptions {
        num_beams: 3,
        ..BeamOptions::default()
    }));
    Ok(requests)
}

fn assert_equals_alone<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    requests: &[Request<B>],
    answers: Vec<burn_vlm::Result<Answer>>,
) -> Result<()> {
    assert_eq!(answers.len(), requests.len());
    for (index, (request, answer)) in requests.iter().zip(answers).enumerate() {
        let (answer, alone) = (answer?, pipeline.answer(request)?);
        assert_eq!(answer.token_ids, alone.token_ids, "row {index}");
        assert_eq!(answer.text, alone.text, "row {index}");
        assert_eq!((answer.finish, answer.usage), (alone.finish, alone.usage));
    }
    Ok(())
}

fn a_row_of_a_batch_equals_the_request_alone<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let mut requests = requests(&pipeline)?;
    let token = pipeline.answer(&requests[2])?.token_ids[1];
    requests[2] = requests[2].clone().max_new_tokens(30).stop_token_id(token);
    let answers = pipeline.ask_batch(&requests);
    assert_equals_alone(&pipeline, &requests, answers)
}

fn a_row_of_a_batch_equals_the_request_alone_in_every_family<B: VlmBackend>() -> Result<()> {
    for model in family_models()? {
        let pipeline = open::<B>(&model.name)?;
        let ask = |request: Request<B>, question: &str| request.user(question).max_new_tokens(5);
        let mut requests = vec![ask(AskRequest::new(), "Why?")];
        if model.sees {
            let shown = AskRequest::new().image(pipeline.encode(&picture(1))?);
            requests.push(ask(shown.clone(), "Count the shapes on the table."));
            requests.push(ask(shown.image(pipeline.encode(&picture(90))?), "Why?"));
        }
        requests.push(ask(AskRequest::new(), "Name a colour, then two of them.").seed(3));
        let answers = pipeline.ask_batch(&requests);
        let equal = assert_equals_alone(&pipeline, &requests, answers);
        equal.map_err(|error| error.context(model.name))?;
    }
    Ok(())
}

fn rows_that_outgrow_the_trained_context_equal_the_requests_alone<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("dynamic_rope")?;
    let questions = [
        "So? ",
        "What is in this picture? A red circle and two blue squares. ",
    ];
    let requests = [1, 2, 3].map(|times| {
        let question = questions.concat().repeat(times);
        let request: Request<B> = AskRequest::new().template("plain").user(question);
        request.max_new_tokens(8)
    });
    let fitting: Vec<Request<B>> = requests
        .into_iter()
        .filter(|request| pipeline.answer(request).is_ok())
        .collect();
    assert!(fitting.len() >= 2, "{} requests fit", fitting.len());
    let answers = pipeline.ask_batch(&fitting);
    assert_equals_alone(&pipeline, &fitting, answers)
}

fn what_goes_wrong_with_a_row_is_its_own_affair<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let good = requests(&pipeline)?[..3].to_vec();
    let question = || AskRequest::new().user("Why?").max_new_tokens(5);
    let hot = SampleOptions {
        temperature: -1.0,
        ..SampleOptions::default()
    };
    let cancel = CancelToken::new();
    cancel.cancel();
    let foreign = open::<B>(LLAVA)?.encode(&picture(1))?;
    let mixed = [
        good[0].clone(),
        question().sampling(Sampling::Sample(hot)),
        good[1].clone(),
        question().cancel(cancel),
        question().deadline(Instant::now()),
        AskRequest::new().image(foreign).user("Why?"),
        good[2].clone(),
    ];
    let mut answers = pipeline.ask_batch(&mixed);
    let is_foreign = |error: &Error| matches!(error, Error::Request(RequestError::ForeignImage));
    assert!(answers.remove(5).is_err_and(|error| is_foreign(&error)));
    assert_eq!(answers.remove(4)?.finish, FinishReason::Deadline);
    assert_eq!(answers.remove(3)?.finish, FinishReason::Cancelled);
    let too_hot = answers.remove(1).expect_err("a temperature below 0");
    assert!(too_hot.to_string().contains("temperature"), "{too_hot}");
    assert_equals_alone(&pipeline, &good, answers)
}

fn a_batch_of_nothing_has_no_answers<B: VlmBackend>() -> Result<()> {
    assert!(
        open::<B>(LLAVA)?
            .ask_batch::<EncodedImage<B>>(&[])
            .is_empty()
    );
    Ok(())
}
