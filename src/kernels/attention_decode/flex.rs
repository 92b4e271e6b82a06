//! [`attention_decode()`](super::attention_decode()) on the CPU.

use burn_flex::FlexTensor;

use crate::kernels::AttentionMask;
use crate::kernels::attention_prefill::{self, AttentionInputs};
use crate::kernels::{KvView, LaunchRefused};

pub(in crate::kernels) fn run(
    inputs: &AttentionInputs<FlexTensor>,
    views: &[KvView],
) -> Result<FlexTensor, LaunchRefused> {
    // The only query is the last token: it sees every key.
    attention_prefill::flex::run(inputs, views, AttentionMask::Bidirectional)
}
