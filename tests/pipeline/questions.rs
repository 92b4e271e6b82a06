//! A model whose rows of a picture depend on what is asked.

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AskRequest, Error};

use crate::fixture::{INSTRUCTBLIP, LLAVA, open};
use crate::reference::{largest_difference, values};
use crate::support::picture;

laws![
    another_question_makes_other_rows_of_the_same_picture,
    what_is_encoded_once_serves_every_question,
    pictures_stand_in_front_of_the_beginning,
    a_question_longer_than_its_reader_is_refused_before_anything_is_encoded,
    time_and_kernels_of_the_projection_are_counted,
];

fn another_question_makes_other_rows_of_the_same_picture<B: VlmBackend>() -> Result<()> {
    for (name, is_other) in [(INSTRUCTBLIP, true), (LLAVA, false)] {
        let pipeline = open::<B>(name)?;
        let photo = pipeline.encode(&picture(3))?;
        let rows = |question| values(pipeline.image_rows(&photo, question)?);
        let difference = largest_difference(&rows("what is it?")?, &rows("a picture")?)?;
        assert_eq!(difference > 1e-3, is_other, "{name}: {difference}");
        assert_eq!(
            rows("what is it?")?,
            rows("What is it?")?,
            "word pieces are lower case"
        );
    }
    Ok(())
}

fn what_is_encoded_once_serves_every_question<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(INSTRUCTBLIP)?;
    let photo = pipeline.encode(&picture(3))?;
    for question in ["What is this?", "Is it a picture?", "What is this?"] {
        let reused = AskRequest::new().image(photo.clone()).user(question);
        let anew = AskRequest::new().image(picture(3)).user(question);
        let reused = pipeline.answer(&reused.max_new_tokens(6))?;
        let anew = pipeline.answer(&anew.max_new_tokens(6))?;
        assert_eq!(reused.token_ids, anew.token_ids, "{question}");
    }
    Ok(())
}

fn pictures_stand_in_front_of_the_beginning<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(INSTRUCTBLIP)?;
    let request = AskRequest::new().image(picture(3)).image(picture(9));
    let prompt = pipeline.prompt(&request.user("What is this?"))?;
    let ranges: Vec<_> = prompt.image_spans.iter().map(|span| span.range()).collect();
    assert_eq!(ranges, [0..5, 5..10]);
    assert_eq!(Some(prompt.ids[10]), pipeline.tokenizer().bos_id());
    Ok(())
}

fn a_question_longer_than_its_reader_is_refused_before_anything_is_encoded<B: VlmBackend>()
-> Result<()> {
    let pipeline = open::<B>(INSTRUCTBLIP)?;
    let request = AskRequest::new().image(picture(3)).user("a ".repeat(47));
    let error = pipeline
        .answer(&request)
        .expect_err("48 word pieces are the most");
    let expected = matches!(
        error,
        Error::ContextOverflow {
            prompt_tokens: 49,
            context_length: 48,
            ..
        }
    );
    assert!(expected, "{error:?}");
    Ok(())
}

fn time_and_kernels_of_the_projection_are_counted<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(INSTRUCTBLIP)?;
    let photo = pipeline.encode(&picture(3))?;
    let request = AskRequest::new().image(photo.clone()).user("What is this?");
    let answer = pipeline.answer(&request.max_new_tokens(2))?;
    assert!(answer.timings.encode > photo.encode_time());
    let norms = |calls: &burn_vlm::kernels::KernelReport| -> usize {
        let calls = calls.calls().filter(|(kernel, ..)| *kernel == "layer_norm");
        calls.map(|(.., calls)| calls).sum()
    };
    // One in front of the layers; two or three in each for the queries, one for the question.
    assert_eq!(
        norms(&answer.kernels) - norms(photo.kernels()),
        1 + 3 * 3 + 2
    );
    Ok(())
}
