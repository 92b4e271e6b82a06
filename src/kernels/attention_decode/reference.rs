use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;

use crate::kernels::AttentionMask;
use crate::kernels::KvView;
use crate::kernels::attention_prefill::{self, AttentionInputs};

pub(crate) fn run<B: Backend>(
    inputs: AttentionInputs<FloatTensor<B>>,
    views: &[KvView],
) -> FloatTensor<B> {
    // The only query is the last token: it sees every key, so no causal mask is needed.
    attention_prefill::reference::run::<B>(inputs, views, AttentionMask::Bidirectional)
}
