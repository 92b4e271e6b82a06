//! A request is thought through before a picture is encoded for it.

use std::cell::Cell;
use std::ops::ControlFlow;
use std::time::Instant;

use anyhow::Result;
use burn_vlm::kernels::{GoOn, VlmBackend};
use burn_vlm::models::ImageLayout;
use burn_vlm::{
    AskRequest, CancelToken, EncodedImage, Error, FinishReason, ImageInput, MultimodalPipeline,
    RequestError, RequestImage, SampleOptions, Sampling, TemplateError,
};

use crate::fixture::{LLAVA, open, seeing_models};
use crate::support::picture;

laws![
    a_prompt_is_written_from_sizes_alone,
    what_is_wrong_with_a_request_is_told_before_its_pictures_are_encoded,
    a_request_that_has_ended_encodes_nothing,
    a_request_that_is_cancelled_while_a_picture_is_encoded_ends_there,
    an_encoding_is_asked_between_its_layers_whether_to_go_on,
    a_layout_says_what_encoding_gives,
];

/// A picture that nobody may encode.
#[derive(Clone)]
struct Unseen(ImageInput);

impl<B: VlmBackend> RequestImage<B> for Unseen {
    fn plan(&self, pipeline: &MultimodalPipeline<B>) -> burn_vlm::Result<ImageLayout> {
        self.0.plan(pipeline)
    }

    fn encoded(
        &self,
        _: &MultimodalPipeline<B>,
        _: GoOn<'_>,
    ) -> burn_vlm::Result<Option<EncodedImage<B>>> {
        panic!("the picture was encoded");
    }
}

/// A picture that cancels its request as soon as it is encoded.
#[derive(Clone)]
struct Cancelling(ImageInput, CancelToken);

impl<B: VlmBackend> RequestImage<B> for Cancelling {
    fn plan(&self, pipeline: &MultimodalPipeline<B>) -> burn_vlm::Result<ImageLayout> {
        self.0.plan(pipeline)
    }

    fn encoded(
        &self,
        pipeline: &MultimodalPipeline<B>,
        go_on: GoOn<'_>,
    ) -> burn_vlm::Result<Option<EncodedImage<B>>> {
        self.1.cancel();
        self.0.encoded(pipeline, go_on)
    }
}

fn a_request_that_is_cancelled_while_a_picture_is_encoded_ends_there<B: VlmBackend>() -> Result<()>
{
    let pipeline = open::<B>(LLAVA)?;
    let cancel = CancelToken::new();
    let request = AskRequest::new()
        .image(Cancelling(picture(3), cancel.clone()))
        .user("Why?")
        .cancel(cancel);
    let answer = pipeline.answer(&request)?;
    assert_eq!(
        (answer.finish, answer.text.as_str()),
        (FinishReason::Cancelled, "")
    );
    assert_eq!(
        answer.kernels.calls().count(),
        0,
        "no picture was encoded to its end"
    );
    Ok(())
}

fn an_encoding_is_asked_between_its_layers_whether_to_go_on<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let asked = Cell::new(0);
    let go_on = || {
        asked.set(asked.get() + 1);
        match asked.get() {
            2 => ControlFlow::Break(()),
            _ => ControlFlow::Continue(()),
        }
    };
    assert!(picture(3).encoded(&pipeline, &go_on)?.is_none());
    assert_eq!(asked.get(), 2);
    assert!(picture(3).encoded(&pipeline, &go_on)?.is_some());
    assert!(asked.get() > 3, "the encoder has more layers than one");
    Ok(())
}

fn request() -> AskRequest<Unseen> {
    AskRequest::new().image(Unseen(picture(3))).user("Why?")
}

fn a_prompt_is_written_from_sizes_alone<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let encoded = pipeline.encode(&picture(3))?;
    let expected = pipeline.prompt(&AskRequest::new().image(encoded).user("Why?"))?;
    assert_eq!(pipeline.prompt(&request())?, expected);
    Ok(())
}

fn what_is_wrong_with_a_request_is_told_before_its_pictures_are_encoded<B: VlmBackend>()
-> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let refused = |request: AskRequest<Unseen>| {
        let in_a_session = pipeline.session().turn(&request).err();
        let alone = pipeline.answer(&request).err();
        assert_eq!(
            alone.as_ref().map(ToString::to_string),
            in_a_session.map(|error| error.to_string())
        );
        alone.expect("the request is wrong")
    };
    let too_long = refused(request().max_new_tokens(1 << 20));
    assert!(matches!(too_long, Error::ContextOverflow { .. }));
    let no_template = refused(request().template("no such format"));
    assert!(matches!(
        no_template,
        Error::Template(TemplateError::Unknown { .. })
    ));
    let too_hot = SampleOptions {
        temperature: f32::NAN,
        ..SampleOptions::default()
    };
    let no_number = refused(request().sampling(Sampling::Sample(too_hot)));
    assert!(matches!(
        no_number,
        Error::Request(RequestError::Parameter { .. })
    ));
    let no_stop = refused(request().stop(""));
    assert!(matches!(
        no_stop,
        Error::Request(RequestError::Parameter { .. })
    ));
    Ok(())
}

fn a_request_that_has_ended_encodes_nothing<B: VlmBackend>() -> Result<()> {
    let pipeline = open::<B>(LLAVA)?;
    let late = request().deadline(Instant::now());
    let cancel = CancelToken::new();
    cancel.cancel();
    let cancelled = request().cancel(cancel);
    for (request, reason) in [
        (late, FinishReason::Deadline),
        (cancelled, FinishReason::Cancelled),
    ] {
        let prompt = pipeline.prompt(&request)?;
        let answer = pipeline.answer(&request)?;
        assert_eq!((answer.text.as_str(), answer.finish), ("", reason));
        assert_eq!(answer.usage.prompt_tokens, prompt.ids.len());
        let mut session = pipeline.session();
        assert_eq!(session.turn(&request)?.finish, reason);
        assert!(session.messages().is_empty());
    }
    Ok(())
}

fn a_layout_says_what_encoding_gives<B: VlmBackend>() -> Result<()> {
    for name in &seeing_models()? {
        let pipeline = open::<B>(name)?;
        let picture = picture(5);
        let layout = pipeline.layout(picture.size())?;
        let encoded = pipeline.encode(&picture)?;
        assert_eq!(encoded.layout(), &layout);
        assert_eq!(encoded.num_rows(), layout.num_rows());
        let [num_tiles, ..] = pipeline.preprocess(&picture)?.shape();
        assert_eq!(num_tiles, layout.num_tiles, "{name}");
    }
    Ok(())
}
