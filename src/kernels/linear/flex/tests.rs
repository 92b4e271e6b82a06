use burn::tensor::{DType, TensorData};

use super::*;

/// Numbers that every type holds exactly, and whose sums of products are exact in an f32.
fn numbers(count: usize, seed: usize) -> Vec<f32> {
    (0..count)
        .map(|at| ((at * 37 + seed * 11) % 17) as f32 / 8.0 - 1.0)
        .collect()
}

fn tensor(values: &[f32], shape: [usize; 2], dtype: DType) -> FlexTensor {
    FlexTensor::from_data(TensorData::new(values.to_vec(), shape).convert_dtype(dtype))
}

fn matrix(values: &[f32], shape: [usize; 2], dtype: DType) -> Matrix<FlexTensor> {
    Matrix::Float(tensor(values, shape, dtype))
}

fn product(x: &[f32], weight: &[f32], [rows, in_features, out_features]: [usize; 3]) -> Vec<f32> {
    let dot = |row: usize, feature: usize| -> f32 {
        let x = &x[row * in_features..][..in_features];
        let weight = &weight[feature * in_features..][..in_features];
        x.iter().zip(weight).map(|(x, weight)| x * weight).sum()
    };
    (0..rows * out_features)
        .map(|at| dot(at / out_features, at % out_features))
        .collect()
}

#[test]
fn every_tier_and_weight_type_gives_the_exact_product() {
    let sizes = [1, 2, 3, 4, 5, 7, 8, 9, 10, 13, 121];
    let shapes = sizes.map(|rows| [rows, 67, 11]);
    let deep = [
        [1, 1, 1],
        [2, 2100, 9],
        [11, 2100, 9],
        [9, 16, 163],
        [10, 1024, 80],
    ];
    for shape @ [rows, in_features, out_features] in shapes.into_iter().chain(deep) {
        let (x, weight) = (
            numbers(rows * in_features, 1),
            numbers(out_features * in_features, 2),
        );
        let expected = product(&x, &weight, shape);
        let x = tensor(&x, [rows, in_features], DType::F32);
        for dtype in [DType::F32, DType::F16, DType::BF16] {
            let weight = matrix(&weight, [out_features, in_features], dtype);
            for tier in Tier::all() {
                let y = run_on(tier, &x, &weight, &LinearEpilogue::default());
                let y = y.expect("the weight is row-major");
                assert_eq!(y.storage::<f32>(), expected, "{tier:?} {shape:?} {dtype:?}");
            }
        }
    }
}

#[test]
fn a_part_of_a_weight_is_read_where_it_lies() {
    let (x, weight) = (numbers(3 * 20, 3), numbers(8 * 24, 4));
    let inner: Vec<f32> = (1..7)
        .flat_map(|row| weight[row * 24 + 2..row * 24 + 22].to_vec())
        .collect();
    let expected = product(&x, &inner, [3, 20, 6]);
    let part = tensor(&weight, [8, 24], DType::BF16)
        .narrow(0, 1, 6)
        .narrow(1, 2, 20);
    let y = run(
        &tensor(&x, [3, 20], DType::F32),
        &Matrix::Float(part),
        &LinearEpilogue::default(),
    );
    assert_eq!(
        y.expect("the rows are in memory order").storage::<f32>(),
        expected
    );
}

#[test]
fn a_weight_that_would_have_to_be_copied_is_refused() {
    let x = tensor(&numbers(20, 5), [1, 20], DType::F32);
    let transposed = tensor(&numbers(120, 6), [20, 6], DType::F32).transpose(0, 1);
    let transposed = Matrix::Float(transposed);
    let refused =
        run(&x, &transposed, &LinearEpilogue::default()).expect_err("a transposed weight");
    let expected = LaunchRefused::Scattered {
        operand: "a weight",
        strides: vec![1, 6],
    };
    assert_eq!(refused, expected);
}

#[test]
fn the_answer_has_the_type_of_x() {
    let weight = matrix(&numbers(12, 7), [3, 4], DType::F16);
    for dtype in [DType::F32, DType::F16, DType::BF16] {
        let x = tensor(&numbers(8, 8), [2, 4], dtype);
        let y = run(&x, &weight, &LinearEpilogue::default()).expect("the weight is row-major");
        assert_eq!(y.dtype(), dtype);
    }
}

#[test]
fn nothing_in_gives_nothing_out() {
    let x = tensor(&[], [0, 4], DType::F32);
    let weight = matrix(&numbers(12, 7), [3, 4], DType::F32);
    let y = run(&x, &weight, &LinearEpilogue::default()).expect("the weight is row-major");
    assert_eq!(y.shape().to_vec(), [0, 3]);
}
