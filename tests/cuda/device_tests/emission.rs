//! The dry device hands over the text of each kernel, and NVIDIA's compiler judges it.

use std::sync::Arc;

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};
use cubecl::prelude::*;

use super::{kernels, unwritten};
use crate::device::{
    ARCHITECTURES, DryBackend, DryCuda, DryRuntime, EmittedKernel, assert_compiles, emit, nvrtc,
};

fn scale(device: &DryCuda, dtype: DType, width: usize) {
    kernels::scale::launch::<DryRuntime>(
        &DryRuntime::client(device),
        CubeCount::new_single(),
        CubeDim::new_1d(64),
        width,
        unwritten(512, dtype, device).into_tensor_arg(),
        unwritten(512, dtype, device).into_tensor_arg(),
        3.0,
        dtype.into(),
    );
}

fn one_kernel(operation: impl FnOnce(&DryCuda)) -> Arc<EmittedKernel> {
    let kernels = emit(80, operation).expect("the kernel expands");
    let [kernel] = kernels.as_slice() else {
        panic!("{} kernels", kernels.len())
    };
    kernel.clone()
}

#[test]
fn the_log_holds_each_text_once_and_is_emptied_when_taken() {
    let device = DryCuda::new(80);
    scale(&device, DType::F16, 8);
    scale(&device, DType::F16, 8);
    scale(&device, DType::BF16, 8);
    let kernels = device.take_log().expect("the kernels expand");
    assert_eq!(kernels.len(), 2);
    assert!(kernels[0].source.contains("__half_8"));
    assert!(kernels[1].source.contains("__nv_bfloat16_8"));
    assert!(device.take_log().is_ok_and(|kernels| kernels.is_empty()));
    scale(&device, DType::F16, 8);
    assert!(device.take_log().is_ok_and(|kernels| kernels.len() == 1));
}

#[test]
fn devices_of_different_threads_keep_their_own_logs() {
    std::thread::scope(|scope| {
        for dtype in [DType::F32, DType::F16] {
            scope.spawn(move || {
                let kernel = one_kernel(|device| scale(device, dtype, 4));
                assert_eq!(kernel.source.contains("__half"), dtype == DType::F16);
            });
        }
    });
}

#[test]
fn a_panic_in_the_expansion_is_an_error() {
    let outcome = emit(80, |device| {
        kernels::endless_unroll::launch::<DryRuntime>(
            &DryRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(1),
            unwritten(64, DType::F32, device).into_tensor_arg(),
            4,
        );
    });
    let reason = outcome.expect_err("the kernel cannot expand");
    assert!(
        reason.contains("Only constant end can be unrolled"),
        "{reason}"
    );
}

#[test]
fn a_block_of_too_many_threads_is_refused() {
    let outcome = emit(80, |device| {
        kernels::plane_exchange::launch::<DryRuntime>(
            &DryRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(2048),
            unwritten(64, DType::F32, device).into_tensor_arg(),
            unwritten(64, DType::F32, device).into_tensor_arg(),
        );
    });
    assert!(outcome.is_err_and(|reason| reason.contains("2048 threads")));
}

#[test]
fn rows_are_pitched_as_on_cuda() {
    let device = DryCuda::new(80);
    let rows = Tensor::<DryBackend, 2>::empty([3, 1152], (&device, DType::F16));
    let primitive = rows.into_primitive().tensor();
    assert_eq!(primitive.meta.strides()[0], 1280);
}

#[test]
fn a_kernel_of_vectors_fits_every_card() {
    let Some(compiler) = nvrtc::Compiler::find_or_skip() else {
        return;
    };
    for arch in ARCHITECTURES {
        for (dtype, width) in [(DType::F32, 4), (DType::F16, 8), (DType::BF16, 8)] {
            let kernels = emit(arch, |device| scale(device, dtype, width));
            assert_compiles(&compiler, &kernels.expect("the kernel expands"));
        }
    }
}

/// Without a look at resources: the matrix product of Burn 0.21 spills 8 bytes on 9.0.
#[test]
fn burns_own_kernels_compile() {
    let Some(compiler) = nvrtc::Compiler::find_or_skip() else {
        return;
    };
    for arch in ARCHITECTURES {
        let kernels = emit(arch, |device| {
            let q = Tensor::<DryBackend, 3>::empty([8, 64, 64], (device, DType::F16));
            let scores = q.clone().matmul(q.clone().swap_dims(1, 2)); // [batch, head_dim, seq_len]
            softmax(scores, 2).matmul(q);
        });
        let kernels = kernels.expect("the kernels expand");
        assert!(
            kernels
                .iter()
                .any(|kernel| kernel.source.contains("mma_sync"))
        );
        let reports = compiler.check_all(&kernels);
        assert!(reports.iter().all(Result::is_ok), "{reports:?}");
    }
}

#[test]
fn an_edited_text_is_refused() {
    let Some(compiler) = nvrtc::Compiler::find_or_skip() else {
        return;
    };
    let kernel = one_kernel(|device| scale(device, DType::F16, 8));
    assert!(
        compiler
            .check(&kernel)
            .is_ok_and(|resources| resources.registers > 0)
    );
    let edited = kernel.source.replacen("threadIdx.x", "threadIdx.w", 1);
    assert_ne!(edited, kernel.source);
    let reason = compiler
        .compile(&edited, 80)
        .expect_err("there is no fourth dimension");
    assert!(reason.contains("has no member \"w\""), "{reason}");
}

#[test]
fn a_kernel_that_spills_does_not_fit() {
    let Some(compiler) = nvrtc::Compiler::find_or_skip() else {
        return;
    };
    let live = 160;
    let kernel = one_kernel(|device| {
        kernels::too_many_live_values::launch::<DryRuntime>(
            &DryRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(1024),
            unwritten(1024 * live, DType::F32, device).into_tensor_arg(),
            unwritten(1024 * live, DType::F32, device).into_tensor_arg(),
            7,
            live,
        );
    });
    let resources = compiler.check(&kernel).expect("the text is correct");
    assert!(
        resources
            .fit(&kernel)
            .is_err_and(|reason| reason.starts_with("spills")),
        "{resources:?}"
    );
}
