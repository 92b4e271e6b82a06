//! A pipeline whose device is named at run time is the one whose backend is named in the code.
#![cfg(feature = "flex")]

use anyhow::Result;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    Answer, AnyAnswerStream, AnyPipeline, AskRequest, DeviceName, LoadOptions, MultimodalPipeline,
    PipelineVisitor,
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

#[test]
fn any_pipeline_on_the_cpu_answers_as_the_cpu_pipeline() -> Result<()> {
    let (any, typed) = (
        open_any(DeviceName::Cpu)?,
        open_with::<Cpu>(LLAVA, options())?,
    );
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
    Ok(())
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
    let (any, typed) = (
        open_any(DeviceName::Cpu)?,
        open_with::<Cpu>(LLAVA, options())?,
    );
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
    use burn_vlm::{Error, RequestError};

    let photo = open_any(DeviceName::Cpu)?.encode(&picture(8))?;
    let error = open_any(DeviceName::Wgpu)?
        .ask(&photo, "What is this?")
        .err();
    let is_expected = matches!(error, Some(Error::Request(RequestError::ForeignImage)));
    assert!(is_expected, "{error:?}");
    Ok(())
}
