//! The kernel of [`attention_prefill()`](crate::kernels::attention_prefill()): the query heads that
//! share a key-value head are its rows.

use burn_cubecl::CubeRuntime;
use burn_cubecl::tensor::CubeTensor;

use crate::kernels::AttentionMask;
use crate::kernels::LaunchRefused;
use crate::kernels::attention_prefill::{self, AttentionInputs};

pub(in crate::kernels) fn launch<R: CubeRuntime>(
    inputs: &AttentionInputs<CubeTensor<R>>,
    views: &CubeTensor<R>,
) -> Result<CubeTensor<R>, LaunchRefused> {
    // The only query is the last token: it sees every key.
    attention_prefill::cube::launch(inputs, views, AttentionMask::Bidirectional)
}
