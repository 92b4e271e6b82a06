//! The pieces of a stream are the answer.

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AskRequest, MultimodalPipeline, SampleOptions, Sampling};

use crate::fixture::{LLAVA, demo_photo, open, open_demo};
use crate::support::picture;

laws![
    pieces_joined_are_the_text_of_the_answer,
    a_finished_stream_stays_finished,
    the_text_of_an_answer_is_its_decoded_tokens,
    a_stream_grows_with_every_piece,
];

/// Requests whose answers hold words, broken characters, and both.
fn for_each_request<B: VlmBackend>(
    check: impl Fn(&MultimodalPipeline<B>, &AskRequest) -> Result<()>,
) -> Result<()> {
    let demo = open_demo::<B>()?;
    check(
        &demo,
        &AskRequest::new()
            .image(demo_photo()?)
            .user("What is in this picture?"),
    )?;
    let random = open::<B>(LLAVA)?;
    let drawn = Sampling::Sample(SampleOptions::default());
    for seed in 0..4 {
        let request = AskRequest::new().image(picture(seed)).user("What is it?");
        check(
            &random,
            &request
                .sampling(drawn)
                .seed(u64::from(seed))
                .max_new_tokens(24),
        )?;
    }
    Ok(())
}

fn pieces_joined_are_the_text_of_the_answer<B: VlmBackend>() -> Result<()> {
    for_each_request::<B>(|pipeline, request| {
        let answer = pipeline.answer(request)?;
        let mut stream = pipeline.stream(request)?;
        let pieces = stream.by_ref().collect::<burn_vlm::Result<Vec<String>>>()?;
        assert_eq!(pieces.concat(), answer.text);
        assert!(pieces.len() > 1 && pieces.iter().all(|piece| !piece.is_empty()));
        assert_eq!(stream.finish_reason(), Some(answer.finish));
        let finished = stream.finish()?;
        assert_eq!(finished.text, answer.text);
        assert_eq!(finished.token_ids, answer.token_ids);
        Ok(())
    })
}

fn a_finished_stream_stays_finished<B: VlmBackend>() -> Result<()> {
    for_each_request::<B>(|pipeline, request| {
        let mut stream = pipeline.stream(&request.clone().max_new_tokens(3))?;
        let text = stream.by_ref().collect::<burn_vlm::Result<String>>()?;
        assert!(stream.next().is_none() && stream.next().is_none());
        assert_eq!(stream.finish()?.text, text);
        Ok(())
    })
}

fn the_text_of_an_answer_is_its_decoded_tokens<B: VlmBackend>() -> Result<()> {
    for_each_request::<B>(|pipeline, request| {
        let answer = pipeline.answer(request)?;
        assert_eq!(answer.text, pipeline.tokenizer().decode(&answer.token_ids));
        Ok(())
    })
}

fn a_stream_grows_with_every_piece<B: VlmBackend>() -> Result<()> {
    for_each_request::<B>(|pipeline, request| {
        let mut stream = pipeline.stream(request)?;
        let mut text = String::new();
        while let Some(piece) = stream.next() {
            text.push_str(&piece?);
            assert_eq!(stream.text(), text);
        }
        Ok(())
    })
}
