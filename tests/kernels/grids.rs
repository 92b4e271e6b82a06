//! More work than a grid has cubes along one axis: every launcher folds it over the axes.

use burn::tensor::{Int, Tensor};
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{
    AttentionInputs, AttentionMask, KernelTrace, KvView, KvViews, KvWrite, KvWrites,
    RopeAppendInputs, VlmBackend, argmax, attention_prefill, layer_norm, rms_norm, rope_append,
};

use crate::device::has_device;
use crate::numbers::{Numbers, values};

/// Rows that have a cube each, and more of them than a grid has along one axis.
fn many_rows<B: VlmBackend>() -> Vec<Vec<f32>> {
    const SHAPE: [usize; 2] = [33_001, 8];
    let device = Default::default();
    let mut numbers = Numbers::new(7);
    let x = numbers.tensor::<B, 2>(SHAPE, &device);
    let [weight, bias] = [(); 2].map(|()| numbers.tensor::<B, 1>([SHAPE[1]], &device));
    let ids: Tensor<B, 1, Int> = argmax(x.clone());
    vec![
        values(rms_norm(x.clone(), weight.clone(), 1e-5)),
        values(layer_norm(x, weight, bias, 1e-5)),
        ids.into_data().iter::<f32>().collect(),
    ]
}

/// A prompt whose queries, keys and values are more than 65 535 cubes of 256.
fn long_prompt<B: VlmBackend>() -> Vec<Vec<f32>> {
    const TOKENS: usize = 1_400;
    let device = Default::default();
    let mut numbers = Numbers::new(8);
    let mut table = || numbers.tensor::<B, 2>([TOKENS, 64], &device);
    let (cos, sin) = (table(), table());
    let write = KvWrite {
        slot: 0,
        place: 0,
        position: 0,
    };
    let inputs = RopeAppendInputs {
        qkv: numbers.tensor::<B, 4>([1, TOKENS, 96, 128], &device),
        key_cache: Tensor::zeros([1, 32, TOKENS, 128], &device),
        value_cache: Tensor::zeros([1, 32, TOKENS, 128], &device),
        cos,
        sin,
    };
    let appended = rope_append(inputs, &KvWrites::new(vec![write], &device));
    let caches = [appended.key_cache, appended.value_cache];
    caches
        .map(values)
        .into_iter()
        .chain([values(appended.query)])
        .collect()
}

/// Tiles of queries, and more of them than a grid has cubes along one axis.
fn many_queries<B: VlmBackend>() -> Vec<Vec<f32>> {
    const QUERIES: usize = 525_000;
    let device = Default::default();
    let mut numbers = Numbers::new(9);
    let inputs = AttentionInputs {
        query: numbers.tensor::<B, 4>([1, 1, QUERIES, 4], &device),
        key: numbers.tensor::<B, 4>([1, 1, 3, 4], &device),
        value: numbers.tensor::<B, 4>([1, 1, 3, 4], &device),
    };
    let views = KvViews::new(vec![KvView::of(0, 3)], &device);
    let answers = attention_prefill(inputs, &views, AttentionMask::Bidirectional);
    vec![values(answers)]
}

fn answers_like_the_cpu<B: VlmBackend>(
    name: &str,
    on_device: fn() -> Vec<Vec<f32>>,
    on_cpu: fn() -> Vec<Vec<f32>>,
) {
    if !has_device::<B>(name) {
        return;
    }
    let (found, report) = KernelTrace::collect(on_device);
    assert_eq!(report.refusals().count(), 0, "{report:?}");
    for (found, expected) in found.iter().zip(&on_cpu()) {
        assert_eq!(found.len(), expected.len());
        for (index, (found, expected)) in found.iter().zip(expected).enumerate() {
            let error = (found - expected).abs();
            assert!(error < 1e-4, "{index}: {found}, expected {expected}");
        }
    }
}

fn work_beyond_one_axis_of_a_grid_is_answered<B: VlmBackend>(name: &str) {
    answers_like_the_cpu::<B>(name, many_rows::<B>, many_rows::<Cpu>);
    answers_like_the_cpu::<B>(name, long_prompt::<B>, long_prompt::<Cpu>);
    answers_like_the_cpu::<B>(name, many_queries::<B>, many_queries::<Cpu>);
}

#[cfg(feature = "wgpu")]
#[test]
fn work_beyond_one_axis_of_a_grid_is_answered_through_wgpu() {
    work_beyond_one_axis_of_a_grid_is_answered::<burn_vlm::backend::Wgpu>("wgpu");
}

#[cfg(feature = "cuda")]
#[test]
fn work_beyond_one_axis_of_a_grid_is_answered_through_cuda() {
    work_beyond_one_axis_of_a_grid_is_answered::<burn_vlm::backend::Cuda>("cuda");
}
