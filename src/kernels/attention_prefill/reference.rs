use burn::tensor::activation::softmax;
use burn::tensor::backend::Backend;
use burn::tensor::ops::FloatTensor;
use burn::tensor::{Bool, Int, Tensor, TensorMetadata};

use super::{AttentionInputs, AttentionMask};
use crate::kernels::{KvView, primitive, tensor, wide};

pub(crate) fn run<B: Backend>(
    inputs: AttentionInputs<FloatTensor<B>>,
    views: &[KvView],
    mask: AttentionMask,
) -> FloatTensor<B> {
    let dtype = inputs.query.dtype();
    let query = tensor::<B, 4>(inputs.query).cast(wide(dtype));
    let key = tensor::<B, 4>(inputs.key);
    let value = tensor::<B, 4>(inputs.value);
    let gather = |slab, view| gather(slab, view).cast(wide(dtype));
    let [_, _, seq_q, _] = query.dims();
    let answers = views.iter().enumerate().map(|(index, view)| {
        let query = query.clone().slice_dim(0, index..index + 1);
        // What the first query does not see any more, none does; it may never have been written.
        let view = view.without(view.seen(0, seq_q, mask).start);
        if view.len() == 0 {
            return query.zeros_like();
        }
        let visibility = Visibility {
            mask,
            window: view.window,
        };
        attend(query, gather(&key, view), gather(&value, view), visibility)
    });
    let answers = Tensor::cat(answers.collect(), 0); // [batch, num_heads, seq_q, head_dim]
    primitive(answers.swap_dims(1, 2).cast(dtype))
}

/// The keys of a view: `[1, num_kv_heads, view.len(), head_dim]`.
fn gather<B: Backend>(slab: &Tensor<B, 4>, view: KvView) -> Tensor<B, 4> {
    let [_, num_kv_heads, _, head_dim] = slab.dims();
    let spans = view.spans.into_iter().filter(|span| span.len > 0);
    let parts = spans.map(|span| {
        let (slot, places) = (span.slot..span.slot + 1, span.start..span.start + span.len);
        slab.clone()
            .slice([slot, 0..num_kv_heads, places, 0..head_dim])
    });
    Tensor::cat(parts.collect(), 2)
}

/// Which of the keys a query sees.
#[derive(Debug, Clone, Copy)]
struct Visibility {
    mask: AttentionMask,
    window: Option<usize>,
}

/// One row of the batch: `[1, num_heads, seq_q, head_dim]` in and out.
fn attend<B: Backend>(
    query: Tensor<B, 4>,
    key: Tensor<B, 4>,
    value: Tensor<B, 4>,
    visibility: Visibility,
) -> Tensor<B, 4> {
    let [_, num_heads, seq_q, head_dim] = query.dims();
    let [_, num_kv_heads, seq_kv, _] = key.dims();
    let group = num_heads / num_kv_heads;
    // The query heads that share a key-value head are one longer sequence to it.
    let query = query.reshape([1, num_kv_heads, group * seq_q, head_dim]);
    let scale = 1.0 / (head_dim as f64).sqrt();
    let scores = query.mul_scalar(scale).matmul(key.swap_dims(2, 3)); // k^T: [.., head_dim, seq_kv]
    let weights = match visibility.mask {
        // A window leaves every query the same keys, and the others are not here.
        AttentionMask::Bidirectional => softmax(scores, 3),
        AttentionMask::Causal => {
            let sizes = [group, seq_q, seq_kv];
            let hidden = hidden::<B>(sizes, visibility.window, &scores.device());
            // Zeroed again after the softmax: a query that sees no key gives zeros, not an average.
            softmax(scores.mask_fill(hidden.clone(), f32::MIN), 3).mask_fill(hidden, 0.0)
        }
    };
    weights
        .matmul(value)
        .reshape([1, num_heads, seq_q, head_dim])
}

/// True where a causal query must not look: `[1, 1, group * seq_q, seq_kv]`.
fn hidden<B: Backend>(
    [group, seq_q, seq_kv]: [usize; 3],
    window: Option<usize>,
    device: &B::Device,
) -> Tensor<B, 4, Bool> {
    let offset = seq_kv as i64 - seq_q as i64;
    let last_seen = Tensor::<B, 1, Int>::arange(offset..offset + seq_q as i64, device);
    let last_seen = last_seen.reshape([seq_q, 1]).repeat_dim(0, group);
    let keys = Tensor::<B, 1, Int>::arange(0..seq_kv as i64, device).reshape([1, seq_kv]);
    let shape = [group * seq_q, seq_kv];
    let (keys, last_seen) = (keys.expand(shape), last_seen.expand(shape));
    let future = keys.clone().greater(last_seen.clone());
    match window {
        None => future.unsqueeze(),
        Some(window) => {
            let past = keys.lower_equal(last_seen.sub_scalar(window.min(seq_kv) as i64));
            future.bool_or(past).unsqueeze()
        }
    }
}
