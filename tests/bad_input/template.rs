//! Chat templates that are damaged, refuse, or take too much.

use std::path::Path;

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{AskRequest, Error, LoadOptions, MultimodalPipeline, RequestError, Result};
use burn_vlm::{ImageInput, TemplateError};

use crate::case::{Case, LLAVA, TEXT, ask, open_with_file, write};
use crate::support::{copy_model, picture};

const FILE: &str = "chat_template.jinja";

/// Asks a model whose own template is `source`.
fn ask_with<B: VlmBackend>(folder: &Path, source: &str) -> Result<()> {
    copy_model(TEXT, folder);
    write(&folder.join(FILE), source);
    let pipeline = MultimodalPipeline::<B>::open(folder, &LoadOptions::new())?;
    pipeline.answer(&AskRequest::text("Why?")).map(drop)
}

/// Shows a picture to a model whose own template is `source`.
fn show_with<B: VlmBackend>(folder: &Path, source: &str) -> Result<()> {
    copy_model(LLAVA, folder);
    write(&folder.join(FILE), source);
    let request: AskRequest<ImageInput> = AskRequest::new().image(picture(4)).user("Why?");
    MultimodalPipeline::<B>::open(folder, &LoadOptions::new())?
        .answer(&request)
        .map(drop)
}

pub(crate) fn cases<B: VlmBackend>() -> Vec<Case> {
    vec![
        case!(
            "a template that is no Jinja",
            "cannot be parsed",
            |at| open_with_file::<B>(TEXT, at, FILE, "{% for message in %}"),
            Error::Template(TemplateError::Syntax { .. })
        ),
        case!(
            "a template in Latin-1",
            FILE,
            |at| open_with_file::<B>(TEXT, at, FILE, b"r\xE9ponse"),
            Error::Template(TemplateError::Malformed { .. })
        ),
        case!(
            "a template of a megabyte",
            "the limit is 262144",
            |at| open_with_file::<B>(TEXT, at, FILE, vec![b' '; 1 << 20]),
            Error::Template(TemplateError::TooLarge { .. })
        ),
        case!(
            "a template that is a number",
            "chat_template.json",
            |at| open_with_file::<B>(LLAVA, at, "chat_template.json", r#"{"chat_template": 7}"#),
            Error::Template(TemplateError::Malformed { .. })
        ),
        case!(
            "templates of which none is the default",
            "tool_use",
            |at| open_with_file::<B>(
                LLAVA,
                at,
                "chat_template.json",
                r#"{"chat_template": {"tool_use": "a"}}"#
            ),
            Error::Template(TemplateError::Unknown { .. })
        ),
        case!(
            "a template that never ends",
            "budget",
            |at| ask_with::<B>(
                at,
                "{% for a in range(99999) %}{% for b in range(99999) %}.{% endfor %}{% endfor %}"
            ),
            Error::Template(TemplateError::TooExpensive { .. })
        ),
        case!(
            "a template that calls itself",
            "recursion",
            |at| ask_with::<B>(
                at,
                "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}"
            ),
            Error::Template(TemplateError::Unsupported { .. })
        ),
        case!(
            "a template that writes without end",
            "",
            |at| ask_with::<B>(at, "{{ 'abcdefgh' * 99999999 }}"),
            Error::Template(
                TemplateError::TooExpensive { .. }
                    | TemplateError::OutputTooLong { .. }
                    | TemplateError::Render { .. }
            )
        ),
        case!(
            "a template that refuses",
            "only in verse",
            |at| ask_with::<B>(at, "{{ raise_exception('only in verse') }}"),
            Error::Template(TemplateError::Refused { .. })
        ),
        case!(
            "a template that calls what is not there",
            "chat template failed",
            |at| ask_with::<B>(at, "{{ summon(messages) }}"),
            Error::Template(TemplateError::Render { .. })
        ),
        case!(
            "a template that shows no picture",
            "room for 0 picture(s)",
            |at| show_with::<B>(at, "{{ messages[0]['content'][1]['text'] }}"),
            Error::Request(RequestError::ImageCount {
                slots: 0,
                images: 1
            })
        ),
        case!(
            "a template that shows a picture twice",
            "room for 2 picture(s)",
            |at| show_with::<B>(at, "<image><image>{{ messages[0]['content'][1]['text'] }}"),
            Error::Request(RequestError::ImageCount {
                slots: 2,
                images: 1
            })
        ),
        case!(
            "a template by an unknown name",
            "vicuna_v9",
            |_| ask::<B>(TEXT, &AskRequest::new().user("Why?").template("vicuna_v9")),
            Error::Template(TemplateError::Unknown { .. })
        ),
        case!(
            "a template of its own where there is none",
            "vicuna_v1.1",
            |_| ask::<B>(
                TEXT,
                &AskRequest::new().user("Why?").template("chat_template")
            ),
            Error::Template(TemplateError::Missing { .. })
        ),
        case!(
            "a template that needs a token without a name",
            "eos",
            |at| {
                copy_model(TEXT, at);
                write(&at.join("tokenizer_config.json"), "{}");
                let request = AskRequest::text("Hi.").assistant("Hello.").user("Why?");
                let pipeline = MultimodalPipeline::<B>::open(at, &LoadOptions::new())?;
                pipeline.answer(&request.template("vicuna_v1.1")).map(drop)
            },
            Error::Template(TemplateError::MissingToken { token: "eos" })
        ),
        case!(
            "a template of one long chain",
            "250 levels",
            |at| ask_with::<B>(at, &format!("{{{{ 1{} }}}}", " + 1".repeat(20_000))),
            Error::Template(TemplateError::Syntax { .. })
        ),
        case!(
            "a template of signs",
            "100 levels",
            |at| ask_with::<B>(at, &format!("{{{{ {}1 }}}}", "-".repeat(20_000))),
            Error::Template(TemplateError::Syntax { .. })
        ),
        case!(
            "a template that prints a value which holds itself",
            "holds a namespace",
            |at| ask_with::<B>(at, "{% set n = namespace() %}{% set n.x = n %}{{ n }}"),
            Error::Template(TemplateError::Unsupported { .. })
        ),
        case!(
            "a template that nests a value without end",
            "100 levels",
            |at| ask_with::<B>(
                at,
                "{% set n = namespace(x=1) %}{% for i in range(9999) %}{% set n.x = [n.x] %}\
                 {% endfor %}{{ n.x | tojson }}"
            ),
            Error::Template(TemplateError::Unsupported { .. })
        ),
        case!(
            "a template that prints one value many times over",
            "",
            |at| ask_with::<B>(
                at,
                "{% set n = namespace(x=[1]) %}{% for i in range(90) %}{% set n.x = [n.x, n.x] %}\
                 {% endfor %}{{ n.x | string | length }}"
            ),
            Error::Template(
                TemplateError::TooExpensive { .. } | TemplateError::OutputTooLong { .. }
            )
        ),
        case!(
            "a template that joins more than there is memory",
            "",
            |at| ask_with::<B>(at, "{{ range(100000) | join('x' * 1000000) }}"),
            Error::Template(
                TemplateError::TooExpensive { .. } | TemplateError::OutputTooLong { .. }
            )
        ),
        case!(
            "a template that strips a set of a million characters",
            "budget",
            |at| ask_with::<B>(
                at,
                "{% for i in range(9999) %}{{ ('a' * 4000000).strip('b' * 1000000) }}{% endfor %}"
            ),
            Error::Template(TemplateError::TooExpensive { .. })
        ),
        case!(
            "a template that cycles through nothing",
            "`cycle` needs items",
            |at| ask_with::<B>(at, "{% for i in [1] %}{{ loop.cycle() }}{% endfor %}"),
            Error::Template(TemplateError::Render { .. })
        ),
        case!(
            "a template that doubles a list",
            "budget",
            |at| ask_with::<B>(
                at,
                "{% set n = namespace(x=[1]) %}{% for i in range(60) %}{% set n.x = n.x + n.x %}\
                 {% endfor %}{{ n.x | length }}"
            ),
            Error::Template(TemplateError::TooExpensive { .. })
        ),
        case!(
            "a template that says more than a screen holds",
            "refused the messages: x",
            |at| ask_with::<B>(at, "{{ raise_exception('x\\x1b[2J' * 100000) }}"),
            Error::Template(TemplateError::Refused { .. })
        ),
    ]
}
