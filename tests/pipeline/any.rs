//! A pipeline whose device is named at run time is the one whose backend is named in the code.
#![cfg(feature = "flex")]

use anyhow::Result;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    Answer, AnyAnswerStream, AnyImage, AnyPipeline, AskRequest, DeviceName, Error, LoadOptions,
    MultimodalPipeline, PipelineVisitor, RequestError,
};

use crate::fixture::{LLAVA, demo_folder, open, open_with};
use crate::support::{model_folder, picture};

/// A short context, so that questions without a limit have short answers.
fn options() -> LoadOptions {
    LoadOptions::new().with_context_length(300)
}

fn open_any(device: DeviceName) -> Result<AnyPipeline> {
    Ok(AnyPipeline::open(model_folder(LLAVA), device, &options())?)
}

/// The same model on the CPU, chosen at run time and in the code.
fn open_both() -> Result<(AnyPipeline, MultimodalPipeline<Cpu>)> {
    Ok((
        open_any(DeviceName::Cpu)?,
        open_with::<Cpu>(LLAVA, options())?,
    ))
}

#[test]
fn any_pipeline_on_the_cpu_answers_as_the_cpu_pipeline() -> Result<()> {
    let (any, typed) = open_both()?;
    let request = AskRequest::new()
        .image(picture(8))
        .user("What is this?")
        .max_new_tokens(9);
    let (ours, expected) = (any.answer(&request)?, typed.answer(&request)?);
    assert_eq!(ours.text, expected.text);
    assert_eq!(ours.token_ids, expected.token_ids);
    assert_eq!((ours.finish, ours.usage), (expected.finish, expected.usage));
    assert_eq!(ours.kernels, expected.kernels);
    assert_eq!(ours.device, expected.device);
    let stream = any.stream(&request)?;
    assert_ends_as_its_pieces(stream, &expected)?;
    let asked = any.ask(&any.encode(&picture(8))?, "What is this?")?;
    assert!(asked.token_ids.starts_with(&expected.token_ids));
    let many = any.ask_batch(&[request.clone(), request]);
    for answer in many {
        assert_eq!(answer?.token_ids, expected.token_ids);
    }
    Ok(())
}

#[test]
fn what_any_pipeline_tells_of_itself_is_what_the_cpu_pipeline_tells() -> Result<()> {
    let (any, typed) = open_both()?;
    assert_eq!(any.device_name(), typed.device_name());
    assert_eq!(any.context_length(), typed.context_length());
    assert_eq!(any.load_report(), typed.load_report());
    assert_eq!(any.spec().family.name, typed.spec().family.name);
    let ids = |tokenizer: &burn_vlm::text::Tokenizer| tokenizer.encode("a red circle");
    assert_eq!(ids(any.tokenizer())?, ids(typed.tokenizer())?);
    let answer = any.answer(&AskRequest::text("Why?").max_new_tokens(1))?;
    assert_eq!(answer.timings.load, any.load_time());
    Ok(())
}

#[test]
fn a_clone_of_any_pipeline_takes_its_pictures() -> Result<()> {
    let any = open_any(DeviceName::Cpu)?;
    let photo = any.encode(&picture(8))?;
    assert_eq!(
        any.clone().ask(&photo, "Why?")?.token_ids,
        any.ask(&photo, "Why?")?.token_ids
    );
    assert_eq!(any.session().pipeline().device(), any.device());
    Ok(())
}

#[test]
fn a_picture_of_any_pipeline_is_the_one_of_the_cpu_pipeline() -> Result<()> {
    let (any, typed) = open_both()?;
    let (ours, expected) = (any.encode(&picture(8))?, typed.encode(&picture(8))?);
    assert_eq!(ours.num_rows(), expected.num_rows());
    assert_eq!(ours.layout(), expected.layout());
    assert_eq!(&any.layout(picture(8).size())?, expected.layout());
    assert_eq!(ours.kernels(), expected.kernels());
    let answer = any.ask(&ours, "Why?")?;
    assert_eq!(answer.timings.image, ours.image_time());
    assert_eq!(answer.timings.encode, ours.encode_time());
    let (ours, expected) = (any.preprocess(&picture(8))?, typed.preprocess(&picture(8))?);
    assert_eq!(ours, expected);
    Ok(())
}

#[test]
fn a_prompt_of_any_pipeline_holds_the_rows_of_pictures_of_both_kinds() -> Result<()> {
    let (any, typed) = open_both()?;
    let mixed = AskRequest::<AnyImage>::new()
        .image(any.encode(&picture(8))?.into())
        .image(picture(9).into())
        .user("Which?")
        .max_new_tokens(5);
    let plain = AskRequest::new()
        .image(picture(8))
        .image(picture(9))
        .user("Which?")
        .max_new_tokens(5);
    assert_eq!(any.prompt(&mixed)?, typed.prompt(&plain)?);
    assert_eq!(
        any.answer(&mixed)?.token_ids,
        typed.answer(&plain)?.token_ids
    );
    Ok(())
}

#[test]
fn a_picture_of_another_pipeline_is_refused() -> Result<()> {
    let any = open_any(DeviceName::Cpu)?;
    let foreign = open_any(DeviceName::Cpu)?.encode(&picture(8))?;
    assert_is_foreign(any.ask(&foreign, "What is this?"));
    let request = AskRequest::new().image(foreign).user("What is this?");
    assert_is_foreign(any.prompt(&request));
    assert_is_foreign(any.session().turn(&request));
    Ok(())
}

/// Pictures that were encoded by a typed pipeline meet any pipeline as those of `encode` do.
#[cfg(feature = "train")]
#[test]
fn a_picture_of_a_backend_that_was_not_chosen_is_refused() -> Result<()> {
    let photo = open::<burn_autodiff::Autodiff<Cpu>>(LLAVA)?.encode(&picture(8))?;
    let photo = burn_vlm::AnyEncodedImage::from(photo);
    assert_is_foreign(open_any(DeviceName::Cpu)?.ask(&photo, "What is this?"));
    Ok(())
}

fn assert_is_foreign<T: std::fmt::Debug>(result: burn_vlm::Result<T>) {
    let is_foreign = matches!(result, Err(Error::Request(RequestError::ForeignImage)));
    assert!(is_foreign, "{result:?}");
}

fn assert_ends_as_its_pieces(mut stream: AnyAnswerStream<'_>, expected: &Answer) -> Result<()> {
    assert_eq!((stream.text(), stream.finish_reason()), ("", None));
    let pieces = stream.by_ref().collect::<burn_vlm::Result<String>>()?;
    assert_eq!(pieces, expected.text);
    assert_eq!(stream.text(), expected.text);
    assert_eq!(stream.finish_reason(), Some(expected.finish));
    Ok(())
}

#[test]
fn a_session_of_any_pipeline_answers_as_one_of_the_cpu_pipeline() -> Result<()> {
    let (any, typed) = open_both()?;
    let (mut ours, mut expected) = (any.session(), typed.session());
    let first = AskRequest::new()
        .image(picture(8))
        .user("What is this?")
        .max_new_tokens(6);
    let second = AskRequest::text("And now?").max_new_tokens(6);
    for request in [&first, &second] {
        assert_eq!(
            ours.turn(request)?.token_ids,
            expected.turn(request)?.token_ids
        );
    }
    assert_eq!(ours.messages(), expected.messages());
    assert_eq!(ours.cached_tokens(), expected.cached_tokens());
    assert!(ours.undo() && expected.undo());
    let stream = ours.stream(&second)?;
    assert_ends_as_its_pieces(stream, &expected.turn(&second)?)?;
    assert_eq!(ours.ask("Why?")?.token_ids, expected.ask("Why?")?.token_ids);
    Ok(())
}

#[test]
fn a_device_by_name_is_the_one_that_is_used() -> Result<()> {
    let any = open_any(DeviceName::Cpu)?;
    assert_eq!(any.device(), DeviceName::Cpu);
    assert!(any.passed_over().is_empty());
    assert_eq!(any.device_name(), open::<Cpu>(LLAVA)?.device_name());
    Ok(())
}

#[test]
fn auto_says_which_devices_it_passed_over_and_why() -> Result<()> {
    let any = open_any(DeviceName::Auto)?;
    let order = [DeviceName::Cuda(0), DeviceName::Wgpu, DeviceName::Cpu];
    let chosen = order.iter().position(|device| *device == any.device());
    let chosen = chosen.expect("one of the list is chosen, never `auto` itself");
    assert_eq!(any.passed_over().len(), chosen, "{:?}", any.passed_over());
    for (device, reason) in order.iter().zip(any.passed_over()) {
        let words = reason.strip_prefix(&format!("{device}: "));
        assert!(words.is_some_and(|words| words.len() > 10), "{reason}");
    }
    Ok(())
}

struct HiddenSize;

impl PipelineVisitor for HiddenSize {
    type Output = usize;

    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> usize {
        pipeline.spec().config.decoder.hidden_size
    }
}

#[test]
fn a_visitor_sees_the_pipeline_that_was_opened() -> Result<()> {
    assert_eq!(open_any(DeviceName::Cpu)?.visit(HiddenSize), 48);
    let demo = AnyPipeline::open(demo_folder(), DeviceName::Cpu, &LoadOptions::new())?;
    assert_eq!(demo.visit(HiddenSize), 192);
    Ok(())
}

#[test]
fn device_names_are_read_as_they_are_written() -> Result<()> {
    let names = ["auto", "cpu", "wgpu", "vulkan", "metal", "cuda:0", "cuda:7"];
    for name in names {
        assert_eq!(name.parse::<DeviceName>()?.to_string(), name);
    }
    assert_eq!("CUDA".parse::<DeviceName>()?, DeviceName::Cuda(0));
    assert_eq!(DeviceName::default(), DeviceName::Auto);
    assert!(DeviceName::known().contains(&"cpu".to_string()));
    Ok(())
}

#[cfg(feature = "wgpu")]
#[test]
fn a_picture_of_another_backend_is_refused() -> Result<()> {
    let photo = open_any(DeviceName::Cpu)?.encode(&picture(8))?;
    assert_is_foreign(open_any(DeviceName::Wgpu)?.ask(&photo, "What is this?"));
    Ok(())
}
