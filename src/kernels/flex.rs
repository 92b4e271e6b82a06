//! [`VlmBackend`] for Flex: this crate's CPU kernels.

use burn::tensor::DType;
use burn_flex::{Flex, FlexTensor};

use super::{
    AttentionInputs, AttentionMask, Implementation, KvRow, LaunchRefused, LinearEpilogue,
    RopeAppendInputs, RopeAppended, SampleRow, SplicedRows, VlmBackend, argmax, attention_decode,
    attention_prefill, embed_and_splice, layer_norm, linear, rms_norm, rope_append, sample, swiglu,
    trace,
};

impl VlmBackend for Flex {
    fn vlm_linear(
        x: FlexTensor,
        weight: FlexTensor,
        epilogue: LinearEpilogue<FlexTensor>,
    ) -> FlexTensor {
        let launched = linear::flex::run(&x, &weight, &epilogue);
        answer(linear::NAME, launched, || {
            linear::reference::run::<Self>(x, weight, epilogue)
        })
    }

    fn vlm_rms_norm(x: FlexTensor, weight: FlexTensor, epsilon: f64) -> FlexTensor {
        let launched = rms_norm::flex::run(&x, &weight, epsilon);
        answer(rms_norm::NAME, launched, || {
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
        answer(rms_norm::ADD_NAME, launched, || {
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
        answer(layer_norm::NAME, launched, || {
            layer_norm::reference::run::<Self>(x, weight, bias, epsilon)
        })
    }

    fn vlm_swiglu(gate: FlexTensor, up: FlexTensor) -> FlexTensor {
        let launched = swiglu::flex::run(&gate, &up);
        answer(swiglu::NAME, launched, || {
            swiglu::reference::run::<Self>(gate, up)
        })
    }

    fn vlm_rope_append(
        mut inputs: RopeAppendInputs<FlexTensor>,
        rows: &[KvRow],
    ) -> RopeAppended<FlexTensor> {
        match rope_append::flex::run(&mut inputs, rows) {
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
                rope_append::reference::run::<Self>(inputs, rows)
            }
        }
    }

    fn vlm_attention_prefill(
        inputs: AttentionInputs<FlexTensor>,
        rows: &[KvRow],
        mask: AttentionMask,
    ) -> FlexTensor {
        let launched = attention_prefill::flex::run(&inputs, rows, mask);
        answer(attention_prefill::NAME, launched, || {
            attention_prefill::reference::run::<Self>(inputs, rows, mask)
        })
    }

    fn vlm_attention_decode(inputs: AttentionInputs<FlexTensor>, rows: &[KvRow]) -> FlexTensor {
        let launched = attention_decode::flex::run(&inputs, rows);
        answer(attention_decode::NAME, launched, || {
            attention_decode::reference::run::<Self>(inputs, rows)
        })
    }

    fn vlm_embed_and_splice(
        table: FlexTensor,
        token_ids: &[u32],
        images: Vec<SplicedRows<FlexTensor>>,
        dtype: DType,
    ) -> FlexTensor {
        let launched = embed_and_splice::flex::run(&table, token_ids, &images, dtype);
        answer(embed_and_splice::NAME, launched, || {
            embed_and_splice::reference::run::<Self>(table, token_ids, images, dtype)
        })
    }

    fn vlm_argmax(logits: FlexTensor) -> FlexTensor {
        let launched = argmax::flex::run(&logits);
        answer(argmax::NAME, launched, || {
            argmax::reference::run::<Self>(logits)
        })
    }

    fn vlm_sample(logits: FlexTensor, rows: &[SampleRow]) -> FlexTensor {
        let launched = sample::flex::run(&logits, rows);
        answer(sample::NAME, launched, || {
            sample::reference::run::<Self>(logits, rows)
        })
    }
}

/// The kernel's answer, or the reference's where the kernel refused; noted either way.
fn answer<T>(
    kernel: &'static str,
    launched: Result<T, LaunchRefused>,
    reference: impl FnOnce() -> T,
) -> T {
    match launched {
        Ok(answer) => {
            trace::ran(kernel, Implementation::Flex);
            answer
        }
        Err(refused) => {
            trace::fell_back(kernel, &refused);
            reference()
        }
    }
}
