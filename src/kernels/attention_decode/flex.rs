//! [`attention_decode()`](super::attention_decode()) on the CPU.

use burn_flex::FlexTensor;

use crate::kernels::LaunchRefused;
use crate::kernels::attention_prefill::{self, AttentionInputs, AttentionMask, KvRow};

pub(in crate::kernels) fn run(
    inputs: &AttentionInputs<FlexTensor>,
    rows: &[KvRow],
) -> Result<FlexTensor, LaunchRefused> {
    // The only query is the last token: it sees every key.
    attention_prefill::flex::run(inputs, rows, AttentionMask::Bidirectional)
}
