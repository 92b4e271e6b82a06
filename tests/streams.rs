//! A cache that is written in place by one thread and read by another.
//!
//! On CubeCL each thread has a queue of its own, and a write is queued on the writer's: see
//! [`WorkStream`].
#![cfg(feature = "wgpu")]

use std::panic::{AssertUnwindSafe, catch_unwind};

use burn::tensor::backend::Backend;
use burn::tensor::{DType, Tensor};
use burn_vlm::backend::Wgpu;
use burn_vlm::kernels::{KvRow, RopeAppendInputs, WorkStream, rope_append};

const HEADS: usize = 3;
const CAPACITY: usize = 32;
const HEAD_DIM: usize = 16;

type Cache = (Tensor<Wgpu, 4>, Tensor<Wgpu, 4>);

/// Whether there is a GPU, simulated or not; `BURN_VLM_REQUIRE=wgpu` makes its absence a failure.
#[expect(
    clippy::print_stderr,
    reason = "nothing may pass by not running unseen"
)]
fn has_device() -> bool {
    let device = Default::default();
    let is_there = catch_unwind(AssertUnwindSafe(|| Wgpu::sync(&device).is_ok())).unwrap_or(false);
    let required = std::env::var("BURN_VLM_REQUIRE").unwrap_or_default();
    let is_required = required.split(',').any(|name| name == "wgpu");
    assert!(
        is_there || !is_required,
        "BURN_VLM_REQUIRE=wgpu, and there is no device"
    );
    if !is_there {
        eprintln!("wgpu: not run: no device");
    }
    is_there
}

fn empty_cache() -> Cache {
    let zeros = || Tensor::zeros([2, HEADS, CAPACITY, HEAD_DIM], &Default::default());
    (zeros(), zeros())
}

/// Appends one token, all of whose elements are `number`, to the second slot. Nothing is rotated.
fn append((key_cache, value_cache): Cache, position: usize, number: f32) -> Cache {
    let device = Default::default();
    let token = Tensor::full([1, 1, HEADS, HEAD_DIM], number, &device);
    let appended = rope_append(
        RopeAppendInputs {
            query: token.clone(),
            key: token.clone(),
            value: token,
            key_cache,
            value_cache,
            cos: Tensor::ones([CAPACITY, HEAD_DIM / 2], (&device, DType::F32)),
            sin: Tensor::zeros([CAPACITY, HEAD_DIM / 2], (&device, DType::F32)),
        },
        &[KvRow {
            slot: 1,
            len: position,
        }],
    );
    (appended.key_cache, appended.value_cache)
}

/// The first element of each position of the second slot's last head.
fn positions(cache: Tensor<Wgpu, 4>) -> Vec<f32> {
    let slot = cache.slice([1..2, HEADS - 1..HEADS, 0..CAPACITY, 0..1]);
    slot.into_data().iter::<f32>().collect()
}

fn appended(count: usize) -> Vec<f32> {
    let tokens = (0..CAPACITY).map(|position| if position < count { position + 1 } else { 0 });
    tokens.map(|token| token as f32).collect()
}

#[test]
fn appends_of_many_threads_are_seen_by_the_owner_of_the_stream() {
    if !has_device() {
        return;
    }
    let stream = WorkStream::current();
    let mut cache = empty_cache();
    for position in 0..8 {
        let step = move || stream.run(|| append(cache, position, position as f32 + 1.0));
        cache = std::thread::spawn(step)
            .join()
            .expect("an append does not panic");
    }
    assert_eq!(positions(cache.0), appended(8));
    assert_eq!(positions(cache.1), appended(8));
}

#[test]
fn a_session_moves_between_threads_step_by_step() {
    if !has_device() {
        return;
    }
    let make = || (WorkStream::current(), empty_cache());
    let (stream, mut cache) = std::thread::spawn(make).join().expect("zeros do not panic");
    for position in 0..16 {
        let step = move || stream.run(|| append(cache, position, position as f32 + 1.0));
        cache = if position % 2 == 0 {
            step()
        } else {
            std::thread::spawn(step)
                .join()
                .expect("an append does not panic")
        };
    }
    assert_eq!(stream.run(|| positions(cache.0)), appended(16));
    assert_eq!(stream.run(|| positions(cache.1)), appended(16));
}
