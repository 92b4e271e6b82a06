//! The emulated device computes what plain loops compute.

use burn::tensor::activation::softmax;
use burn::tensor::{DType, Tensor};
use cubecl::prelude::*;

use super::{download, kernels, max_difference, pattern, rounded, unwritten, upload};
use crate::device::{
    EmulatedBackend, EmulatedCuda, EmulatedRuntime, HostCompiler, Lanes, ThreadOrder, on_emulated,
};

#[test]
fn vectors_of_every_float_type_are_loaded_and_stored() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    for (dtype, width) in [(DType::F32, 4), (DType::F16, 8), (DType::BF16, 8)] {
        let x = pattern(1000);
        let found = on_emulated(80, |device| {
            let out = unwritten(x.len(), dtype, device);
            kernels::scale::launch::<EmulatedRuntime>(
                &EmulatedRuntime::client(device),
                CubeCount::new_1d(4),
                CubeDim::new_1d(64),
                width,
                upload(&x, dtype, device).into_tensor_arg(),
                out.clone().into_tensor_arg(),
                3.0,
                dtype.into(),
            );
            download(out)
        });
        let tripled: Vec<f32> = rounded(&x, dtype).iter().map(|value| value * 3.0).collect();
        let expected = rounded(&tripled, dtype).into_iter().map(f64::from);
        assert_eq!(
            max_difference(&found.expect("the kernel is right"), expected),
            0.0
        );
    }
}

#[test]
fn a_tree_in_shared_memory_adds_up_each_block() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let x = pattern(3 * 256);
    let found = on_emulated(80, |device| {
        let out = unwritten(3, DType::F32, device);
        kernels::block_sum::launch::<EmulatedRuntime>(
            &EmulatedRuntime::client(device),
            CubeCount::new_1d(3),
            CubeDim::new_1d(256),
            upload(&x, DType::F32, device).into_tensor_arg(),
            out.clone().into_tensor_arg(),
            256,
        );
        download(out)
    });
    let expected = x
        .chunks(256)
        .map(|block| block.iter().copied().map(f64::from).sum());
    assert!(max_difference(&found.expect("the kernel is right"), expected) < 1e-4);
}

#[test]
fn planes_of_32_exchange_values() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let x = pattern(64);
    let found = on_emulated(80, |device| {
        let out = unwritten(64, DType::F32, device);
        kernels::plane_exchange::launch::<EmulatedRuntime>(
            &EmulatedRuntime::client(device),
            CubeCount::new_single(),
            CubeDim::new_1d(64),
            upload(&x, DType::F32, device).into_tensor_arg(),
            out.clone().into_tensor_arg(),
        );
        download(out)
    });
    let expected: Vec<f32> = (0..64)
        .map(|i| {
            let plane = &x[i / 32 * 32..][..32];
            let highest = plane.iter().copied().fold(f32::MIN, f32::max);
            x[i ^ 1] + highest + plane[0]
        })
        .collect();
    assert_eq!(found, Ok(expected));
}

#[test]
fn fresh_memory_is_nan_even_where_it_is_used_again() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let device = EmulatedCuda::strict(80);
    drop(upload::<EmulatedRuntime>(&[1.0; 512], DType::F32, &device));
    let fresh = download::<EmulatedRuntime>(unwritten(512, DType::F32, &device));
    assert!(fresh.iter().all(|value| value.is_nan()));
}

#[test]
fn pitched_rows_come_back_as_they_went() {
    let device = EmulatedCuda::strict(80);
    let rows = Tensor::<EmulatedBackend, 1>::from_floats(pattern(6 * 88).as_slice(), &device);
    let data = rows.reshape([2, 3, 88]).into_data();
    let pitched = Tensor::<EmulatedBackend, 3>::from_data(data.clone(), &device);
    pitched.into_data().assert_eq(&data, true);
}

#[test]
fn burns_attention_runs_with_joined_lanes() {
    let Some(_) = HostCompiler::find_or_skip() else {
        return;
    };
    let device = EmulatedCuda::new(80, ThreadOrder::Ascending, Lanes::Joined);
    // Shape: [batch, seq_len, head_dim].
    let (batch, seq_len, head_dim) = (2, 32, 64);
    let q = pattern(batch * seq_len * head_dim);
    let tensor = Tensor::<EmulatedBackend, 1>::from_floats(q.as_slice(), &device);
    let tensor = tensor.reshape([batch, seq_len, head_dim]).cast(DType::F16);
    let keys = tensor.clone().swap_dims(1, 2); // [batch, head_dim, seq_len]
    let scores = tensor.clone().matmul(keys) / 8.0;
    let attended = softmax(scores, 2).matmul(tensor);
    let found = attended
        .into_data()
        .convert::<f32>()
        .to_vec()
        .expect("converted to f32");

    let q = rounded(&q, DType::F16);
    let expected = q
        .chunks(seq_len * head_dim)
        .flat_map(|q| attention(q, head_dim));
    assert!(max_difference(&found, expected) < 5e-3);
    assert!(
        device
            .take_log()
            .is_ok_and(|kernels| kernels.iter().any(|k| k.source.contains("mma_sync")))
    );
}

/// Self-attention of one head whose q, k and v are the same rows, scaled by 1/8.
fn attention(q: &[f32], head_dim: usize) -> Vec<f64> {
    let rows: Vec<_> = q.chunks(head_dim).collect();
    let dot = |a: &[f32], b: &[f32]| -> f64 {
        a.iter()
            .zip(b)
            .map(|(a, b)| f64::from(*a) * f64::from(*b))
            .sum()
    };
    let attend = |query: &&[f32]| {
        let weights: Vec<f64> = rows
            .iter()
            .map(|key| (dot(query, key) / 8.0).exp())
            .collect();
        let total: f64 = weights.iter().sum();
        let value = |d: usize| {
            let parts = weights
                .iter()
                .zip(&rows)
                .map(|(weight, row)| weight * f64::from(row[d]));
            parts.sum::<f64>() / total
        };
        (0..head_dim).map(value).collect::<Vec<_>>()
    };
    rows.iter().flat_map(attend).collect()
}
