//! From a prompt's rows to tokens: the loop of prefill, choose, decode.
//!
//! A [`Sequence`] is one cached sequence on the device; [`Generation`] walks it token by token and
//! says why it ended. Which token is chosen is [`Sampling`]'s, when to stop is [`StopRules`]'.

mod cancel;
mod generate;
mod input;
mod rng;
mod sampler;
mod sequence;
mod stop;

pub use cancel::CancelToken;
pub(crate) use generate::check_room;
pub use generate::{Generation, GenerationOptions, StageTimings};
pub use input::{DecoderInput, InputImage};
pub use sampler::{SampleOptions, Sampling};
pub use sequence::{PREFILL_CHUNK_TOKENS, Sequence};
pub use stop::{FinishReason, StopRules};
