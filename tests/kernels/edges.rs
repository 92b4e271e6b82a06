//! What the catalogue's law does not say.

use burn::tensor::{DType, Int, Tensor};
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{
    Activation, AttentionInputs, AttentionMask, Implementation, KernelTrace, KvRow, SampleRow,
    argmax, attention_decode, attention_prefill, linear, sample,
};

use crate::numbers::{Numbers, tensor, values};

fn ids(tokens: Tensor<Cpu, 1, Int>) -> Vec<usize> {
    tokens
        .into_data()
        .iter::<i64>()
        .map(|id| id as usize)
        .collect()
}

#[test]
fn a_transposed_weight_falls_back_and_says_so() {
    let mut numbers = Numbers::new(1);
    let device = Default::default();
    let x = numbers.tensor::<Cpu, 2>([3, 8], &device);
    let weight = numbers.tensor::<Cpu, 2>([8, 5], &device);
    let expected = values(x.clone().matmul(weight.clone()));
    let (y, report) =
        KernelTrace::collect(|| linear(x, weight.transpose(), None, Activation::Identity, None));
    assert_eq!(values(y), expected);
    assert_eq!(
        report.calls().next(),
        Some(("linear", Implementation::Reference, 1))
    );
    assert_eq!(
        report.refusals().next(),
        Some(("linear", "a weight with strides [1, 5]"))
    );
}

#[test]
fn a_decode_step_answers_what_the_last_query_of_a_prefill_does() {
    let mut numbers = Numbers::new(2);
    let device = Default::default();
    let key = numbers.tensor::<Cpu, 4>([2, 2, 12, 16], &device);
    let value = numbers.tensor::<Cpu, 4>([2, 2, 12, 16], &device);
    let query = numbers.tensor::<Cpu, 4>([1, 4, 5, 16], &device);
    let rows = [KvRow { slot: 1, len: 9 }];
    let inputs = |query| AttentionInputs {
        query,
        key: key.clone(),
        value: value.clone(),
    };
    let prefill = attention_prefill(inputs(query.clone()), &rows, AttentionMask::Causal);
    let decode = attention_decode(inputs(query.slice_dim(2, 4..5)), &rows);
    assert_eq!(values(prefill.slice_dim(1, 4..5)), values(decode));
}

#[test]
fn keys_and_values_that_are_parts_of_one_tensor_are_read_where_they_lie() {
    let mut numbers = Numbers::new(4);
    let device = Default::default();
    let fused = numbers.tensor::<Cpu, 4>([2, 4, 12, 16], &device);
    let query = numbers.tensor::<Cpu, 4>([1, 4, 1, 16], &device);
    let key = fused.clone().slice_dim(1, 0..2);
    let value = fused.slice_dim(1, 2..4);
    let whole = |part: &Tensor<Cpu, 4>| tensor(values(part.clone()), part.dims(), &device);
    let rows = [KvRow { slot: 1, len: 9 }];
    let copied = AttentionInputs {
        query: query.clone(),
        key: whole(&key),
        value: whole(&value),
    };
    let expected = values(attention_decode(copied, &rows));
    let (found, report) = KernelTrace::collect(|| {
        let parts = AttentionInputs { query, key, value };
        values(attention_decode(parts, &rows))
    });
    assert_eq!(found, expected);
    assert_eq!(report.refusals().count(), 0);
}

#[test]
fn a_row_of_a_batch_is_answered_as_if_it_were_alone() {
    let mut numbers = Numbers::new(3);
    let device = Default::default();
    let x = numbers.tensor::<Cpu, 2>([7, 100], &device);
    let weight = numbers.tensor::<Cpu, 2>([50, 100], &device);
    let run = |x| linear(x, weight.clone(), None, Activation::Gelu, None);
    let together = run(x.clone());
    for row in 0..7 {
        let alone = run(x.clone().slice_dim(0, row..row + 1));
        assert_eq!(
            values(together.clone().slice_dim(0, row..row + 1)),
            values(alone),
            "{row}"
        );
    }
}

#[test]
fn draws_follow_the_distribution() {
    let device = Default::default();
    let weights = [0.5f32, 0.3, 0.2];
    let logits = weights.map(f32::ln);
    let plain = SampleRow {
        temperature: 1.0,
        top_k: usize::MAX,
        top_p: 1.0,
        min_p: 0.0,
        uniform: 0.0,
    };
    let draw = |row: SampleRow| {
        let logits = tensor::<Cpu, 2>(logits.to_vec(), [1, 3], &device);
        ids(sample(logits, &[row]))[0]
    };
    let at = |uniform| SampleRow { uniform, ..plain };
    assert_eq!(
        [0.0, 0.49, 0.51, 0.79, 0.81, 0.9999].map(|u| draw(at(u))),
        [0, 0, 1, 1, 2, 2]
    );
    // Of the two that reach 0.6, the second has 3 parts in 8.
    let nucleus = |uniform| SampleRow {
        top_p: 0.6,
        ..at(uniform)
    };
    assert_eq!([0.62, 0.63, 0.9999].map(|u| draw(nucleus(u))), [0, 1, 1]);
    let top = |uniform| SampleRow {
        top_k: 2,
        ..at(uniform)
    };
    assert_eq!([0.62, 0.63, 0.9999].map(|u| draw(top(u))), [0, 1, 1]);
    let likely = |uniform| SampleRow {
        min_p: 0.5,
        ..at(uniform)
    };
    assert_eq!([0.62, 0.63, 0.9999].map(|u| draw(likely(u))), [0, 1, 1]);
}

#[test]
fn nonsense_gives_the_size_of_the_vocabulary() {
    let device = Default::default();
    let (nan, infinite, forbidden) = (f32::NAN, f32::INFINITY, f32::NEG_INFINITY);
    let rows = [
        [0.0, nan, 1.0],
        [infinite, 0.0, 1.0],
        [forbidden, 2.0, 1.0],
        [forbidden, forbidden, forbidden],
    ];
    let expected = [3, 3, 1, 3];
    let logits = tensor::<Cpu, 2>(rows.concat(), [4, 3], &device);
    assert_eq!(ids(argmax(logits.clone())), expected);
    let row = SampleRow {
        temperature: 0.5,
        top_k: 1,
        top_p: 1.0,
        min_p: 0.0,
        uniform: 0.3,
    };
    assert_eq!(ids(sample(logits.cast(DType::F16), &[row; 4])), expected);
}
