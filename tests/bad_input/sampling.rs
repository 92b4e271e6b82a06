//! Numbers of sampling outside of their ranges.

use burn_vlm::kernels::VlmBackend;
use burn_vlm::{
    AskRequest, BeamOptions, ConfigError, Error, LogitRules, RequestError, Result, SampleOptions,
    Sampling,
};

use crate::case::{Case, TEXT, ask, open_with_file};

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

fn rule<B: VlmBackend>(change: fn(&mut LogitRules)) -> Result<()> {
    let mut rules = LogitRules::default();
    change(&mut rules);
    ask::<B>(TEXT, &AskRequest::new().user("Why?").rules(rules))
}

fn search<B: VlmBackend>(change: fn(&mut BeamOptions)) -> Result<()> {
    let mut beams = BeamOptions::default();
    change(&mut beams);
    let request = AskRequest::new().user("Why?");
    ask::<B>(TEXT, &request.sampling(Sampling::Beam(beams)))
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
            |_| rule::<B>(|rules| rules.repetition_penalty = 0.0),
            Error::Request(RequestError::Parameter {
                parameter: "repetition_penalty",
                ..
            })
        ),
        case!(
            "a penalty that is no number",
            "`repetition_penalty` is NaN",
            |_| rule::<B>(|rules| rules.repetition_penalty = f32::NAN),
            Error::Request(RequestError::Parameter {
                parameter: "repetition_penalty",
                ..
            })
        ),
        case!(
            "an infinite reward for the words of the prompt",
            "`encoder_repetition_penalty` is inf",
            |_| rule::<B>(|rules| rules.encoder_repetition_penalty = f32::INFINITY),
            Error::Request(RequestError::Parameter {
                parameter: "encoder_repetition_penalty",
                ..
            })
        ),
        case!(
            "a bad word of no tokens",
            "`bad_words_ids` is no token",
            |_| rule::<B>(|rules| rules.bad_words_ids = vec![vec![]]),
            Error::Request(RequestError::Parameter {
                parameter: "bad_words_ids",
                ..
            })
        ),
        case!(
            "a bias that is no number",
            "`sequence_bias` is NaN",
            |_| rule::<B>(|rules| rules.sequence_bias = vec![(vec![4], f32::NAN)]),
            Error::Request(RequestError::Parameter {
                parameter: "sequence_bias",
                ..
            })
        ),
        case!(
            "an end made likelier by a negative factor",
            "`exponential_decay_length_penalty` is -2",
            |_| rule::<B>(|rules| rules.exponential_decay_length_penalty = Some((3, -2.0))),
            Error::Request(RequestError::Parameter {
                parameter: "exponential_decay_length_penalty",
                ..
            })
        ),
        case!(
            "a token to be forced that there is not",
            "token id 90000",
            |_| rule::<B>(|rules| rules.forced_eos_token_ids = vec![90_000]),
            Error::Request(RequestError::UnknownTokenId { id: 90_000, .. })
        ),
        case!(
            "a search without beams",
            "`num_beams` is 0",
            |_| search::<B>(|beams| beams.num_beams = 0),
            Error::Request(RequestError::Parameter {
                parameter: "num_beams",
                ..
            })
        ),
        case!(
            "a search with a million beams",
            "`num_beams` is 1000000",
            |_| search::<B>(|beams| beams.num_beams = 1_000_000),
            Error::Request(RequestError::Parameter {
                parameter: "num_beams",
                ..
            })
        ),
        case!(
            "a length penalty that is no number",
            "`length_penalty` is NaN",
            |_| search::<B>(|beams| beams.length_penalty = f32::NAN),
            Error::Request(RequestError::Parameter {
                parameter: "length_penalty",
                ..
            })
        ),
        case!(
            "a checkpoint that stops early in its own way",
            "`early_stopping`",
            |folder| open_with_file::<B>(
                TEXT,
                folder,
                "generation_config.json",
                r#"{"num_beams": 3, "early_stopping": "soon"}"#
            ),
            Error::Config(ConfigError::OutOfRange { .. })
        ),
    ]
}
