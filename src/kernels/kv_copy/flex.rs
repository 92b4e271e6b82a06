//! [`kv_copy()`](super::kv_copy()) on the CPU, in place.

use burn_flex::FlexTensor;

use crate::kernels::cpu::CacheSlab;
use crate::kernels::{KvSpan, LaunchRefused};

/// The places of a head lie one behind another, so each head is one move of memory.
pub(in crate::kernels) fn run(
    slab: &mut FlexTensor,
    from: KvSpan,
    to_slot: usize,
) -> Result<(), LaunchRefused> {
    let mut slab = CacheSlab::new(slab)?;
    let [_, num_kv_heads, ..] = slab.dims();
    let KvSpan { slot, start, len } = from;
    for head in 0..num_kv_heads {
        slab.copy([slot, head, start], [to_slot, head, start], len);
    }
    Ok(())
}
