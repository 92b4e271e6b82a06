//! From a prompt's rows to tokens: the loop of prefill, choose, decode.
//!
//! A [`Sequence`] is one cached sequence on the device, in a slot of a [`SlotPool`]; [`Generation`]
//! walks it token by token and says why it ended. Which token is chosen is [`Sampling`]'s, when to stop is [`StopRules`]'.

mod cancel;
mod generate;
mod input;
mod interruption;
mod rng;
mod sampler;
mod sequence;
mod slots;
mod stop;

pub use cancel::CancelToken;
#[cfg(feature = "testing")]
pub use generate::StageTimings;
pub(crate) use generate::check_room;
pub use generate::{Generation, GenerationOptions};
pub use input::{DecoderInput, InputImage};
pub use interruption::Interruption;
pub use sampler::{SampleOptions, Sampling};
pub use sequence::Sequence;
#[cfg(feature = "testing")]
pub use sequence::{PREFILL_CHUNK_TOKENS, Token};
#[cfg(feature = "testing")]
pub use slots::SlotPool;
pub use stop::{FinishReason, StopRules};
