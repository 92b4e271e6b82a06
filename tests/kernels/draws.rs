//! A draw is decided by its row alone: the same number gives the same token on every device, unless
//! it falls so near the border of two tokens that rounding decides.

use burn::tensor::{DType, Tensor, TensorData};
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{SampleRow, VlmBackend, sample};

use crate::numbers::Numbers;

const VOCAB_SIZE: usize = 700;
const ROWS: usize = 200;
/// How near to a border of two tokens, of all that may be drawn, either will do.
const BORDER: f64 = 1e-5;

/// Logits as a decoder gives them, in steps of a sixteenth so that some are equal.
fn logits() -> Vec<f32> {
    let mut numbers = Numbers::new(21);
    let logits = numbers.take(ROWS * VOCAB_SIZE).into_iter();
    logits
        .map(|number| (number * 160.0).round() / 16.0)
        .collect()
}

fn rows() -> Vec<SampleRow> {
    let mut numbers = Numbers::new(22);
    let row = |index: usize, number: f32| SampleRow {
        temperature: [1.0, 0.7, 2.5, 0.2][index % 4],
        top_k: [usize::MAX, 50, 3, 400, 1][index % 5],
        top_p: [1.0, 0.95, 0.6][index % 3],
        min_p: [0.0, 0.0, 0.05, 0.3, 0.0, 0.0, 0.0][index % 7],
        uniform: (number.abs() * 0.999_999).min(0.999_999),
    };
    let uniforms = numbers.take(ROWS).into_iter().enumerate();
    uniforms.map(|(index, number)| row(index, number)).collect()
}

/// The tokens that `row` may give for its number, in f64: one, or two at a border.
fn drawn(logits: &[f32], row: &SampleRow) -> Vec<u32> {
    let mut ids: Vec<u32> = (0..logits.len() as u32).collect();
    let logit = |id: &u32| logits[*id as usize];
    ids.sort_by(|a, b| logit(b).partial_cmp(&logit(a)).expect("no NaN"));
    let largest = f64::from(logit(&ids[0]));
    let weight = |id: &u32| ((f64::from(logit(id)) - largest) / f64::from(row.temperature)).exp();
    ids.truncate(row.top_k);
    let nucleus = f64::from(row.top_p) * ids.iter().map(weight).sum::<f64>();
    let mut before = 0.0;
    ids.retain(|id| {
        let is_kept = before < nucleus && weight(id) >= f64::from(row.min_p);
        before += weight(id);
        is_kept
    });
    let total: f64 = ids.iter().map(weight).sum();
    let mut upto = 0.0;
    let near = ids.into_iter().filter(|id| {
        let from = upto;
        upto += weight(id) / total;
        let uniform = f64::from(row.uniform);
        from - BORDER <= uniform && uniform <= upto + BORDER
    });
    near.collect()
}

fn a_number_gives_the_token_under_it<B: VlmBackend>() {
    let (logits, rows) = (logits(), rows());
    let data = TensorData::new(logits.clone(), [ROWS, VOCAB_SIZE]);
    let tensor = Tensor::<B, 2>::from_data(data, (&Default::default(), DType::F32));
    let ids: Vec<u32> = sample(tensor.clone(), &rows)
        .into_data()
        .iter::<u32>()
        .collect();
    for (index, (id, row)) in ids.iter().zip(&rows).enumerate() {
        let expected = drawn(&logits[index * VOCAB_SIZE..][..VOCAB_SIZE], row);
        assert!(
            expected.contains(id),
            "row {index}, {row:?}: {id}, not {expected:?}"
        );
    }
    let alone = sample(tensor.slice_dim(0, 17..18), &rows[17..18]);
    assert_eq!(
        alone.into_data().iter::<u32>().collect::<Vec<_>>(),
        [ids[17]]
    );
}

#[test]
fn a_number_gives_the_token_under_it_on_the_cpu() {
    a_number_gives_the_token_under_it::<Cpu>();
}

#[cfg(feature = "wgpu")]
#[test]
fn a_number_gives_the_token_under_it_through_wgpu() {
    if crate::device::has_device::<burn_vlm::backend::Wgpu>("wgpu") {
        a_number_gives_the_token_under_it::<burn_vlm::backend::Wgpu>();
    }
}

#[cfg(feature = "cuda")]
#[test]
fn a_number_gives_the_token_under_it_through_cuda() {
    if crate::device::has_device::<burn_vlm::backend::Cuda>("cuda") {
        a_number_gives_the_token_under_it::<burn_vlm::backend::Cuda>();
    }
}
