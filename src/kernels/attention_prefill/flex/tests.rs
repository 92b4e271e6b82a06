use burn::tensor::{DType, TensorData, TensorMetadata};

use super::*;
use crate::kernels::KvSpan;

/// Numbers that every type holds exactly.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|at| ((at * 37 + seed * 11) % 17) as f32 / 8.0 - 1.0)
        .collect()
}

fn tensor(shape: [usize; 4], seed: usize, dtype: DType) -> FlexTensor {
    let values = numbers(shape.iter().product(), seed);
    FlexTensor::from_data(TensorData::new(values, shape).convert_dtype(dtype))
}

/// The definition, query by query, in f64: `[seq_q, num_heads, head_dim]` of one row.
fn attend_exactly(
    inputs: &AttentionInputs<FlexTensor>,
    view: KvView,
    mask: AttentionMask,
) -> Vec<f64> {
    let [_, num_heads, seq_q, head_dim] = inputs.query.shape().dims();
    let [_, num_kv_heads, capacity, _] = inputs.key.shape().dims();
    let wide = |tensor: &FlexTensor| -> Vec<f64> {
        let data = tensor.to_contiguous().into_data();
        data.iter::<f64>().collect()
    };
    let (query, key, value) = (wide(&inputs.query), wide(&inputs.key), wide(&inputs.value));
    let places = view.spans.into_iter().flat_map(|span| {
        let places = span.start..span.start + span.len;
        places.map(move |place| (span.slot, place))
    });
    let places: Vec<(usize, usize)> = places.collect();
    let mut answers = Vec::new();
    for index in 0..seq_q * num_heads {
        let (line, head) = (index / num_heads, index % num_heads);
        let kv_head = head / (num_heads / num_kv_heads);
        let row = |key: usize| {
            let (slot, place) = places[key];
            ((slot * num_kv_heads + kv_head) * capacity + place) * head_dim
        };
        let query = &query[(head * seq_q + line) * head_dim..][..head_dim];
        let before = match mask {
            AttentionMask::Bidirectional => places.len(),
            AttentionMask::Causal => (places.len() + line + 1).saturating_sub(seq_q),
        };
        let seen = before - view.window.unwrap_or(before).min(before)..before;
        let weight = |index: usize| {
            let key = &key[row(index)..][..head_dim];
            let score: f64 = query.iter().zip(key).map(|(q, k)| q * k).sum();
            (score / (head_dim as f64).sqrt()).exp()
        };
        let weights: Vec<f64> = seen.clone().map(weight).collect();
        let total: f64 = weights.iter().sum::<f64>().max(f64::MIN_POSITIVE);
        answers.extend((0..head_dim).map(|at| {
            let column = seen.clone().map(|key| value[row(key) + at]);
            let sum: f64 = weights.iter().zip(column).map(|(w, v)| w * v).sum();
            sum / total
        }));
    }
    answers
}

/// Views of `len` keys in a slab of two slots of `len + 1` places: one span, a ring, and a prefix
/// in another slot; each with windows that cut and with one that does not.
fn views(len: usize) -> Vec<KvView> {
    let span = |slot, start, len| KvSpan { slot, start, len };
    let shared = len / 3;
    let plain = [
        KvView::of(1, len),
        KvView::of_ring(1, len + 1, len / 2 + 1, len),
        KvView::of_spans(span(0, 1, shared), span(1, 0, len - shared)),
    ];
    let windows = [1, 3, len / 2 + 1, len + 9];
    let windowed = plain
        .into_iter()
        .flat_map(|view| windows.map(|window| view.with_window(window)));
    plain.into_iter().chain(windowed).collect()
}

#[test]
fn every_tier_view_and_cache_type_follows_the_definition() {
    let shapes = [
        ([1, 4, 1, 64], 2, 70),
        ([1, 3, 40, 20], 1, 41),
        ([1, 2, 7, 80], 2, 5),
        ([1, 6, 3, 16], 3, 300),
    ];
    for (query, num_kv_heads, len) in shapes {
        let slab = [2, num_kv_heads, len + 1, query[3]];
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let inputs = AttentionInputs {
                query: tensor(query, 1, DType::F32),
                key: tensor(slab, 2, dtype),
                value: tensor(slab, 3, dtype),
            };
            for view in views(len) {
                assert_follows_the_definition(&inputs, view, 1e-6);
            }
        }
    }
}

/// Few heads and many keys: more threads than tasks, so the keys are cut.
#[test]
fn keys_cut_among_threads_follow_the_definition() {
    let (query, num_kv_heads, len) = ([1, 6, 1, 16], 3, 1400);
    let slab = [2, num_kv_heads, len + 1, query[3]];
    let inputs = AttentionInputs {
        query: tensor(query, 1, DType::F32),
        key: tensor(slab, 2, DType::F16),
        value: tensor(slab, 3, DType::F16),
    };
    for (threads, parts) in [(1, 1), (2, 2), (4, 4), (8, 5)] {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let pool = pool.build().expect("a pool of a few threads");
        let attention = Attention::<half::f16> {
            queries: Tokens::new(&inputs.query).expect("queries"),
            key: Slab::new(&inputs.key).expect("keys"),
            value: Slab::new(&inputs.value).expect("values"),
            views: &[KvView::of(1, len)],
            mask: AttentionMask::Causal,
        };
        assert_eq!(attention.num_parts(0, threads), parts);
        pool.install(|| {
            for view in views(len) {
                assert_follows_the_definition(&inputs, view, 4e-6);
            }
        });
    }
}

/// Rows of one length and another, in a batch and alone: the same bits.
#[test]
fn a_row_is_summed_as_alone_on_any_number_of_threads() {
    // Few queries and many keys, groups around a tile's rows, and blocks that end within one.
    for (query, num_kv_heads, lens) in [
        ([2, 6, 1, 16], 3, [1400, 300]),
        ([2, 28, 1, 16], 1, [700, 1400]),
        ([2, 2, 97, 24], 2, [97, 200]),
    ] {
        let [_, num_heads, seq_q, head_dim] = query;
        let slab = [2, num_kv_heads, 1400, head_dim];
        let inputs = AttentionInputs {
            query: tensor(query, 1, DType::F32),
            key: tensor(slab, 2, DType::F32),
            value: tensor(slab, 3, DType::F32),
        };
        let views = [0, 1].map(|slot| KvView::of(slot, lens[slot]));
        let alone = [0, 1].map(|row| {
            let values = numbers(query.iter().product(), 1);
            let len = num_heads * seq_q * head_dim;
            let values = values[row * len..][..len].to_vec();
            let shape = [1, num_heads, seq_q, head_dim];
            AttentionInputs {
                query: FlexTensor::from_data(TensorData::new(values, shape)),
                ..inputs.clone()
            }
        });
        for threads in [1, 2, 4, 8] {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
            let pool = pool.build().expect("a pool of a few threads");
            pool.install(|| {
                let answer = |inputs: &AttentionInputs<FlexTensor>, views: &[KvView]| {
                    let found = run(inputs, views, AttentionMask::Causal).expect("f32");
                    found.storage::<f32>().to_vec()
                };
                let alone = [0, 1].map(|row| answer(&alone[row], &views[row..=row]));
                assert_eq!(
                    answer(&inputs, &views),
                    alone.concat(),
                    "{query:?} {threads}"
                );
            });
        }
    }
}

fn assert_follows_the_definition(inputs: &AttentionInputs<FlexTensor>, view: KvView, bound: f64) {
    for mask in [AttentionMask::Causal, AttentionMask::Bidirectional] {
        let expected = attend_exactly(inputs, view, mask);
        for tier in Tier::all() {
            let found = run_on(tier, inputs, &[view], mask).expect("three known types");
            let found = found.storage::<f32>();
            assert_eq!(found.len(), expected.len());
            for (found, expected) in found.iter().zip(&expected) {
                let error = (f64::from(*found) - expected).abs();
                assert!(
                    error < bound,
                    "{tier:?} {:?} {:?} {mask:?} {view:?}: {error}",
                    inputs.query.shape(),
                    inputs.key.dtype()
                );
            }
        }
    }
}

#[test]
fn keys_that_would_have_to_be_copied_are_refused() {
    let slab = tensor([1, 1, 16, 16], 1, DType::F32);
    let inputs = AttentionInputs {
        query: tensor([1, 1, 1, 16], 2, DType::F32),
        key: slab.transpose(2, 3),
        value: slab,
    };
    let refused =
        run(&inputs, &[KvView::of(0, 4)], AttentionMask::Causal).expect_err("transposed keys");
    let expected = LaunchRefused::Scattered {
        operand: "keys or values",
        strides: vec![256, 256, 1, 16],
    };
    assert_eq!(refused, expected);
}
