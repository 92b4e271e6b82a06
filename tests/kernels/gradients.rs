//! The gradients of the reference bodies, against central differences in f64.

use burn::tensor::{DType, Int, Tensor, TensorData};
use burn_autodiff::Autodiff;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{
    Activation, AttentionInputs, AttentionMask, KvView, KvViews, SplicedRows, add_rms_norm,
    attention_prefill, embed_and_splice, layer_norm, linear, rms_norm, swiglu,
};

use crate::numbers::{Numbers, values};

type B = Autodiff<Cpu>;

/// An input as a matrix, and the same numbers in f64.
type Matrix = Tensor<B, 2>;

const ROWS: usize = 3;
const SIZE: usize = 8;
const EPSILON: f64 = 1e-5;

/// Holds the gradient of `loss(inputs)`, the sum of the weighted answers, to the differences of
/// `exact`, which gives the answers in f64.
fn assert_gradient(
    shapes: &[[usize; 2]],
    answers: impl Fn(&[Matrix]) -> Matrix,
    exact: impl Fn(&[Vec<f64>]) -> Vec<f64>,
) {
    let device = Default::default();
    let mut numbers = Numbers::new(11);
    let data: Vec<Vec<f32>> = shapes
        .iter()
        .map(|shape| numbers.take(shape.iter().product()))
        .collect();
    let inputs: Vec<Matrix> = data
        .iter()
        .zip(shapes)
        .map(|(data, shape)| TensorData::new(data.clone(), *shape))
        .map(|data| Tensor::from_data(data, (&device, DType::F32)).require_grad())
        .collect();
    let answers = answers(&inputs);
    let weights = numbers.tensor::<B, 2>(answers.dims(), &device);
    let grads = (answers * weights.clone()).sum().backward();

    let weights = values(weights);
    let loss = |inputs: &[Vec<f64>]| -> f64 {
        exact(inputs)
            .iter()
            .zip(&weights)
            .map(|(answer, weight)| answer * f64::from(*weight))
            .sum()
    };
    let mut wide: Vec<Vec<f64>> = data
        .iter()
        .map(|data| data.iter().map(|value| f64::from(*value)).collect())
        .collect();
    for (index, input) in inputs.iter().enumerate() {
        let found = values(
            input
                .grad(&grads)
                .expect("the answer depends on every input"),
        );
        for (at, found) in found.iter().enumerate() {
            let expected = difference(loss, &mut wide, index, at);
            let error = (f64::from(*found) - expected).abs();
            assert!(
                error < 2e-5,
                "input {index}, element {at}: {found}, expected {expected}"
            );
        }
    }
}

fn difference(
    loss: impl Fn(&[Vec<f64>]) -> f64,
    inputs: &mut [Vec<f64>],
    index: usize,
    at: usize,
) -> f64 {
    const STEP: f64 = 1e-5;
    let value = inputs[index][at];
    inputs[index][at] = value + STEP;
    let above = loss(inputs);
    inputs[index][at] = value - STEP;
    let below = loss(inputs);
    inputs[index][at] = value;
    (above - below) / (2.0 * STEP)
}

fn dot(a: &[f64], b: &[f64]) -> f64 {
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The one row of a matrix.
fn row(matrix: &Matrix) -> Tensor<B, 1> {
    let [_, size] = matrix.dims();
    matrix.clone().reshape([size])
}

fn normalise(x: &[f64], weight: &[f64]) -> Vec<f64> {
    x.chunks(SIZE)
        .flat_map(|x| {
            let rms = (dot(x, x) / SIZE as f64 + EPSILON).sqrt();
            x.iter()
                .zip(weight)
                .map(move |(x, weight)| x / rms * weight)
        })
        .collect()
}

#[test]
fn linear_gives_every_input_its_gradient() {
    const OUT: usize = 5;
    let shapes = [[ROWS, SIZE], [OUT, SIZE], [1, OUT], [ROWS, OUT]];
    assert_gradient(
        &shapes,
        |inputs| {
            let [x, weight, bias, residual] = inputs else {
                unreachable!("four shapes")
            };
            let (bias, residual) = (Some(row(bias)), Some(residual.clone()));
            linear(
                x.clone(),
                weight.clone(),
                bias,
                Activation::QuickGelu,
                residual,
            )
        },
        |inputs| {
            let output = |at: usize| {
                let (row, feature) = (at / OUT, at % OUT);
                let x = &inputs[0][row * SIZE..][..SIZE];
                let y = dot(x, &inputs[1][feature * SIZE..][..SIZE]) + inputs[2][feature];
                y / (1.0 + (-1.702 * y).exp()) + inputs[3][at]
            };
            (0..ROWS * OUT).map(output).collect()
        },
    );
}

#[test]
fn rms_norm_gives_every_input_its_gradient() {
    assert_gradient(
        &[[ROWS, SIZE], [1, SIZE]],
        |inputs| rms_norm(inputs[0].clone(), row(&inputs[1]), EPSILON),
        |inputs| normalise(&inputs[0], &inputs[1]),
    );
}

#[test]
fn add_rms_norm_gives_every_input_its_gradient() {
    assert_gradient(
        &[[ROWS, SIZE], [ROWS, SIZE], [1, SIZE]],
        |inputs| {
            let (x, residual) = (inputs[0].clone(), inputs[1].clone());
            let (sum, normed) = add_rms_norm(x, residual, row(&inputs[2]), EPSILON);
            Tensor::cat(vec![sum, normed], 0)
        },
        |inputs| {
            let sum: Vec<f64> = inputs[0]
                .iter()
                .zip(&inputs[1])
                .map(|(x, y)| x + y)
                .collect();
            let normed = normalise(&sum, &inputs[2]);
            [sum, normed].concat()
        },
    );
}

#[test]
fn layer_norm_gives_every_input_its_gradient() {
    assert_gradient(
        &[[ROWS, SIZE], [1, SIZE], [1, SIZE]],
        |inputs| layer_norm(inputs[0].clone(), row(&inputs[1]), row(&inputs[2]), EPSILON),
        |inputs| {
            let norm = |x: &[f64]| -> Vec<f64> {
                let mean = x.iter().sum::<f64>() / SIZE as f64;
                let variance = x.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / SIZE as f64;
                let deviation = (variance + EPSILON).sqrt();
                let scaled = x.iter().map(|x| (x - mean) / deviation);
                let weighted = scaled.zip(&inputs[1]).map(|(x, weight)| x * weight);
                weighted.zip(&inputs[2]).map(|(x, bias)| x + bias).collect()
            };
            inputs[0].chunks(SIZE).flat_map(norm).collect()
        },
    );
}

#[test]
fn swiglu_gives_every_input_its_gradient() {
    assert_gradient(
        &[[ROWS, SIZE]],
        |inputs| swiglu(inputs[0].clone()),
        |inputs| {
            let gated = |row: &[f64]| -> Vec<f64> {
                let (gate, up) = row.split_at(SIZE / 2);
                let gate = gate.iter().map(|gate| gate / (1.0 + (-gate).exp()));
                gate.zip(up).map(|(gate, up)| gate * up).collect()
            };
            inputs[0].chunks(SIZE).flat_map(gated).collect()
        },
    );
}

/// An id that is looked up twice, one that is not in the table, and one under a picture.
#[test]
fn embed_and_splice_gives_table_and_pictures_their_gradients() {
    const VOCAB_SIZE: usize = 4;
    assert_gradient(
        &[[VOCAB_SIZE, SIZE], [1, SIZE]],
        |inputs| {
            let device = Default::default();
            let ids = Tensor::<B, 1, Int>::from_ints([2, VOCAB_SIZE as i32, 0, 2, 1], &device);
            let picture = SplicedRows {
                start: 2,
                rows: inputs[1].clone(),
            };
            embed_and_splice(inputs[0].clone(), ids, vec![picture], DType::F32)
        },
        |inputs| {
            let row = |id: usize| inputs[0][id * SIZE..][..SIZE].to_vec();
            let nothing = vec![0.0; SIZE];
            [row(2), nothing, inputs[1].clone(), row(2), row(1)].concat()
        },
    );
}

/// Two query heads share a key-value head; three queries, five keys.
#[test]
fn attention_prefill_gives_every_input_its_gradient() {
    const HEADS: usize = 2;
    const QUERIES: usize = 3;
    const KEYS: usize = 5;
    assert_gradient(
        &[[HEADS * QUERIES, SIZE], [KEYS, SIZE], [KEYS, SIZE]],
        |inputs| {
            let slab = |matrix: &Matrix| matrix.clone().reshape([1, 1, KEYS, SIZE]);
            let inputs = AttentionInputs {
                query: inputs[0].clone().reshape([1, HEADS, QUERIES, SIZE]),
                key: slab(&inputs[1]),
                value: slab(&inputs[2]),
            };
            let views = KvViews::new(vec![KvView::of(0, KEYS)], &Default::default());
            let answers = attention_prefill(inputs, &views, AttentionMask::Causal);
            answers.reshape([QUERIES * HEADS, SIZE])
        },
        |inputs| {
            let answer = |query: usize, head: usize| {
                let line = &inputs[0][(head * QUERIES + query) * SIZE..][..SIZE];
                let seen = KEYS - QUERIES + query + 1;
                let score = |key: &[f64]| (dot(line, key) / (SIZE as f64).sqrt()).exp();
                let weights: Vec<f64> = inputs[1].chunks(SIZE).take(seen).map(score).collect();
                let total: f64 = weights.iter().sum();
                let value = |at: usize| {
                    let column = inputs[2].chunks(SIZE).map(|value| value[at]);
                    weights
                        .iter()
                        .zip(column)
                        .map(|(weight, value)| weight * value)
                        .sum::<f64>()
                };
                (0..SIZE).map(|at| value(at) / total).collect::<Vec<_>>()
            };
            let places = (0..QUERIES).flat_map(|query| (0..HEADS).map(move |head| (query, head)));
            places
                .flat_map(|(query, head)| answer(query, head))
                .collect()
        },
    );
}
