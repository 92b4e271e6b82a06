//! From a prompt's rows to tokens: the loop of prefill, choose, decode.
//!
//! A [`Sequence`] is one cached sequence on the device, in a slot of a [`SlotPool`]; [`Generation`]
//! walks it token by token and says why it ended. Which token is chosen is [`Sampling`]'s, after
//! [`LogitRules`] had their way with the scores; when to stop is [`StopRules`]'.

mod beam;
mod beams;
mod cancel;
mod generate;
mod input;
mod interruption;
mod rng;
mod rules;
mod sampler;
mod sequence;
mod slots;
mod stop;
mod together;

pub use beam::{BeamOptions, EarlyStopping};
pub use cancel::CancelToken;
#[cfg(feature = "testing")]
pub use generate::StageTimings;
pub(crate) use generate::check_room;
pub use generate::{Generation, GenerationOptions};
pub use input::{DecoderInput, InputImage};
pub use interruption::Interruption;
pub use rules::{LogitRules, RuleScope};
pub use sampler::{SampleOptions, Sampling};
pub use sequence::Sequence;
#[cfg(feature = "testing")]
pub use sequence::{PREFILL_CHUNK_TOKENS, Token};
pub use slots::SlotPool;
pub use stop::{FinishReason, StopRules};
