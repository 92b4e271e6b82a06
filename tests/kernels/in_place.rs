//! Caches are written where they lie.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{KvRow, RopeAppendInputs, RopeAppended, VlmBackend, rope_append};

use crate::numbers::{Numbers, tensor, values};

const NUM_KV_HEADS: usize = 2;
const CAPACITY: usize = 128;
const HEAD_DIM: usize = 16;
const SLAB: [usize; 4] = [2, NUM_KV_HEADS, CAPACITY, HEAD_DIM];

type Caches<B> = (Tensor<B, 4>, Tensor<B, 4>);

/// Caches of NaN.
fn caches<B: Backend>(device: &B::Device) -> Caches<B> {
    let cache = || tensor(vec![f32::NAN; SLAB.iter().product()], SLAB, device);
    (cache(), cache())
}

/// Appends a token that is turned by no angle; returns the caches and what was appended.
fn step<B: VlmBackend>(
    (key_cache, value_cache): Caches<B>,
    row: KvRow,
    numbers: &mut Numbers,
) -> (Caches<B>, [Vec<f32>; 2]) {
    let device = key_cache.device();
    let angles = [CAPACITY, HEAD_DIM / 2];
    let key = numbers.tensor::<B, 4>([1, 1, NUM_KV_HEADS, HEAD_DIM], &device);
    let value = numbers.tensor::<B, 4>([1, 1, NUM_KV_HEADS, HEAD_DIM], &device);
    let written = [values(key.clone()), values(value.clone())];
    let inputs = RopeAppendInputs {
        query: key.clone(),
        key,
        value,
        key_cache,
        value_cache,
        cos: Tensor::ones(angles, &device),
        sin: Tensor::zeros(angles, &device),
    };
    let RopeAppended {
        key_cache,
        value_cache,
        ..
    } = rope_append(inputs, &[row]);
    ((key_cache, value_cache), written)
}

/// What a cache must hold: each token's rows where slot and position say, else NaN.
fn write(cache: &mut [f32], row: KvRow, token: &[f32]) {
    for (head, source) in token.chunks(HEAD_DIM).enumerate() {
        let start = ((row.slot * NUM_KV_HEADS + head) * CAPACITY + row.len) * HEAD_DIM;
        cache[start..start + HEAD_DIM].copy_from_slice(source);
    }
}

/// Runs 100 steps and asks `place` where the caches are after each.
fn assert_stays<B: VlmBackend>(place: impl Fn(&Tensor<B, 4>) -> String) {
    let device = Default::default();
    let mut numbers = Numbers::new(3);
    let mut caches = caches::<B>(&device);
    let mut expected = [(); 2].map(|()| vec![f32::NAN; SLAB.iter().product()]);
    let places = (place(&caches.0), place(&caches.1));
    for len in 0..100 {
        let row = KvRow { slot: 1, len };
        let written;
        (caches, written) = step(caches, row, &mut numbers);
        for (expected, written) in expected.iter_mut().zip(&written) {
            write(expected, row, written);
        }
        assert_eq!(
            (place(&caches.0), place(&caches.1)),
            places,
            "moved at position {len}"
        );
        // Readers come and go between the steps.
        drop(
            caches
                .0
                .clone()
                .slice([1..2, 0..NUM_KV_HEADS, 0..len + 1, 0..HEAD_DIM]),
        );
    }
    for (cache, expected) in [caches.0, caches.1].into_iter().zip(expected) {
        let is_same = |(found, expected): (f32, f32)| {
            found == expected || (found.is_nan() && expected.is_nan())
        };
        assert!(values(cache).into_iter().zip(expected).all(is_same));
    }
}

fn primitive<B: Backend>(cache: &Tensor<B, 4>) -> burn::tensor::ops::FloatTensor<B> {
    match cache.clone().into_primitive() {
        TensorPrimitive::Float(primitive) => primitive,
        TensorPrimitive::QFloat(_) => unreachable!("the caches are made of floats"),
    }
}

#[test]
fn a_hundred_tokens_leave_the_cache_at_its_address() {
    assert_stays::<Cpu>(|cache| format!("{:?}", primitive(cache).bytes().as_ptr()));
}

#[test]
#[should_panic(expected = "never copied")]
fn a_shared_cache_is_refused() {
    let caches = caches::<Cpu>(&Default::default());
    let _reader = caches.0.clone();
    step(caches, KvRow { slot: 0, len: 0 }, &mut Numbers::new(1));
}

#[cfg(feature = "wgpu")]
#[test]
fn a_hundred_tokens_leave_the_cache_in_its_memory_on_a_gpu() {
    use burn_vlm::backend::Wgpu;
    // The identity of a buffer is told by its `Debug` alone; what follows it says where the
    // allocator has it at the moment.
    let identity = |cache: &Tensor<Wgpu, 4>| {
        let memory = format!("{:?}", primitive(cache).handle.memory);
        memory
            .split("location")
            .next()
            .map(str::to_owned)
            .expect("a split has a first part")
    };
    if crate::device::has_device::<burn_vlm::backend::Wgpu>("wgpu") {
        assert_stays::<Wgpu>(identity);
    }
}
