//! Requests that contradict themselves or the model.

use burn_vlm::kernels::VlmBackend;
use burn_vlm::text::{MAX_TEXT_BYTES, Message, Part, Role};
use burn_vlm::{
    AskRequest, EncodedImage, Error, LoadOptions, MultimodalPipeline, RequestError, Result,
};

use crate::case::{Case, LLAVA, TEXT, ask};
use crate::support::{model_folder, picture, repository};

type Request<B> = AskRequest<EncodedImage<B>>;

fn question<B: VlmBackend>() -> Request<B> {
    AskRequest::new().user("Why?")
}

fn parts(role: Role, parts: &[Part]) -> Message {
    Message {
        role,
        parts: parts.to_vec(),
    }
}

/// Asks with a picture, which `build` puts somewhere.
fn show<B: VlmBackend>(build: fn(EncodedImage<B>) -> Request<B>) -> Result<()> {
    let pipeline = MultimodalPipeline::<B>::open(model_folder(LLAVA), &LoadOptions::new())?;
    pipeline
        .answer(&build(pipeline.encode(&picture(4))?))
        .map(drop)
}

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    [
        messages::<B>(),
        pictures::<B>(),
        lengths::<B>(),
        stops::<B>(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn messages<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a request of nothing",
            "empty",
            |_| ask::<B>(TEXT, &Request::<B>::new()),
            Error::Request(RequestError::Empty)
        ),
        case!(
            "a question without a word",
            "empty",
            |_| ask::<B>(TEXT, &Request::<B>::new().user("")),
            Error::Request(RequestError::Empty)
        ),
        case!(
            "a message without parts",
            "empty",
            |_| ask::<B>(
                TEXT,
                &Request::<B>::new().message(parts(Role::User, &[]), [])
            ),
            Error::Request(RequestError::Empty)
        ),
        case!(
            "a second turn of nothing",
            "empty",
            |_| {
                let options = LoadOptions::new();
                let pipeline = MultimodalPipeline::<B>::open(model_folder(TEXT), &options)?;
                let mut session = pipeline.session();
                session.turn(&Request::<B>::new().user("Why?").max_new_tokens(2))?;
                session.turn(&Request::<B>::new()).map(drop)
            },
            Error::Request(RequestError::Empty)
        ),
        case!(
            "only a system text",
            "empty",
            |_| ask::<B>(TEXT, &Request::<B>::new().system("Be kind.")),
            Error::Request(RequestError::Empty)
        ),
        case!(
            "an answer in the end",
            "message 1 has role assistant",
            |_| ask::<B>(TEXT, &question::<B>().assistant("Because.")),
            Error::Request(RequestError::RoleOrder { index: 1, .. })
        ),
        case!(
            "two questions in a row",
            "message 1 has role user",
            |_| ask::<B>(TEXT, &question::<B>().user("And how?")),
            Error::Request(RequestError::RoleOrder { index: 1, .. })
        ),
        case!(
            "an answer in front of every question",
            "message 0 has role assistant",
            |_| ask::<B>(
                TEXT,
                &Request::<B>::new().assistant("Because.").user("Why?")
            ),
            Error::Request(RequestError::RoleOrder { index: 0, .. })
        ),
        case!(
            "a system text in the middle",
            "message 2 has role system",
            |_| ask::<B>(
                TEXT,
                &question::<B>()
                    .assistant("So.")
                    .message(Message::system("Be kind."), [])
                    .user("Why?")
            ),
            Error::Request(RequestError::RoleOrder { index: 2, .. })
        ),
    ]
}

fn pictures<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a picture for a model without eyes",
            "reads text only",
            |_| {
                let folder = model_folder(TEXT);
                let pipeline = MultimodalPipeline::<B>::open(folder, &LoadOptions::new())?;
                let request = AskRequest::new().image(picture(4)).user("Why?");
                pipeline.answer(&request).map(drop)
            },
            Error::Request(RequestError::TextOnlyModel { images: 1, .. })
        ),
        case!(
            "a picture encoded for another model",
            "encoded by another pipeline",
            |_| {
                let folder = repository("examples/demo/model");
                let other = MultimodalPipeline::<B>::open(folder, &LoadOptions::new())?;
                let request = AskRequest::new()
                    .image(other.encode(&picture(4))?)
                    .user("Why?");
                ask::<B>(LLAVA, &request)
            },
            Error::Request(RequestError::ForeignImage)
        ),
        case!(
            "a place for a picture and no picture",
            "room for 1 picture(s)",
            |_| ask::<B>(
                LLAVA,
                &Request::<B>::new().message(Message::user("Why?").with_image(), [])
            ),
            Error::Request(RequestError::ImageCount {
                slots: 1,
                images: 0
            })
        ),
        case!(
            "more pictures than places",
            "holds 1",
            |_| show::<B>(|photo| Request::<B>::new().message(Message::user("Why?"), [photo])),
            Error::Request(RequestError::ImageCount {
                slots: 0,
                images: 1
            })
        ),
        case!(
            "a picture too few here and one too many there",
            "room for 1 picture(s)",
            |_| show::<B>(|photo| Request::<B>::new()
                .message(Message::user("Why?").with_image(), [])
                .assistant("So.")
                .message(Message::user("And?"), [photo])),
            Error::Request(RequestError::ImageCount {
                slots: 1,
                images: 0
            })
        ),
        case!(
            "a place for a picture in a model without eyes",
            "picture",
            |_| ask::<B>(
                TEXT,
                &Request::<B>::new().message(Message::user("Why?").with_image(), [])
            ),
            Error::Request(RequestError::ImageCount {
                slots: 1,
                images: 0
            })
        ),
        case!(
            "a picture that the assistant shows",
            "the assistant message",
            |_| show::<B>(|photo| question::<B>()
                .message(parts(Role::Assistant, &[Part::Image]), [photo])
                .user("Why?")),
            Error::Request(RequestError::Parameter {
                parameter: "messages",
                ..
            })
        ),
        case!(
            "a picture in the system text",
            "the system message",
            |_| show::<B>(|photo| Request::<B>::new()
                .message(parts(Role::System, &[Part::Image]), [photo])
                .user("Why?")),
            Error::Request(RequestError::Parameter {
                parameter: "messages",
                ..
            })
        ),
    ]
}

fn lengths<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a text of a megabyte and more",
            "the limit is 1048576",
            |_| ask::<B>(
                TEXT,
                &Request::<B>::new().user("a".repeat(MAX_TEXT_BYTES + 1))
            ),
            Error::Request(RequestError::TooLong { .. })
        ),
        case!(
            "a prompt longer than the context",
            "the context holds 1024",
            |_| ask::<B>(LLAVA, &Request::<B>::new().user("a ".repeat(2000))),
            Error::ContextOverflow {
                context_length: 1024,
                ..
            }
        ),
        case!(
            "an answer longer than the context",
            "5000 more",
            |_| ask::<B>(LLAVA, &question::<B>().max_new_tokens(5000)),
            Error::ContextOverflow {
                max_new_tokens: 5000,
                ..
            }
        ),
        case!(
            "an answer without end",
            "18446744073709551615",
            |_| ask::<B>(LLAVA, &question::<B>().max_new_tokens(usize::MAX)),
            Error::ContextOverflow {
                max_new_tokens: usize::MAX,
                ..
            }
        ),
        case!(
            "an answer of no tokens",
            "max_new_tokens",
            |_| ask::<B>(TEXT, &question::<B>().max_new_tokens(0)),
            Error::Request(RequestError::Parameter {
                parameter: "max_new_tokens",
                ..
            })
        ),
        case!(
            "more pictures than the context holds",
            "the context holds 1024",
            |_| show::<B>(|photo| {
                let many = std::iter::repeat_n(photo, 70);
                many.fold(AskRequest::new(), AskRequest::image).user("Why?")
            }),
            Error::ContextOverflow {
                prompt_tokens: 1120..,
                ..
            }
        ),
    ]
}

fn stops<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a stop string of no characters",
            "a string of 0 bytes",
            |_| ask::<B>(TEXT, &question::<B>().stop("")),
            Error::Request(RequestError::Parameter {
                parameter: "stop",
                ..
            })
        ),
        case!(
            "a stop string of a thousand bytes",
            "a string of 1000 bytes",
            |_| ask::<B>(TEXT, &question::<B>().stop("a".repeat(1000))),
            Error::Request(RequestError::Parameter {
                parameter: "stop",
                ..
            })
        ),
        case!(
            "seventeen stop strings",
            "17 strings",
            |_| ask::<B>(
                TEXT,
                &(0..17).fold(question::<B>(), |request, _| request.stop("end"))
            ),
            Error::Request(RequestError::Parameter {
                parameter: "stop",
                ..
            })
        ),
    ]
}
