//! Why an answer ends, and with which words.

use anyhow::Result;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    Answer, AskRequest, DEFAULT_MAX_NEW_TOKENS, EncodedImage, Error, FinishReason, LoadOptions,
    LogitRules, MultimodalPipeline,
};
use serde_json::Value;

use crate::fixture::{LLAVA, demo_photo, open, open_demo, open_fixture, open_with};
use crate::support::{copy_model, edit_json};

laws![
    a_trained_model_ends_by_itself_and_its_last_id_is_not_in_the_answer,
    a_stop_string_across_any_border_of_tokens_ends_the_text_in_front_of_it,
    of_several_stop_strings_the_first_completed_one_counts,
    stop_strings_of_a_template_come_behind_the_requests_own,
    end_tokens_of_the_generation_configuration_end_the_answer,
    the_end_token_of_the_tokenizer_ends_the_answer_where_no_other_is_named,
    a_stop_string_that_never_comes_changes_nothing,
    a_stop_token_ends_the_answer_in_front_of_it,
    an_answer_of_fewer_tokens_is_the_beginning_of_a_longer_one,
    an_answer_fits_the_context_to_the_last_token,
    an_overflowing_request_says_how_many_tokens_it_needs,
    without_a_limit_an_answer_takes_what_room_there_is,
    control_tokens_come_out_as_text_where_a_request_says_so,
];

const QUESTION: &str = "What is in this picture?";

struct Demo<B: VlmBackend> {
    pipeline: MultimodalPipeline<B>,
    request: AskRequest<EncodedImage<B>>,
    whole: Answer,
}

impl<B: VlmBackend> Demo<B> {
    fn open() -> Result<Self> {
        let pipeline = open_demo::<B>()?;
        let photo = pipeline.encode(&demo_photo()?)?;
        let request = AskRequest::new().image(photo).user(QUESTION);
        let whole = pipeline.answer(&request)?;
        Ok(Self {
            pipeline,
            request,
            whole,
        })
    }
}

fn a_trained_model_ends_by_itself_and_its_last_id_is_not_in_the_answer<B: VlmBackend>() -> Result<()>
{
    let demo = Demo::<B>::open()?;
    let eos_id = demo
        .pipeline
        .tokenizer()
        .eos_id()
        .expect("the tokenizer names it");
    assert_eq!(demo.whole.finish, FinishReason::EndOfText);
    assert!(!demo.whole.token_ids.contains(&eos_id));
    assert!(!demo.whole.text.contains("</s>"));
    assert_eq!(
        demo.whole.usage.generated_tokens,
        demo.whole.token_ids.len()
    );
    Ok(())
}

fn a_stop_string_across_any_border_of_tokens_ends_the_text_in_front_of_it<B: VlmBackend>()
-> Result<()> {
    let Demo {
        pipeline,
        request,
        whole,
    } = Demo::<B>::open()?;
    let mut borders = 0;
    for num_tokens in 1..7 {
        let head = pipeline.tokenizer().decode(&whole.token_ids[..num_tokens]);
        let tail = &whole.text[head.len()..];
        let (Some(before), Some(behind)) = (head.chars().next_back(), tail.get(..2)) else {
            continue;
        };
        borders += 1;
        let stop = format!("{before}{behind}");
        let mut stream = pipeline.stream(&request.clone().stop(stop.clone()))?;
        let pieces = stream.by_ref().collect::<burn_vlm::Result<String>>()?;
        let answer = stream.finish()?;
        let at = whole.text.find(&stop).expect("it was cut out of the text");
        assert_eq!(answer.finish, FinishReason::Stop(0), "{stop:?}");
        assert_eq!(answer.text, whole.text[..at], "{stop:?}");
        assert_eq!(pieces, answer.text);
        assert!(whole.token_ids.starts_with(&answer.token_ids));
    }
    assert!(borders >= 4, "an answer of {:?}", whole.text);
    Ok(())
}

fn of_several_stop_strings_the_first_completed_one_counts<B: VlmBackend>() -> Result<()> {
    let Demo {
        pipeline,
        request,
        whole,
    } = Demo::<B>::open()?;
    let early = whole.text.split(' ').nth(1).expect("the answer has words");
    let late = whole.text.split(' ').nth(4).expect("the answer has words");
    let request = request.stop("nowhere").stop(late).stop(early);
    let answer = pipeline.answer(&request)?;
    assert_eq!(answer.finish, FinishReason::Stop(2));
    assert_eq!(
        answer.text,
        whole.text[..whole.text.find(early).expect("a word of it")]
    );
    Ok(())
}

fn stop_strings_of_a_template_come_behind_the_requests_own<B: VlmBackend>() -> Result<()> {
    let Demo {
        pipeline, request, ..
    } = Demo::<B>::open()?;
    let request = request.template("vicuna_v0").max_new_tokens(12);
    let whole = pipeline.answer(&request)?.text;
    let word = whole.split(' ').nth(1).expect("the answer has words");
    let answer = pipeline.answer(&request.stop("nowhere").stop(word))?;
    assert_eq!(answer.finish, FinishReason::Stop(1));
    Ok(())
}

fn end_tokens_of_the_generation_configuration_end_the_answer<B: VlmBackend>() -> Result<()> {
    let request = AskRequest::text(QUESTION).max_new_tokens(6);
    let whole = open::<B>("llama3_rope")?.answer(&request)?;
    let folder = tempfile::tempdir()?;
    copy_model("llama3_rope", folder.path());
    let config = format!(r#"{{"eos_token_id": [2, {}]}}"#, whole.token_ids[4]);
    std::fs::write(folder.path().join("generation_config.json"), config)?;
    let pipeline = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new())?;
    let answer = pipeline.answer(&request)?;
    let at = whole
        .token_ids
        .iter()
        .position(|id| *id == whole.token_ids[4]);
    assert_eq!(answer.finish, FinishReason::EndOfText);
    assert_eq!(Some(answer.token_ids.len()), at);
    Ok(())
}

fn the_end_token_of_the_tokenizer_ends_the_answer_where_no_other_is_named<B: VlmBackend>()
-> Result<()> {
    let fixture = open_fixture(LLAVA)?;
    let request = fixture.request(&fixture.images);
    let folder = tempfile::tempdir()?;
    copy_model(LLAVA, folder.path());
    std::fs::remove_file(folder.path().join("generation_config.json"))?;
    edit_json(&folder.path().join("config.json"), |config| {
        config["text_config"]["eos_token_id"] = Value::Null;
    });
    let pipeline = MultimodalPipeline::<B>::open(folder.path(), &LoadOptions::new())?;
    assert!(pipeline.spec().config.eos_token_ids.is_empty());
    let answer = pipeline.answer(&request)?;
    assert_eq!(answer.finish, FinishReason::EndOfText);
    assert_eq!(answer.text, fixture.text());
    Ok(())
}

fn a_stop_string_that_never_comes_changes_nothing<B: VlmBackend>() -> Result<()> {
    let Demo {
        pipeline,
        request,
        whole,
    } = Demo::<B>::open()?;
    // Held back until the end, because it might have become the stop string.
    let longer = format!("{} and more", whole.text);
    let answer = pipeline.answer(&request.stop(longer).stop("nowhere"))?;
    assert_eq!(answer.text, whole.text);
    assert_eq!(answer.token_ids, whole.token_ids);
    assert_eq!(answer.finish, whole.finish);
    Ok(())
}

fn a_stop_token_ends_the_answer_in_front_of_it<B: VlmBackend>() -> Result<()> {
    let Demo {
        pipeline,
        request,
        whole,
    } = Demo::<B>::open()?;
    for id in whole.token_ids.iter().step_by(3).take(3) {
        let at = whole
            .token_ids
            .iter()
            .position(|chosen| chosen == id)
            .expect("it is there");
        let answer =
            pipeline.answer(&request.clone().stop_token_id(u32::MAX).stop_token_id(*id))?;
        assert_eq!(answer.finish, FinishReason::StopToken(*id));
        assert_eq!(answer.token_ids, whole.token_ids[..at]);
    }
    Ok(())
}

fn an_answer_of_fewer_tokens_is_the_beginning_of_a_longer_one<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>("vicuna_bin")?;
    let request = AskRequest::text(QUESTION);
    let whole = pipeline.answer(&request.clone().max_new_tokens(20))?;
    for max_new_tokens in [1, 2, 7, 19] {
        let answer = pipeline.answer(&request.clone().max_new_tokens(max_new_tokens))?;
        assert_eq!(answer.finish, FinishReason::MaxNewTokens);
        assert_eq!(answer.token_ids, whole.token_ids[..max_new_tokens]);
        assert_eq!(answer.usage.generated_tokens, max_new_tokens);
    }
    Ok(())
}

fn with_context<B: VlmBackend>(tokens: usize) -> Result<MultimodalPipeline<B>> {
    open_with(LLAVA, LoadOptions::new().with_context_length(tokens))
}

fn prompt_tokens<B: VlmBackend>() -> Result<usize> {
    Ok(open::<B>(LLAVA)?
        .prompt(&AskRequest::text(QUESTION))?
        .ids
        .len())
}

fn an_answer_fits_the_context_to_the_last_token<B: VlmBackend>() -> Result<()> {
    let prompt_tokens = prompt_tokens::<B>()?;
    // The last token is chosen and never read.
    let pipeline = with_context::<B>(prompt_tokens + 7)?;
    let request = AskRequest::text(QUESTION).max_new_tokens(8);
    let answer = pipeline.answer(&request)?;
    assert_eq!(
        answer.token_ids,
        open::<B>(LLAVA)?.answer(&request)?.token_ids
    );
    assert_eq!(
        pipeline.session().turn(&request)?.token_ids,
        answer.token_ids
    );
    Ok(())
}

fn an_overflowing_request_says_how_many_tokens_it_needs<B: VlmBackend>() -> Result<()> {
    let expected = prompt_tokens::<B>()?;
    let pipeline = with_context::<B>(expected + 6)?;
    let request = AskRequest::text(QUESTION).max_new_tokens(8);
    for result in [pipeline.answer(&request), pipeline.session().turn(&request)] {
        let error = result.expect_err("one token too many");
        let Error::ContextOverflow {
            prompt_tokens,
            max_new_tokens,
            context_length,
        } = error
        else {
            panic!("another error: {error}");
        };
        assert_eq!((prompt_tokens, max_new_tokens), (expected, 8));
        assert_eq!(context_length, expected + 6);
    }
    Ok(())
}

fn without_a_limit_an_answer_takes_what_room_there_is<B: VlmBackend>() -> Result<()> {
    let prompt_tokens = prompt_tokens::<B>()?;
    let request = AskRequest::text(QUESTION);
    for room in [1, 4] {
        let pipeline = with_context::<B>(prompt_tokens + room - 1)?;
        let answer = pipeline.answer(&request)?;
        assert_eq!(answer.usage.generated_tokens, room);
        assert_eq!(answer.finish, FinishReason::MaxNewTokens);
    }
    let full = with_context::<B>(prompt_tokens - 1)?.answer(&request);
    assert!(
        matches!(
            full,
            Err(Error::ContextOverflow {
                max_new_tokens: 1,
                ..
            })
        ),
        "{full:?}"
    );
    let answer = open::<B>(LLAVA)?.answer(&request)?;
    assert!(answer.usage.generated_tokens <= DEFAULT_MAX_NEW_TOKENS);
    Ok(())
}

fn control_tokens_come_out_as_text_where_a_request_says_so<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let image_id = pipeline.tokenizer().token_id("<image>");
    let image_id = image_id.expect("the model has a token for pictures");
    let rules = LogitRules {
        sequence_bias: vec![(vec![image_id], 1e4)],
        ..LogitRules::default()
    };
    let request = AskRequest::<EncodedImage<B>>::new()
        .user(QUESTION)
        .rules(rules);
    let request = request.max_new_tokens(3);
    assert_eq!(pipeline.answer(&request)?.text, "");
    let shown = pipeline.answer(&request.show_control_tokens(true))?;
    assert_eq!(shown.token_ids, [image_id; 3]);
    assert_eq!(shown.text, "<image><image><image>");
    Ok(())
}
