//! What the catalogue's law does not say.

use burn::tensor::{DType, Int, Tensor};
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{
    Activation, AttentionInputs, AttentionMask, Implementation, KernelTrace, KvSpan, KvView,
    KvViews, SampleRow, argmax, attention_decode, attention_prefill, embed_and_splice, kv_copy,
    linear, sample,
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
        report
            .refusals()
            .map(|(kernel, refused)| (kernel, refused.to_string()))
            .next(),
        Some(("linear", "a matrix with strides [1, 5]".to_string()))
    );
}

#[test]
fn a_decode_step_answers_what_the_last_query_of_a_prefill_does() {
    let mut numbers = Numbers::new(2);
    let device = Default::default();
    let key = numbers.tensor::<Cpu, 4>([2, 2, 12, 16], &device);
    let value = numbers.tensor::<Cpu, 4>([2, 2, 12, 16], &device);
    let query = numbers.tensor::<Cpu, 4>([1, 4, 5, 16], &device);
    let views = KvViews::new(vec![KvView::of(1, 9)], &device);
    let inputs = |query| AttentionInputs {
        query,
        key: key.clone(),
        value: value.clone(),
    };
    let prefill = attention_prefill(inputs(query.clone()), &views, AttentionMask::Causal);
    let decode = attention_decode(inputs(query.slice_dim(2, 4..5)), &views);
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
    let views = KvViews::new(vec![KvView::of(1, 9)], &device);
    let copied = AttentionInputs {
        query: query.clone(),
        key: whole(&key),
        value: whole(&value),
    };
    let expected = values(attention_decode(copied, &views));
    let (found, report) = KernelTrace::collect(|| {
        let parts = AttentionInputs { query, key, value };
        values(attention_decode(parts, &views))
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

/// Copies in a slab of 2 slots with 8 places each; returns the slab before and after.
fn copied(slot: usize, [start, len]: [usize; 2], to_slot: usize) -> [Vec<f32>; 2] {
    let device = Default::default();
    let slab = Numbers::new(6).take(2 * 8 * 4);
    let tensor = tensor::<Cpu, 4>(slab.clone(), [2, 1, 8, 4], &device);
    let after = kv_copy(tensor, KvSpan { slot, start, len }, to_slot);
    [slab, values(after)]
}

#[test]
fn a_copy_of_no_places_changes_nothing() {
    let [before, after] = copied(0, [8, 0], 1);
    assert_eq!(before, after);
}

#[test]
#[should_panic(expected = "places are copied to another slot")]
fn a_slot_is_not_copied_to_itself() {
    copied(1, [0, 3], 1);
}

#[test]
#[should_panic(expected = "slot 2 of 2")]
fn a_copy_from_a_slot_that_is_none_is_a_mistake() {
    copied(2, [0, 3], 1);
}

#[test]
#[should_panic(expected = "slot 2 of 2")]
fn a_copy_to_a_slot_that_is_none_is_a_mistake() {
    copied(1, [0, 3], 2);
}

#[test]
#[should_panic(expected = "place 9 of 8")]
fn a_copy_of_places_behind_the_slot_is_a_mistake() {
    copied(0, [5, 4], 1);
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
fn a_chosen_token_is_embedded_without_a_way_over_the_host() {
    let device = Default::default();
    let table = Numbers::new(5).tensor::<Cpu, 2>([3, 8], &device);
    let logits = [[0.0, 2.0, 1.0], [0.0, f32::NAN, 1.0], [3.0, 2.0, 1.0]];
    let chosen = argmax(tensor::<Cpu, 2>(logits.concat(), [3, 3], &device));
    let rows = values(embed_and_splice(table.clone(), chosen, vec![], DType::F32));
    let expected = values(embed_and_splice(table, &[1, 0], vec![], DType::F32));
    assert_eq!(rows[..8], expected[..8]);
    assert_eq!(rows[8..16], [0.0; 8], "nonsense");
    assert_eq!(rows[16..], expected[8..]);
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
