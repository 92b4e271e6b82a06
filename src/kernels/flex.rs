//! [`VlmBackend`] for Flex: this crate's CPU kernels.

use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};

use super::{
    AttentionInputs, AttentionMask, Implementation, KvSpan, KvViews, KvWrites, LaunchRefused,
    LinearEpilogue, Matrix, RopeAppendInputs, RopeAppended, SampleRow, SplicedRows, TokenIds,
    VlmBackend, argmax, attention_decode, attention_prefill, cpu, embed_and_splice, kv_copy,
    layer_norm, linear, rms_norm, rope_append, sample, swiglu, trace,
};

impl VlmBackend for Flex {
    fn vlm_has_packed_kernels() -> bool {
        true
    }

    fn vlm_compiles_kernels() -> bool {
        false
    }

    fn vlm_in_team<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        cpu::team::run(work)
    }

    fn vlm_linear(
        x: FlexTensor,
        weight: Matrix<FlexTensor>,
        epilogue: LinearEpilogue<FlexTensor>,
    ) -> FlexTensor {
        let launched = linear::flex::run(&x, &weight, &epilogue);
        or_reference(linear::NAME, launched, || {
            linear::reference::run::<Self>(x, weight, epilogue)
        })
    }

    fn vlm_rms_norm(x: FlexTensor, weight: FlexTensor, epsilon: f64) -> FlexTensor {
        let launched = rms_norm::flex::run(&x, &weight, epsilon);
        or_reference(rms_norm::NAME, launched, || {
            rms_norm::reference::run::<Self>(x, weight, epsilon)
        })
    }

    fn vlm_add_rms_norm(
        x: FlexTensor,
        residual: FlexTensor,
        weight: FlexTensor,
        epsilon: f64,
    ) -> (FlexTensor, FlexTensor) {
        let launched = rms_norm::flex::run_add(&x, &residual, &weight, epsilon);
        or_reference(rms_norm::ADD_NAME, launched, || {
            rms_norm::reference::run_add::<Self>(x, residual, weight, epsilon)
        })
    }

    fn vlm_layer_norm(
        x: FlexTensor,
        weight: FlexTensor,
        bias: FlexTensor,
        epsilon: f64,
    ) -> FlexTensor {
        let launched = layer_norm::flex::run(&x, &weight, &bias, epsilon);
        or_reference(layer_norm::NAME, launched, || {
            layer_norm::reference::run::<Self>(x, weight, bias, epsilon)
        })
    }

    fn vlm_swiglu(gate_up: FlexTensor) -> FlexTensor {
        let launched = swiglu::flex::run(&gate_up);
        or_reference(swiglu::NAME, launched, || {
            swiglu::reference::run::<Self>(gate_up)
        })
    }

    fn vlm_rope_append(
        mut inputs: RopeAppendInputs<FlexTensor>,
        writes: &KvWrites<Self>,
    ) -> RopeAppended<FlexTensor> {
        match rope_append::flex::run(&mut inputs, writes.writes()) {
            Ok(query) => {
                trace::ran(rope_append::NAME, Implementation::Flex);
                let RopeAppendInputs {
                    key_cache,
                    value_cache,
                    ..
                } = inputs;
                RopeAppended {
                    query,
                    key_cache,
                    value_cache,
                }
            }
            Err(refused) => {
                trace::fell_back(rope_append::NAME, &refused);
                rope_append::reference::run::<Self>(inputs, writes.writes())
            }
        }
    }

    fn vlm_kv_copy(mut slab: FlexTensor, from: KvSpan, to_slot: usize) -> FlexTensor {
        match kv_copy::flex::run(&mut slab, from, to_slot) {
            Ok(()) => {
                trace::ran(kv_copy::NAME, Implementation::Flex);
                slab
            }
            Err(refused) => {
                trace::fell_back(kv_copy::NAME, &refused);
                kv_copy::reference::run::<Self>(slab, from, to_slot)
            }
        }
    }

    fn vlm_attention_prefill(
        inputs: AttentionInputs<FlexTensor>,
        views: &KvViews<Self>,
        mask: AttentionMask,
    ) -> FlexTensor {
        let launched = attention_prefill::flex::run(&inputs, views.views(), mask);
        or_reference(attention_prefill::NAME, launched, || {
            attention_prefill::reference::run::<Self>(inputs, views.views(), mask)
        })
    }

    fn vlm_attention_decode(
        inputs: AttentionInputs<FlexTensor>,
        views: &KvViews<Self>,
    ) -> FlexTensor {
        let launched = attention_decode::flex::run(&inputs, views.views());
        or_reference(attention_decode::NAME, launched, || {
            attention_decode::reference::run::<Self>(inputs, views.views())
        })
    }

    fn vlm_embed_and_splice(
        table: Matrix<FlexTensor>,
        token_ids: TokenIds<'_, FlexTensor>,
        images: Vec<SplicedRows<FlexTensor>>,
        dtype: DType,
    ) -> FlexTensor {
        let launched = embed_and_splice::flex::run(&table, &token_ids, &images, dtype);
        or_reference(embed_and_splice::NAME, launched, || {
            embed_and_splice::reference::run::<Self>(table, token_ids, images, dtype)
        })
    }

    fn vlm_argmax(logits: FlexTensor) -> FlexTensor {
        let launched = argmax::flex::run(&logits);
        or_reference(argmax::NAME, launched, || {
            argmax::reference::run::<Self>(logits)
        })
    }

    fn vlm_has_sample_kernel() -> bool {
        true
    }

    fn vlm_sample(logits: FlexTensor, rows: &[SampleRow]) -> FlexTensor {
        let launched = sample::flex::run(&logits, rows);
        or_reference(sample::NAME, launched, || {
            sample::reference::run::<Self>(logits, rows)
        })
    }
}

/// What the kernel computed, or the reference where it refused; noted either way.
fn or_reference<T>(
    kernel: &'static str,
    launched: Result<T, LaunchRefused>,
    reference: impl FnOnce() -> T,
) -> T {
    match launched {
        Ok(output) => {
            trace::ran(kernel, Implementation::Flex);
            output
        }
        Err(refused) => {
            trace::fell_back(kernel, &refused);
            reference()
        }
    }
}
