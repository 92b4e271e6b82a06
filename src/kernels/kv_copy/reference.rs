use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Slice, TensorMetadata};

use crate::kernels::KvSpan;

pub(crate) fn run<B: Backend>(
    slab: FloatTensor<B>,
    from: KvSpan,
    to_slot: usize,
) -> FloatTensor<B> {
    let [_, num_kv_heads, _, head_dim] = slab.shape().dims();
    let places_of = |slot: usize| -> [Slice; 4] {
        [
            (slot..slot + 1).into(),
            (0..num_kv_heads).into(),
            from.places().into(),
            (0..head_dim).into(),
        ]
    };
    let rows = B::float_slice(slab.clone(), &places_of(from.slot));
    B::float_slice_assign(slab, &places_of(to_slot), rows)
}
