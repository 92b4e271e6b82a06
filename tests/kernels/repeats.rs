//! Decoding says the same again, to the bit: whatever else the batch holds, and every time.

use burn::tensor::Tensor;
use burn_vlm::backend::Cpu;
use burn_vlm::kernels::{AttentionInputs, KvView, KvViews, VlmBackend, attention_decode};

use crate::numbers::{Numbers, values};

const NUM_HEADS: usize = 6;
const NUM_KV_HEADS: usize = 2;
const HEAD_DIM: usize = 40;
const LENGTHS: [usize; 5] = [1, 700, 31, 260, 129];

fn inputs<B: VlmBackend>() -> AttentionInputs<Tensor<B, 4>> {
    let device = Default::default();
    let mut numbers = Numbers::new(11);
    let slab = [LENGTHS.len(), NUM_KV_HEADS, 700, HEAD_DIM];
    AttentionInputs {
        query: numbers.tensor([LENGTHS.len(), NUM_HEADS, 1, HEAD_DIM], &device),
        key: numbers.tensor(slab, &device),
        value: numbers.tensor(slab, &device),
    }
}

fn decoded<B: VlmBackend>(inputs: AttentionInputs<Tensor<B, 4>>, rows: &[usize]) -> Vec<f32> {
    let views = rows.iter().map(|&row| KvView::of(row, LENGTHS[row]));
    let views = KvViews::new(views.collect(), &Default::default());
    values(attention_decode(inputs, &views))
}

fn a_row_of_a_batch_is_the_row_alone<B: VlmBackend>() {
    let inputs = inputs::<B>();
    let all: Vec<usize> = (0..LENGTHS.len()).collect();
    let together = decoded(inputs.clone(), &all);
    assert_eq!(decoded(inputs.clone(), &all), together, "the second time");
    for (row, expected) in together.chunks(NUM_HEADS * HEAD_DIM).enumerate() {
        let alone = AttentionInputs {
            query: inputs.query.clone().slice_dim(0, row..row + 1),
            ..inputs.clone()
        };
        assert_eq!(decoded(alone, &[row]), expected, "row {row} alone");
    }
}

#[test]
fn a_row_of_a_batch_is_the_row_alone_on_the_cpu() {
    a_row_of_a_batch_is_the_row_alone::<Cpu>();
}

#[cfg(feature = "wgpu")]
#[test]
fn a_row_of_a_batch_is_the_row_alone_through_wgpu() {
    if crate::device::has_device::<burn_vlm::backend::Wgpu>("wgpu") {
        a_row_of_a_batch_is_the_row_alone::<burn_vlm::backend::Wgpu>();
    }
}

#[cfg(feature = "cuda")]
#[test]
fn a_row_of_a_batch_is_the_row_alone_through_cuda() {
    if crate::device::has_device::<burn_vlm::backend::Cuda>("cuda") {
        a_row_of_a_batch_is_the_row_alone::<burn_vlm::backend::Cuda>();
    }
}
