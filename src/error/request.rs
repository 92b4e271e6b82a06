use super::visible::visible;

/// A request that contradicts itself or the model it is sent to.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestError {
    /// A number is outside its range.
    #[error("`{parameter}` is {}, expected {expected}", visible(found))]
    Parameter {
        /// The parameter's name, as in the builder.
        parameter: &'static str,
        /// The value given.
        found: String,
        /// What would be accepted.
        expected: &'static str,
    },
    /// The request holds no text and no picture.
    #[error("the request is empty: it needs at least one user message with text or a picture")]
    Empty,
    /// Messages come in an order that no template can render.
    #[error("message {index} has role {found}, expected {expected}")]
    RoleOrder {
        /// Position of the message, from 0.
        index: usize,
        /// Its role.
        found: &'static str,
        /// The roles that may stand there.
        expected: &'static str,
    },
    /// A picture was given to a model without a visual encoder.
    #[error("the request holds {images} picture(s), but `{model}` reads text only")]
    TextOnlyModel {
        /// Pictures in the request.
        images: usize,
        /// The model's family.
        model: String,
    },
    /// A text-only question was sent where the template demands a picture, or the reverse.
    #[error("the prompt has room for {slots} picture(s), the request holds {images}")]
    ImageCount {
        /// Picture places in the rendered prompt.
        slots: usize,
        /// Pictures in the request.
        images: usize,
    },
    /// A picture was encoded by another pipeline: another model, device or backend.
    #[error("the picture was encoded by another pipeline; encode it with the one that answers")]
    ForeignImage,
    /// No adapter of this name was loaded beside the model.
    #[error(
        "no adapter `{}` was loaded; there are: {}",
        visible(name),
        if known.is_empty() { "none".to_string() } else { visible(&known.join(", ")).to_string() }
    )]
    UnknownAdapter {
        /// The name in the request.
        name: String,
        /// The names that there are.
        known: Vec<String>,
    },
    /// A turn names another adapter than its session goes on with.
    #[error(
        "the session goes on with {}; start another one for `{}`",
        session.as_ref().map_or("no adapter".to_string(), |name| format!("adapter `{}`", visible(name))),
        visible(found)
    )]
    AdapterOfSession {
        /// What earlier turns were answered with.
        session: Option<String>,
        /// What this turn names.
        found: String,
    },
    /// A token id has no row in the model's embedding table.
    #[error("token id {id} is not in the embedding table of {vocab_size} rows")]
    UnknownTokenId {
        /// The id.
        id: u32,
        /// Rows of the table.
        vocab_size: usize,
    },
    /// The text is longer than the limit.
    #[error("the prompt text has {found_bytes} bytes, the limit is {limit_bytes}")]
    TooLong {
        /// Bytes of text in the request.
        found_bytes: usize,
        /// The limit.
        limit_bytes: usize,
    },
}
