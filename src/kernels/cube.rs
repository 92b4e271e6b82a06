//! [`VlmBackend`] for CubeCL backends: this crate's kernels, one source for CUDA and WGPU.

pub(super) mod elements;
pub(super) mod loops;
pub(super) mod reduce;
pub(super) mod stored;
pub(super) mod view;

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use burn_cubecl::{BoolElement, CubeBackend, CubeRuntime, FloatElement, IntElement};

use super::{
    AttentionInputs, AttentionMask, Implementation, KvSpan, KvViews, KvWrites, LaunchRefused,
    LinearEpilogue, Matrix, RopeAppendInputs, RopeAppended, SampleRow, SplicedRows, TokenIds,
    VlmBackend, argmax, attention_decode, attention_prefill, embed_and_splice, kv_copy, layer_norm,
    linear, rms_norm, rope_append, sample, swiglu, trace,
};

impl<R, F, I, BT> VlmBackend for CubeBackend<R, F, I, BT>
where
    R: CubeRuntime,
    F: FloatElement,
    I: IntElement,
    BT: BoolElement,
{
    fn vlm_reads_matrix(device: &R::Device, dtype: DType, columns: usize) -> bool {
        stored::reads(&R::client(device), dtype, columns)
    }

    fn vlm_has_packed_kernels() -> bool {
        true
    }

    fn vlm_linear(
        x: CubeTensor<R>,
        weight: Matrix<CubeTensor<R>>,
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

    fn vlm_swiglu(gate_up: CubeTensor<R>) -> CubeTensor<R> {
        let launched = swiglu::cube::launch(&gate_up);
        or_reference(swiglu::NAME, launched, || {
            swiglu::reference::run::<Self>(gate_up)
        })
    }

    fn vlm_rope_append(
        inputs: RopeAppendInputs<CubeTensor<R>>,
        writes: &KvWrites<Self>,
    ) -> RopeAppended<CubeTensor<R>> {
        assert_unique(&inputs.key_cache);
        assert_unique(&inputs.value_cache);
        match launched(
            rope_append::NAME,
            rope_append::cube::launch(&inputs, &writes.packed()),
        ) {
            Some(query) => RopeAppended {
                query,
                key_cache: inputs.key_cache,
                value_cache: inputs.value_cache,
            },
            None => rope_append::reference::run::<Self>(inputs, writes.writes()),
        }
    }

    fn vlm_kv_copy(slab: CubeTensor<R>, from: KvSpan, to_slot: usize) -> CubeTensor<R> {
        assert_unique(&slab);
        let outcome = kv_copy::cube::launch(&slab, from, to_slot);
        match launched(kv_copy::NAME, outcome) {
            Some(()) => slab,
            None => kv_copy::reference::run::<Self>(slab, from, to_slot),
        }
    }

    fn vlm_attention_prefill(
        inputs: AttentionInputs<CubeTensor<R>>,
        views: &KvViews<Self>,
        mask: AttentionMask,
    ) -> CubeTensor<R> {
        let launched = attention_prefill::cube::launch(&inputs, &views.packed(), mask);
        or_reference(attention_prefill::NAME, launched, || {
            attention_prefill::reference::run::<Self>(inputs, views.views(), mask)
        })
    }

    fn vlm_attention_decode(
        inputs: AttentionInputs<CubeTensor<R>>,
        views: &KvViews<Self>,
    ) -> CubeTensor<R> {
        let launched = attention_decode::cube::launch(&inputs, views.views(), &views.packed());
        or_reference(attention_decode::NAME, launched, || {
            attention_decode::reference::run::<Self>(inputs, views.views())
        })
    }

    fn vlm_embed_and_splice(
        table: Matrix<CubeTensor<R>>,
        token_ids: TokenIds<'_, CubeTensor<R>>,
        images: Vec<SplicedRows<CubeTensor<R>>>,
        dtype: DType,
    ) -> CubeTensor<R> {
        let launched = embed_and_splice::cube::launch(&table, &token_ids, &images, dtype);
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

    fn vlm_has_sample_kernel() -> bool {
        true
    }

    fn vlm_sample(logits: CubeTensor<R>, rows: &[SampleRow]) -> CubeTensor<R> {
        let launched = sample::cube::launch(&logits, rows, I::dtype());
        or_reference(sample::NAME, launched, || {
            sample::reference::run::<Self>(logits, rows)
        })
    }
}

/// Panics unless nobody else holds what is about to be written in place.
fn assert_unique<R: CubeRuntime>(cache: &CubeTensor<R>) {
    assert!(
        cache.can_mut(),
        "the KV cache is shared with another tensor, and a cache is never copied"
    );
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
