//! Pictures in requests: encoded once, in their places, and only where they belong.

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::text::{Message, Part, Role};
use burn_vlm::{AskRequest, Error, LoadOptions, RequestError};

use crate::decoding::{Case, assert_same_logits, best};
use crate::fixture::{LLAVA, open, open_with, seeing_models};
use crate::reference::{largest_difference, values};
use crate::support::picture;

laws![
    an_encoded_picture_serves_many_questions,
    encoding_is_preprocessing_and_then_encoding_tiles,
    pictures_stand_in_the_order_they_were_given,
    a_second_picture_does_not_disturb_the_first,
    a_picture_in_an_earlier_message_stays_there,
    a_picture_without_a_text_is_a_question,
    the_parts_of_a_message_are_the_builder_in_other_words,
    the_encoded_rows_are_what_the_decoder_reads,
    a_picture_of_another_pipeline_is_refused,
    a_model_without_eyes_refuses_pictures,
];

const QUESTION: &str = "What is this?";

fn an_encoded_picture_serves_many_questions<B: VlmBackend>() -> Result<()> {
    let pipeline = open_with::<B>(LLAVA, LoadOptions::new().with_context_length(170))?;
    let encoded = pipeline.encode(&picture(9))?;
    for question in ["What is this?", "Count them.", "Why red?", "What is this?"] {
        let reused = AskRequest::new()
            .image(encoded.clone())
            .user(question)
            .max_new_tokens(10);
        let anew = AskRequest::new()
            .image(picture(9))
            .user(question)
            .max_new_tokens(10);
        let (reused, anew) = (pipeline.answer(&reused)?, pipeline.answer(&anew)?);
        assert_eq!(reused.token_ids, anew.token_ids);
        assert_eq!(reused.usage, anew.usage);
    }
    let asked = pipeline.ask(&encoded, QUESTION)?;
    let request = AskRequest::new().image(encoded).user(QUESTION);
    assert_eq!(asked.token_ids, pipeline.answer(&request)?.token_ids);
    Ok(())
}

fn encoding_is_preprocessing_and_then_encoding_tiles<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let encoded = pipeline.encode(&picture(9))?;
    let pixels = pipeline.preprocess(&picture(9))?;
    let shape = pixels.shape();
    let data = burn::tensor::TensorData::new(pixels.into_data(), shape);
    let tiles = burn::tensor::Tensor::from_data(data, pipeline.device());
    let rows = pipeline.encode_tiles(tiles, encoded.layout(), "")?;
    assert_eq!(values(pipeline.image_rows(&encoded, "")?)?, values(rows)?);
    assert_eq!(encoded.num_rows(), 16);
    Ok(())
}

fn pictures_stand_in_the_order_they_were_given<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let (left, right) = (
        pipeline.encode(&picture(9))?,
        pipeline.encode(&picture(150))?,
    );
    let request = AskRequest::new()
        .image(left.clone())
        .image(right.clone())
        .user(QUESTION);
    let case = Case::new(pipeline.clone(), &request, &[left.clone(), right.clone()])?;
    let spans: Vec<_> = case
        .input
        .images
        .iter()
        .map(|image| (image.key, image.range()))
        .collect();
    let [(0, first), (1, second)] = &spans[..] else {
        panic!("the pictures are at {spans:?}")
    };
    assert!(first.end < second.start, "a line break stands between them");
    let expected = case.read(&mut case.sequence(case.input.len()), &case.input)?;
    let answer = pipeline.answer(&request.max_new_tokens(1))?;
    assert_eq!(answer.token_ids, [best(&expected)]);
    assert_eq!(
        answer.usage.image_tokens,
        left.num_rows() + right.num_rows()
    );
    let swapped = AskRequest::new()
        .image(right.clone())
        .image(left.clone())
        .user(QUESTION);
    let swapped = Case::new(pipeline, &swapped, &[right, left])?;
    let other = swapped.read(&mut swapped.sequence(swapped.input.len()), &swapped.input)?;
    assert!(
        largest_difference(&expected, &other)? > 1e-2,
        "the order decides something"
    );
    Ok(())
}

fn a_second_picture_does_not_disturb_the_first<B: VlmBackend>() -> Result<()> {
    for name in &seeing_models()? {
        let pipeline = open::<B>(name)?;
        let (first, second) = (
            pipeline.encode(&picture(9))?,
            pipeline.encode(&picture(150))?,
        );
        let one = AskRequest::new().image(first.clone());
        let two = one.clone().image(second.clone()).user(QUESTION);
        let one = Case::asked(
            pipeline.clone(),
            &one.user(QUESTION),
            std::slice::from_ref(&first),
            QUESTION,
        )?;
        let two = Case::asked(pipeline, &two, &[first, second], QUESTION)?;
        let spans = one.input.images.len();
        // A template may write what follows the first picture otherwise.
        let shared = two.input.images[spans - 1].range().end;
        assert_eq!(two.input.token_ids[..shared], one.input.token_ids[..shared]);
        let logits = |case: &Case<B>| -> Result<Vec<f32>> {
            let mut logits = case.whole(&case.input)?;
            logits.truncate(shared * case.vocab_size());
            Ok(logits)
        };
        assert_same_logits(name, &logits(&two)?, &logits(&one)?, one.vocab_size());
    }
    Ok(())
}

fn a_picture_in_an_earlier_message_stays_there<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let request = AskRequest::new()
        .image(picture(9))
        .user(QUESTION)
        .assistant("Stripes.");
    let prompt = pipeline.prompt(&request.image(picture(150)).user("And this?"))?;
    let [first, second] = prompt.image_spans[..] else {
        panic!("{:?}", prompt.image_spans)
    };
    assert_eq!((first.image, second.image), (0, 1));
    let between = pipeline
        .tokenizer()
        .decode(&prompt.ids[first.range().end..second.start]);
    assert!(
        between.contains(QUESTION) && between.contains("Stripes."),
        "{between:?}"
    );
    Ok(())
}

fn a_picture_without_a_text_is_a_question<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let alone = AskRequest::new().image(picture(9)).max_new_tokens(6);
    let empty = AskRequest::new()
        .image(picture(9))
        .user("")
        .max_new_tokens(6);
    assert_eq!(pipeline.prompt(&alone)?, pipeline.prompt(&empty)?);
    assert_eq!(
        pipeline.answer(&alone)?.token_ids,
        pipeline.answer(&empty)?.token_ids
    );
    Ok(())
}

fn the_parts_of_a_message_are_the_builder_in_other_words<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let parts = vec![Part::Image, Part::Text(QUESTION.to_string())];
    let message = Message {
        role: Role::User,
        parts,
    };
    let spelled = AskRequest::new().message(message, [picture(9)]);
    let built = AskRequest::new().image(picture(9)).user(QUESTION);
    assert_eq!(pipeline.prompt(&spelled)?, pipeline.prompt(&built)?);
    Ok(())
}

fn the_encoded_rows_are_what_the_decoder_reads<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let photo = pipeline.encode(&picture(9))?;
    let request = AskRequest::new().image(photo.clone()).user(QUESTION);
    let rows = pipeline.image_rows(&photo, QUESTION)?;
    let case = Case::new(pipeline, &request, std::slice::from_ref(&photo))?;
    let range = case.input.images[0].range();
    let embeds = case.embeds(&case.input).slice_dim(0, range);
    assert_eq!(values(embeds)?, values(rows)?);
    Ok(())
}

fn a_picture_of_another_pipeline_is_refused<B: VlmBackend>() -> Result<()> {
    let foreign = open::<B>(LLAVA)?.encode(&picture(9))?;
    let pipeline = open::<B>(LLAVA)?;
    let request = AskRequest::new().image(foreign).user(QUESTION);
    for error in [
        pipeline.answer(&request).err(),
        pipeline.session().turn(&request).err(),
    ] {
        let expected = Some(Error::Request(RequestError::ForeignImage));
        assert_eq!(format!("{error:?}"), format!("{expected:?}"));
    }
    Ok(())
}

fn a_model_without_eyes_refuses_pictures<B: VlmBackend>() -> Result<()> {
    let encoded = open::<B>(LLAVA)?.encode(&picture(9))?;
    let pipeline = open::<B>("vicuna_bin")?;
    let errors = [
        pipeline.encode(&picture(9)).err(),
        pipeline.preprocess(&picture(9)).err(),
        pipeline
            .answer(&AskRequest::new().image(picture(9)).user(QUESTION))
            .err(),
        pipeline
            .session()
            .turn(&AskRequest::new().image(encoded).user(QUESTION))
            .err(),
    ];
    for error in errors {
        let is_expected = matches!(
            error,
            Some(Error::Request(RequestError::TextOnlyModel {
                images: 1,
                ..
            }))
        );
        assert!(is_expected, "{error:?}");
    }
    Ok(())
}
