//! What a step of generation asks of the device: how many launches, and what the host reads back.

use burn::tensor::DType;
use burn_vlm::kernels;
use burn_vlm::nn::{
    Biases, LayerConfig, LlamaConfig, LlamaDecoder, LogitsFor, MlpKind, NormConfig, NormKind,
    Positions, Residual, RopeConfig, RopePrecision, RopeScaling,
};

use crate::device::{DryBackend, DryCuda, Traffic};

/// Launches of a layer: norm, projection, rotation with append, attention, projection, norm with
/// addition, gate and up, their product, down.
const LAUNCHES_OF_LAYER: usize = 9;
/// Embedding, norm, head, and the choice.
const LAUNCHES_BESIDE_LAYERS: usize = 4;

/// Keys that one part of the attention answers.
const SHORT: usize = 20;

fn decoder(num_hidden_layers: usize, device: &DryCuda) -> LlamaDecoder<DryBackend> {
    let config = LlamaConfig {
        vocab_size: 512,
        hidden_size: 64,
        num_hidden_layers,
        layer: LayerConfig {
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 16,
            intermediate_size: 96,
            mlp: MlpKind::Gated,
            norm: NormConfig {
                kind: NormKind::Rms,
                epsilon: 1e-5,
            },
            residual: Residual::Sequential,
            biases: Biases::default(),
            sliding_window: None,
        },
        max_position_embeddings: 256,
        positions: Positions::Rotary(RopeConfig {
            rope_theta: 10_000.0,
            rotary_dim: 16,
            scaling: RopeScaling::Default,
            precision: RopePrecision::F32,
        }),
        tie_word_embeddings: false,
        compute: DType::F32,
        cache: DType::F16,
    };
    config.init(device)
}

/// What the second token behind a prompt asks for; the first makes the weights.
fn step(num_layers: usize, prompt_len: usize) -> Traffic {
    let device = DryCuda::new(90);
    let decoder = decoder(num_layers, &device);
    let mut cache = decoder.new_cache(1, prompt_len + 2, &device);
    let logits = decoder.prefill(
        decoder.embed(&vec![7; prompt_len], vec![]),
        &mut cache,
        0,
        LogitsFor::Last,
    );
    let logits = logits.expect("there is room");
    let mut chosen = kernels::argmax(logits.expect("the last token has logits"));
    let mut traffic = None;
    for _ in 0..2 {
        device.take_traffic().expect("nothing failed");
        let logits = decoder.decode(decoder.embed(chosen, vec![]), &mut cache, &[0]);
        let logits = logits.expect("there is room");
        chosen = kernels::argmax(logits);
        chosen.to_data();
        traffic = Some(device.take_traffic().expect("nothing failed"));
    }
    traffic.expect("two steps were taken")
}

#[test]
fn a_step_launches_as_many_kernels_as_are_counted_here() {
    let beside = LAUNCHES_BESIDE_LAYERS;
    assert_eq!(step(1, SHORT).launches, LAUNCHES_OF_LAYER + beside);
    assert_eq!(step(3, SHORT).launches, 3 * LAUNCHES_OF_LAYER + beside);
}

#[test]
fn a_long_row_costs_a_launch_more_a_layer() {
    // The parts of its attention are put together.
    let launches = 3 * (LAUNCHES_OF_LAYER + 1) + LAUNCHES_BESIDE_LAYERS;
    assert_eq!(step(3, 200).launches, launches);
}

#[test]
fn the_host_reads_an_id_and_nothing_else() {
    for prompt_len in [SHORT, 200] {
        assert_eq!(step(2, prompt_len).bytes_read, size_of::<i32>());
    }
}
