//! Numbers of sampling outside of their ranges.

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AskRequest, Error, RequestError, Result, SampleOptions, Sampling};

use crate::case::{Case, TEXT, ask};

fn draw<B: VlmBackend>(change: fn(&mut SampleOptions)) -> Result<()> {
    let mut options = SampleOptions::default();
    change(&mut options);
    ask::<B>(
        TEXT,
        &AskRequest::new()
            .user("Why?")
            .sampling(Sampling::Sample(options)),
    )
}

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a temperature of zero",
            "`temperature` is 0",
            |_| draw::<B>(|options| options.temperature = 0.0),
            Error::Request(RequestError::Parameter {
                parameter: "temperature",
                ..
            })
        ),
        case!(
            "a temperature that a GPU may take for zero",
            "above 0",
            |_| draw::<B>(|options| options.temperature = f32::MIN_POSITIVE / 2.0),
            Error::Request(RequestError::Parameter {
                parameter: "temperature",
                ..
            })
        ),
        case!(
            "a negative temperature",
            "`temperature` is -1",
            |_| draw::<B>(|options| options.temperature = -1.0),
            Error::Request(RequestError::Parameter {
                parameter: "temperature",
                ..
            })
        ),
        case!(
            "a temperature that is no number",
            "`temperature` is NaN",
            |_| draw::<B>(|options| options.temperature = f32::NAN),
            Error::Request(RequestError::Parameter {
                parameter: "temperature",
                ..
            })
        ),
        case!(
            "an infinite temperature",
            "`temperature` is inf",
            |_| draw::<B>(|options| options.temperature = f32::INFINITY),
            Error::Request(RequestError::Parameter {
                parameter: "temperature",
                ..
            })
        ),
        case!(
            "the best of no tokens",
            "`top_k` is 0",
            |_| draw::<B>(|options| options.top_k = Some(0)),
            Error::Request(RequestError::Parameter {
                parameter: "top_k",
                ..
            })
        ),
        case!(
            "tokens of no probability",
            "`top_p` is 0",
            |_| draw::<B>(|options| options.top_p = 0.0),
            Error::Request(RequestError::Parameter {
                parameter: "top_p",
                ..
            })
        ),
        case!(
            "tokens of more than all probability",
            "`top_p` is 1.5",
            |_| draw::<B>(|options| options.top_p = 1.5),
            Error::Request(RequestError::Parameter {
                parameter: "top_p",
                ..
            })
        ),
        case!(
            "a probability that is no number",
            "`top_p` is NaN",
            |_| draw::<B>(|options| options.top_p = f32::NAN),
            Error::Request(RequestError::Parameter {
                parameter: "top_p",
                ..
            })
        ),
        case!(
            "a negative share",
            "`min_p` is -0.1",
            |_| draw::<B>(|options| options.min_p = -0.1),
            Error::Request(RequestError::Parameter {
                parameter: "min_p",
                ..
            })
        ),
        case!(
            "a share above one",
            "`min_p` is 1.1",
            |_| draw::<B>(|options| options.min_p = 1.1),
            Error::Request(RequestError::Parameter {
                parameter: "min_p",
                ..
            })
        ),
        case!(
            "a share that is no number",
            "`min_p` is NaN",
            |_| draw::<B>(|options| options.min_p = f32::NAN),
            Error::Request(RequestError::Parameter {
                parameter: "min_p",
                ..
            })
        ),
        case!(
            "a penalty of zero",
            "`repetition_penalty` is 0",
            |_| draw::<B>(|options| options.repetition_penalty = 0.0),
            Error::Request(RequestError::Parameter {
                parameter: "repetition_penalty",
                ..
            })
        ),
        case!(
            "a penalty that is no number",
            "`repetition_penalty` is NaN",
            |_| draw::<B>(|options| options.repetition_penalty = f32::NAN),
            Error::Request(RequestError::Parameter {
                parameter: "repetition_penalty",
                ..
            })
        ),
    ]
}
