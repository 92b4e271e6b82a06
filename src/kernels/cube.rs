//! [`VlmBackend`] for CubeCL backends: this crate's kernels, one source for CUDA and WGPU.

pub(super) mod loops;
pub(super) mod reduce;
pub(super) mod stored;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::{
    AttentionInputs, AttentionMask, Implementation, KvRow, LaunchRefused, LinearEpilogue,
    RopeAppendInputs, RopeAppended, SplicedRows, VlmBackend, argmax, attention_decode,
    attention_prefill, embed_and_splice, layer_norm, linear, rms_norm, rope_append, swiglu, trace,
};

impl<R, F, I, BT> VlmBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn vlm_linear(
        x: CubeTensor<R>,
        weight: CubeTensor<R>,
        epilogue: LinearEpilogue<CubeTensor<R>>,
    ) -> CubeTensor<R> {
        let launched = linear::cube::launch(&x, &weight, &epilogue);
        or_reference(linear::NAME, launched, || {
            linear::reference::run::<Self>(x, weight, epilogue)
        })
    }

    fn vlm_rms_norm(x: CubeTensor<R>, weight: CubeTensor<R>, epsilon: f64) -> CubeTensor<R> {
        let launched = rms_norm::cube::launch(&x, &weight, epsilon);
        or_reference(rms_norm::NAME, launched, || {
            rms_norm::reference::run::<Self>(x, weight, epsilon)
        })
    }

    fn vlm_add_rms_norm(
        x: CubeTensor<R>,
        residual: CubeTensor<R>,
        weight: CubeTensor<R>,
        epsilon: f64,
    ) -> (CubeTensor<R>, CubeTensor<R>) {
        let launched = rms_norm::cube::launch_add(&x, &residual, &weight, epsilon);
        or_reference(rms_norm::ADD_NAME, launched, || {
            rms_norm::reference::run_add::<Self>(x, residual, weight, epsilon)
        })
    }

    fn vlm_layer_norm(
        x: CubeTensor<R>,
        weight: CubeTensor<R>,
        bias: CubeTensor<R>,
        epsilon: f64,
    ) -> CubeTensor<R> {
        let launched = layer_norm::cube::launch(&x, &weight, &bias, epsilon);
        or_reference(layer_norm::NAME, launched, || {
            layer_norm::reference::run::<Self>(x, weight, bias, epsilon)
        })
    }

    fn vlm_swiglu(gate: CubeTensor<R>, up: CubeTensor<R>) -> CubeTensor<R> {
        let launched = swiglu::cube::launch(&gate, &up);
        or_reference(swiglu::NAME, launched, || {
            swiglu::reference::run::<Self>(gate, up)
        })
    }

    fn vlm_rope_append(
        inputs: RopeAppendInputs<CubeTensor<R>>,
        rows: &[KvRow],
    ) -> RopeAppended<CubeTensor<R>> {
        let is_unique = inputs.key_cache.can_mut() && inputs.value_cache.can_mut();
        assert!(
            is_unique,
            "the KV cache is shared with another tensor, and a cache is never copied"
        );
        match launched(rope_append::NAME, rope_append::cube::launch(&inputs, rows)) {
            Some(query) => RopeAppended {
                query,
                key_cache: inputs.key_cache,
                value_cache: inputs.value_cache,
            },
            None => rope_append::reference::run::<Self>(inputs, rows),
        }
    }

    fn vlm_attention_prefill(
        inputs: AttentionInputs<CubeTensor<R>>,
        rows: &[KvRow],
        mask: AttentionMask,
    ) -> CubeTensor<R> {
        let launched = attention_prefill::cube::launch(&inputs, rows, mask);
        or_reference(attention_prefill::NAME, launched, || {
            attention_prefill::reference::run::<Self>(inputs, rows, mask)
        })
    }

    fn vlm_attention_decode(
        inputs: AttentionInputs<CubeTensor<R>>,
        rows: &[KvRow],
    ) -> CubeTensor<R> {
        let launched = attention_decode::cube::launch(&inputs, rows);
        or_reference(attention_decode::NAME, launched, || {
            attention_decode::reference::run::<Self>(inputs, rows)
        })
    }

    fn vlm_embed_and_splice(
        table: CubeTensor<R>,
        token_ids: &[u32],
        images: Vec<SplicedRows<CubeTensor<R>>>,
        dtype: DType,
    ) -> CubeTensor<R> {
        let launched = embed_and_splice::cube::launch(&table, token_ids, &images, dtype);
        or_reference(embed_and_splice::NAME, launched, || {
            embed_and_splice::reference::run::<Self>(table, token_ids, images, dtype)
        })
    }

    fn vlm_argmax(logits: CubeTensor<R>) -> CubeTensor<R> {
        let launched = argmax::cube::launch(&logits, I::dtype());
        or_reference(argmax::NAME, launched, || {
            argmax::reference::run::<Self>(logits)
        })
    }
}

/// What was launched, or the answer of the reference where the launch was refused.
fn or_reference<T>(
    kernel: &'static str,
    outcome: Result<T, LaunchRefused>,
    reference: impl FnOnce() -> T,
) -> T {
    launched(kernel, outcome).unwrap_or_else(reference)
}

/// Notes who answers, and gives what was launched.
fn launched<T>(kernel: &'static str, outcome: Result<T, LaunchRefused>) -> Option<T> {
    match outcome {
        Ok(output) => {
            trace::ran(kernel, Implementation::Cube);
            Some(output)
        }
        Err(refused) => {
            trace::fell_back(kernel, &refused);
            None
        }
    }
}
