//! Caches are written where they lie.

use burn::tensor::backend::Backend;
use burn::tensor::{Tensor, TensorPrimitive};
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{
    KvSpan, KvWrite, KvWrites, RopeAppendInputs, RopeAppended, VlmBackend, kv_copy, rope_append,
};

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
    write: KvWrite,
    numbers: &mut Numbers,
) -> (Caches<B>, [Vec<f32>; 2]) {
    let device = key_cache.device();
    let angles = [CAPACITY, HEAD_DIM / 2];
    // As many queries as keys.
    let qkv = numbers.tensor::<B, 4>([1, 1, 3 * NUM_KV_HEADS, HEAD_DIM], &device);
    let heads = |part: usize| part * NUM_KV_HEADS..(part + 1) * NUM_KV_HEADS;
    let written = [1, 2].map(|part| values(qkv.clone().slice_dim(2, heads(part))));
    let inputs = RopeAppendInputs {
        qkv,
        key_cache,
        value_cache,
        cos: Tensor::ones(angles, &device),
        sin: Tensor::zeros(angles, &device),
    };
    let RopeAppended {
        key_cache,
        value_cache,
        ..
    } = rope_append(inputs, &KvWrites::new(vec![write], &device));
    ((key_cache, value_cache), written)
}

/// What a cache must hold: each token's rows where slot and place say, else NaN.
fn note(cache: &mut [f32], write: KvWrite, token: &[f32]) {
    for (head, source) in token.chunks(HEAD_DIM).enumerate() {
        let start = ((write.slot * NUM_KV_HEADS + head) * CAPACITY + write.place) * HEAD_DIM;
        cache[start..start + HEAD_DIM].copy_from_slice(source);
    }
}

fn write(slot: usize, place: usize) -> KvWrite {
    KvWrite {
        slot,
        place,
        position: place,
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
        let write = write(1, len);
        let written;
        (caches, written) = step(caches, write, &mut numbers);
        for (expected, written) in expected.iter_mut().zip(&written) {
            note(expected, write, written);
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

/// Where the memory of a cache begins.
fn address(cache: &Tensor<Cpu, 4>) -> String {
    format!("{:?}", primitive(cache).bytes().as_ptr())
}

#[test]
fn a_hundred_tokens_leave_the_cache_at_its_address() {
    assert_stays::<Cpu>(address);
}

#[test]
#[should_panic(expected = "never copied")]
fn a_shared_cache_is_refused() {
    let caches = caches::<Cpu>(&Default::default());
    let _reader = caches.0.clone();
    step(caches, write(0, 0), &mut Numbers::new(1));
}

/// The first places of slot 0.
const FORKED: KvSpan = KvSpan {
    slot: 0,
    start: 0,
    len: 50,
};

/// Copies places back and forth and asks `place` where the slab is after each time.
fn assert_copies_stay<B: VlmBackend>(place: impl Fn(&Tensor<B, 4>) -> String) {
    let device = Default::default();
    let mut slab = Numbers::new(7).tensor::<B, 4>(SLAB, &device);
    let before = place(&slab);
    for turn in 0..10 {
        let from = KvSpan {
            slot: turn % 2,
            ..FORKED
        };
        slab = kv_copy(slab, from, 1 - from.slot);
        assert_eq!(place(&slab), before, "moved by copy {turn}");
    }
}

#[test]
fn copied_places_leave_the_cache_at_its_address() {
    assert_copies_stay::<Cpu>(address);
}

#[test]
#[should_panic(expected = "never copied")]
fn places_of_a_shared_cache_are_not_copied() {
    let (slab, _) = caches::<Cpu>(&Default::default());
    let _reader = slab.clone();
    kv_copy(slab, FORKED, 1);
}

#[cfg(feature = "wgpu")]
mod on_a_gpu {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use burn_vlm::backend::Wgpu;

    use super::*;
    use crate::device::has_device;

    /// The identity of a buffer is told by its `Debug` alone; what follows it says where the
    /// allocator has it at the moment.
    fn identity(cache: &Tensor<Wgpu, 4>) -> String {
        let memory = format!("{:?}", primitive(cache).handle.memory);
        memory
            .split("location")
            .next()
            .map(str::to_owned)
            .expect("a split has a first part")
    }

    #[test]
    fn a_hundred_tokens_leave_the_cache_in_its_memory() {
        if has_device::<Wgpu>("wgpu") {
            assert_stays::<Wgpu>(identity);
        }
    }

    #[test]
    fn copied_places_leave_the_cache_in_its_memory() {
        if has_device::<Wgpu>("wgpu") {
            assert_copies_stay::<Wgpu>(identity);
        }
    }

    #[test]
    fn places_of_a_shared_cache_are_not_copied() {
        if has_device::<Wgpu>("wgpu") {
            let (slab, _) = caches::<Wgpu>(&Default::default());
            let _reader = slab.clone();
            let copy = AssertUnwindSafe(|| kv_copy(slab, FORKED, 1));
            assert!(catch_unwind(copy).is_err());
        }
    }
}
