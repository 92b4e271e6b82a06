//! A cache that is written in place by one thread and read by another.
//!
//! On CubeCL each thread has a queue of its own, and a write is queued on the writer's: see
//! [`WorkStream`].

use burn::tensor::{DType, Tensor};
use burn_vlm::kernels::{KvWrite, KvWrites, RopeAppendInputs, VlmBackend, WorkStream, rope_append};

const HEADS: usize = 3;
const CAPACITY: usize = 32;
const HEAD_DIM: usize = 16;

type Cache<B> = (Tensor<B, 4>, Tensor<B, 4>);

fn empty_cache<B: VlmBackend>() -> Cache<B> {
    let zeros = || Tensor::zeros([2, HEADS, CAPACITY, HEAD_DIM], &Default::default());
    (zeros(), zeros())
}

/// Appends one token, all of whose elements are `number`, to the second slot. Nothing is rotated.
fn append<B: VlmBackend>(
    (key_cache, value_cache): Cache<B>,
    position: usize,
    number: f32,
) -> Cache<B> {
    let device = Default::default();
    let write = KvWrite {
        slot: 1,
        place: position,
        position,
    };
    let appended = rope_append(
        RopeAppendInputs {
            qkv: Tensor::full([1, 1, 3 * HEADS, HEAD_DIM], number, &device),
            key_cache,
            value_cache,
            cos: Tensor::ones([CAPACITY, HEAD_DIM / 2], (&device, DType::F32)),
            sin: Tensor::zeros([CAPACITY, HEAD_DIM / 2], (&device, DType::F32)),
        },
        &KvWrites::new(vec![write], &device),
    );
    (appended.key_cache, appended.value_cache)
}

/// The first element of each position of the second slot's last head.
fn positions<B: VlmBackend>(cache: Tensor<B, 4>) -> Vec<f32> {
    let slot = cache.slice([1..2, HEADS - 1..HEADS, 0..CAPACITY, 0..1]);
    slot.into_data().iter::<f32>().collect()
}

fn appended(count: usize) -> Vec<f32> {
    let tokens = (0..CAPACITY).map(|position| if position < count { position + 1 } else { 0 });
    tokens.map(|token| token as f32).collect()
}

fn appends_of_many_threads_are_seen_by_the_owner_of_the_stream<B: VlmBackend>() {
    let stream = WorkStream::current();
    let mut cache = empty_cache::<B>();
    for position in 0..8 {
        let step = move || stream.run(|| append(cache, position, position as f32 + 1.0));
        cache = std::thread::spawn(step)
            .join()
            .expect("an append does not panic");
    }
    assert_eq!(positions(cache.0), appended(8));
    assert_eq!(positions(cache.1), appended(8));
}

fn a_session_moves_between_threads_step_by_step<B: VlmBackend>() {
    let make = || (WorkStream::current(), empty_cache::<B>());
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

/// Makes tests of both for a backend, which are skipped where its device is not there.
macro_rules! on_device {
    ($feature:literal, $module:ident, $backend:ident) => {
        #[cfg(feature = $feature)]
        mod $module {
            use burn_vlm::backend::$backend;

            #[test]
            fn appends_of_many_threads_are_seen_by_the_owner_of_the_stream() {
                if crate::device::has_device::<$backend>($feature) {
                    super::appends_of_many_threads_are_seen_by_the_owner_of_the_stream::<$backend>(
                    );
                }
            }

            #[test]
            fn a_session_moves_between_threads_step_by_step() {
                if crate::device::has_device::<$backend>($feature) {
                    super::a_session_moves_between_threads_step_by_step::<$backend>();
                }
            }
        }
    };
}
on_device!("wgpu", wgpu, Wgpu);
on_device!("cuda", cuda, Cuda);
