//! Tensor cores on the emulated device: warp matrices, and matrix instructions written in PTX.

use burn::tensor::DType;
use cubecl::prelude::*;

use super::{download, kernels, max_difference, pattern, rounded, unwritten, upload};
use crate::device::{
    ARCHITECTURES, DryRuntime, EmulatedRuntime, HostCompiler, RawCuda, assert_compiles, emit,
    nvrtc, on_emulated,
};

/// Element `[row, column]` of `a b^T`, with `a` and `b` `[_, k]`.
fn product(a: &[f32], b: &[f32], k: usize, row: usize, column: usize) -> f64 {
    let terms = a[row * k..][..k].iter().zip(&b[column * k..][..k]);
    terms.map(|(a, b)| f64::from(*a) * f64::from(*b)).sum()
}

#[test]
fn a_tile_of_warp_matrices_is_a_matrix_product() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    for (dtype, k) in [(DType::F16, 16), (DType::F16, 64), (DType::BF16, 64)] {
        let (a, b) = (pattern(16 * k), pattern(17 * k).split_off(k));
        let found = on_emulated(80, |device| {
            let out = unwritten(256, DType::F32, device);
            kernels::matrix_tile::launch::<EmulatedRuntime>(
                &EmulatedRuntime::client(device),
                CubeCount::new_single(),
                CubeDim::new_1d(32),
                upload(&a, dtype, device).into_tensor_arg(),
                upload(&b, dtype, device).into_tensor_arg(),
                out.clone().into_tensor_arg(),
                k,
                dtype.into(),
            );
            download(out)
        });
        let (a, b) = (rounded(&a, dtype), rounded(&b, dtype));
        let expected = (0..256).map(|i| product(&a, &b, k, i / 16, i % 16));
        let difference = max_difference(&found.expect("the kernel is right"), expected);
        assert!(difference < 1e-5, "{dtype:?}, k {k}: off by {difference}");
    }
}

const MATRIX_INSTRUCTIONS: &str = include_str!("matrix_instructions.cu");

const MATRIX_LOAD: &str = include_str!("matrix_load.cu");

fn matrix_instructions(source: String) -> RawCuda {
    RawCuda {
        entry: "matrix_instructions",
        source,
        units: 32,
        shared_memory_bytes: 768,
    }
}

fn run_matrix_instructions(source: String) -> Result<Vec<f32>, String> {
    on_emulated(80, |device| {
        let a = upload(&pattern(256), DType::F16, device);
        let b = upload(&pattern(128), DType::F16, device);
        let c = unwritten::<EmulatedRuntime>(128, DType::F32, device);
        matrix_instructions(source).launch(vec![a, b, c.clone()], vec![]);
        (device.take_log(), c)
    })
    .and_then(|(outcome, c)| outcome.map(|_| download(c)))
}

#[test]
fn matrix_instructions_follow_the_lane_layouts_of_the_manual() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let found = run_matrix_instructions(MATRIX_INSTRUCTIONS.into()).expect("the kernel is right");
    let (a, b) = (
        rounded(&pattern(256), DType::F16),
        rounded(&pattern(128), DType::F16),
    );
    let expected = (0..128).map(|i| product(&a, &b, 16, i / 8, i % 8));
    assert!(max_difference(&found, expected) < 1e-5);
}

#[test]
fn a_matrix_comes_out_of_shared_memory_by_rows_or_by_columns() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let x: Vec<f32> = (0..64).map(|i| i as f32).collect();
    let load = |source: String| {
        on_emulated(80, |device| {
            let out = unwritten::<EmulatedRuntime>(64, DType::F16, device);
            let buffers = vec![upload(&x, DType::F16, device), out.clone()];
            RawCuda {
                entry: "matrix_load",
                source,
                units: 32,
                shared_memory_bytes: 128,
            }
            .launch(buffers, vec![]);
            download(out)
        })
    };
    assert_eq!(load(MATRIX_LOAD.into()), Ok(x.clone()));
    let transposed = (0..64).map(|i| x[i % 8 * 8 + i / 8]).collect();
    assert_eq!(
        load(MATRIX_LOAD.replace(".x1.", ".x1.trans.")),
        Ok(transposed)
    );
}

#[test]
fn a_copy_that_nobody_waits_for_is_noticed() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let hasty = MATRIX_INSTRUCTIONS.replace("cp.async.wait_group 0;", "cp.async.wait_group 1;");
    let found = run_matrix_instructions(hasty).expect_err("the fault is noticed");
    assert!(found.contains("a cp.async was never waited for"), "{found}");
}

#[test]
fn nvidias_compiler_takes_matrix_units_too() {
    let Some(compiler) = nvrtc::Compiler::find_or_skip() else {
        return;
    };
    for arch in ARCHITECTURES {
        let kernels = emit(arch, |device| {
            let half = |len| unwritten::<DryRuntime>(len, DType::F16, device);
            let float = |len| unwritten::<DryRuntime>(len, DType::F32, device);
            let raw = matrix_instructions(MATRIX_INSTRUCTIONS.into());
            raw.launch(vec![half(256), half(128), float(128)], vec![]);
            kernels::matrix_tile::launch::<DryRuntime>(
                &DryRuntime::client(device),
                CubeCount::new_single(),
                CubeDim::new_1d(32),
                half(256).into_tensor_arg(),
                half(256).into_tensor_arg(),
                float(256).into_tensor_arg(),
                16,
                DType::F16.into(),
            );
        });
        let kernels = kernels.expect("both kernels expand");
        assert_eq!(kernels.len(), 2);
        assert_compiles(&compiler, &kernels);
    }
}
