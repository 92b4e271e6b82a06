use burn::tensor::{DType, TensorData};
use burn_flex::Flex;

use super::*;
use crate::kernels::{GROUP_LEN, MatrixTensor, PackedMatrix};

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

/// A packed matrix, and its elements as the definition of its type has them.
fn packed(
    packed_type: PackedType,
    [rows, columns]: [usize; 2],
) -> (PackedMatrix<FlexTensor, FlexTensor>, Vec<f32>) {
    let groups = rows * columns / GROUP_LEN;
    let code = |at: usize| (at * 89 + at / 7 * 31 + 5) as u8;
    let codes: Vec<u32> = (0..groups * packed_type.words_of_group())
        .map(|word| u32::from_le_bytes([0, 1, 2, 3].map(|byte| code(4 * word + byte))))
        .collect();
    let numbers: Vec<f32> = (0..groups * packed_type.numbers_of_group())
        .map(|at| ((at * 29 % 23) as f32 - 11.0) / 128.0)
        .collect();
    let bytes = codes.iter().flat_map(|word| word.to_le_bytes());
    let bytes: Vec<u8> = bytes.collect();
    let element = |at: usize| {
        let (group, at) = (at / GROUP_LEN, at % GROUP_LEN);
        match packed_type {
            PackedType::Q8 => numbers[group] * f32::from(bytes[group * 32 + at].cast_signed()),
            PackedType::Q4 | PackedType::Q4WithMinimum => {
                let byte = bytes[group * 16 + at % 16];
                let code = f32::from(if at < 16 { byte & 15 } else { byte >> 4 });
                match packed_type {
                    PackedType::Q4 => numbers[group] * (code - 8.0),
                    _ => numbers[2 * group] * code + numbers[2 * group + 1],
                }
            }
        }
    };
    let elements = (0..rows * columns).map(element).collect();
    let (words, per_row) = (codes.len() / rows, numbers.len() / rows);
    let codes = FlexTensor::from_data(TensorData::new(codes, [rows, words]));
    let numbers = tensor(&numbers, [rows, per_row], DType::F16);
    (PackedMatrix::new(codes, numbers), elements)
}

const PACKED: [PackedType; 3] = [PackedType::Q8, PackedType::Q4, PackedType::Q4WithMinimum];

#[test]
fn every_tier_gives_of_a_packed_weight_what_it_gives_of_the_same_numbers_in_f32() {
    let sizes = [1, 2, 3, 4, 5, 8, 9, 13, 121];
    let shapes = sizes.map(|rows| [rows, 96, 11]);
    let deep = [
        [1, 32, 1],
        [1, 1056, 6],
        [3, 544, 5],
        [11, 2080, 9],
        [10, 512, 80],
    ];
    for [rows, in_features, out_features] in shapes.into_iter().chain(deep) {
        let x = tensor(
            &numbers(rows * in_features, 1),
            [rows, in_features],
            DType::F32,
        );
        for packed_type in PACKED {
            let shape = [out_features, in_features];
            let (packed, elements) = packed(packed_type, shape);
            let (packed, wide) = (Matrix::Packed(packed), matrix(&elements, shape, DType::F32));
            for tier in Tier::all() {
                let [found, expected] = [&packed, &wide].map(|weight| {
                    let y = run_on(tier, &x, weight, &LinearEpilogue::default());
                    y.expect("the weight is row-major")
                        .storage::<f32>()
                        .to_vec()
                });
                assert_eq!(found, expected, "{tier:?} {packed_type} {rows} {shape:?}");
            }
        }
    }
}

#[test]
fn the_reference_widens_a_packed_weight_to_what_its_type_says() {
    for packed_type in PACKED {
        let (packed, elements) = packed(packed_type, [5, 96]);
        let packed = MatrixTensor::<Flex>::from_primitive(Matrix::Packed(packed));
        let found: Vec<f32> = packed.widened().into_data().iter().collect();
        assert_eq!(found, elements, "{packed_type}");
    }
}

#[test]
fn some_rows_of_a_packed_weight_are_read_where_they_lie() {
    let (packed, elements) = packed(PackedType::Q4WithMinimum, [8, 64]);
    let part = PackedMatrix::new(packed.codes.narrow(0, 3, 4), packed.numbers.narrow(0, 3, 4));
    let x = numbers(64, 3);
    let expected = product(&x, &elements[3 * 64..7 * 64], [1, 64, 4]);
    let y = run(
        &tensor(&x, [1, 64], DType::F32),
        &Matrix::Packed(part),
        &LinearEpilogue::default(),
    );
    let y = y.expect("the rows are in memory order");
    let close = |(found, expected): (&f32, &f32)| (found - expected).abs() < 1e-4;
    assert!(y.storage::<f32>().iter().zip(&expected).all(close));
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
        operand: "a matrix",
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
