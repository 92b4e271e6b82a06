//! The emulated device notices kernels that a card would run wrong, or not at all.

use burn::tensor::DType;
use burn_cubecl::tensor::CubeTensor;
use cubecl::prelude::*;

use super::kernels::{self, Wait};
use super::{download, pattern, unwritten, upload};
use crate::device::{
    EmulatedCuda, EmulatedRuntime, HostCompiler, Lanes, RawCuda, ThreadOrder, on_emulated,
};

type OnDevice = CubeTensor<EmulatedRuntime>;

/// Runs a fault on a strict device and returns what is said about it.
fn complaint(launch: impl FnOnce(&EmulatedCuda, OnDevice, OnDevice)) -> String {
    let outcome = on_emulated(80, |device| {
        let x = upload(&pattern(64), DType::F32, device);
        launch(device, x, unwritten(64, DType::F32, device));
    });
    outcome.expect_err("the fault is noticed")
}

fn reverse(device: &EmulatedCuda, x: OnDevice, out: OnDevice, wait: Wait) {
    let units = x.meta.shape()[0] as u32;
    kernels::reverse_block::launch::<EmulatedRuntime>(
        &EmulatedRuntime::client(device),
        CubeCount::new_single(),
        CubeDim::new_1d(units),
        x.into_tensor_arg(),
        out.into_tensor_arg(),
        units,
        wait,
    );
}

#[test]
fn a_missing_barrier_shows_in_the_order_of_the_threads() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = complaint(|device, x, out| reverse(device, x, out, Wait::Nobody));
    assert!(
        found.contains("buffer 1 depends on the order of the threads"),
        "{found}"
    );
}

#[test]
fn the_same_kernel_with_its_barrier_is_right() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = on_emulated(80, |device| {
        let out = unwritten(64, DType::F32, device);
        reverse(
            device,
            upload(&pattern(64), DType::F32, device),
            out.clone(),
            Wait::All,
        );
        download(out)
    });
    assert_eq!(found, Ok(pattern(64).into_iter().rev().collect()));
}

#[test]
fn a_warp_needs_no_barrier_only_while_its_lanes_are_joined() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let reversed = |lanes| {
        let device = EmulatedCuda::new(80, ThreadOrder::Both, lanes);
        let out = unwritten(32, DType::F32, &device);
        let x = upload(&pattern(32), DType::F32, &device);
        reverse(&device, x, out.clone(), Wait::Nobody);
        device.take_log().map(|_| download(out))
    };
    assert!(reversed(Lanes::Free).is_err());
    let expected = pattern(32).into_iter().rev().collect();
    assert_eq!(reversed(Lanes::Joined), Ok(expected));
}

#[test]
fn a_barrier_in_a_branch_is_noticed() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = complaint(|device, x, out| reverse(device, x, out, Wait::FirstThreads));
    assert!(found.contains("wait at different __syncthreads"), "{found}");
}

#[test]
fn lanes_that_wait_for_each_other_in_vain_are_stuck() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = complaint(|device, x, out| reverse(device, x, out, Wait::FirstThreadsApart));
    assert!(
        found.contains("is stuck: 40 threads at __syncthreads"),
        "{found}"
    );
    let found = complaint(|device, x, out| {
        kernels::half_a_plane::launch::<EmulatedRuntime>(
            &EmulatedRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(64),
            x.into_tensor_arg(),
            out.into_tensor_arg(),
        );
    });
    assert!(
        found.contains("32 in a warp operation (__shfl_xor_sync)"),
        "{found}"
    );
}

#[test]
fn a_block_that_relies_on_another_shows_in_the_order_of_the_blocks() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = complaint(|device, x, _| {
        kernels::chain_of_blocks::launch::<EmulatedRuntime>(
            &EmulatedRuntime::client(device),
            CubeCount::new_1d(64),
            CubeDim::new_1d(32),
            x.into_tensor_arg(),
        );
    });
    assert!(found.contains("depends on the order"), "{found}");
}

#[test]
fn a_vector_at_an_odd_address_is_a_misaligned_access() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = complaint(|device, mut x, out| {
        x.handle = x.handle.offset_start(4);
        kernels::scale::launch::<EmulatedRuntime>(
            &EmulatedRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(32),
            4,
            x.into_tensor_arg(),
            out.into_tensor_arg(),
            1.0,
            DType::F32.into(),
        );
    });
    assert!(found.contains("a misaligned access"), "{found}");
}

#[test]
fn a_write_past_the_end_of_a_buffer_is_noticed() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = complaint(|device, x, out| {
        // SAFETY: it is not; the write lands in the guard behind the buffer.
        #[expect(unsafe_code, reason = "a launch without checks is the fault")]
        unsafe {
            kernels::shift_right::launch_unchecked::<EmulatedRuntime>(
                &EmulatedRuntime::client(device),
                CubeCount::new_single(),
                CubeDim::new_1d(64),
                x.into_tensor_arg(),
                out.into_tensor_arg(),
            );
        }
    });
    assert!(found.contains("wrote past the end of buffer 1"), "{found}");
}

#[test]
fn an_unknown_intrinsic_is_named() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let source = "extern \"C\" __global__ void nap(float* x, float* y) {\n__nanosleep(1);\n}";
    let found = complaint(|_, x, out| {
        let raw = RawCuda {
            entry: "nap",
            source: source.into(),
            units: 32,
            shared_memory_bytes: 0,
        };
        raw.launch(vec![x, out], vec![]);
    });
    assert!(
        found.contains("kernel.cu:2") && found.contains("__nanosleep"),
        "{found}"
    );
}

#[test]
fn a_panic_in_the_expansion_is_reported() {
    let found = complaint(|device, _, out| {
        kernels::endless_unroll::launch::<EmulatedRuntime>(
            &EmulatedRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(32),
            out.into_tensor_arg(),
            4,
        );
    });
    assert!(
        found.contains("Only constant end can be unrolled"),
        "{found}"
    );
}

#[test]
fn an_error_is_reported_once_and_by_its_own_device_only() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let [faulty, other] =
        [0; 2].map(|_| EmulatedCuda::new(80, ThreadOrder::Ascending, Lanes::Free));
    let x = upload(&pattern(64), DType::F32, &faulty);
    reverse(&faulty, x.clone(), x, Wait::FirstThreads);
    assert!(EmulatedRuntime::client(&other).flush().is_ok());
    assert!(EmulatedRuntime::client(&faulty).flush().is_err());
    assert!(EmulatedRuntime::client(&faulty).flush().is_ok());
}
