//! Decoders that no fixture has: what differs from Llama by data alone obeys the same laws.

use anyhow::{Context, Result};
use burn::tensor::{DType, Tensor};
use burn_vlm::kernels::{Activation, VlmBackend};
use burn_vlm::nn::{
    Biases, CachePlace, LayerConfig, LlamaConfig, LlamaDecoder, LogitsFor, MlpKind, NormConfig,
    NormKind, Positions, Residual, RopeConfig, RopePrecision, RopeScaling, SharedPrefix,
};

use crate::decoding::assert_same_logits;
use crate::reference::values;

laws![
    token_by_token_equals_all_at_once_for_every_kind_of_layer,
    a_window_hides_what_lies_before_it_and_nothing_else,
    a_shared_prefix_equals_one_of_its_own,
    a_learned_position_is_the_row_behind_the_offset_and_nothing_else,
];

const VOCAB_SIZE: usize = 40;
const TOKEN_IDS: [u32; 12] = [3, 17, 5, 5, 39, 0, 8, 21, 30, 2, 11, 7];

fn rotary(rotary_dim: usize) -> Positions {
    Positions::Rotary(RopeConfig {
        rope_theta: 10_000.0,
        rotary_dim,
        scaling: RopeScaling::Default,
        precision: RopePrecision::F32,
    })
}

fn llama() -> LlamaConfig {
    LlamaConfig {
        vocab_size: VOCAB_SIZE,
        hidden_size: 32,
        num_hidden_layers: 2,
        layer: LayerConfig {
            num_attention_heads: 4,
            num_key_value_heads: 2,
            head_dim: 8,
            intermediate_size: 48,
            mlp: MlpKind::Gated,
            norm: NormConfig {
                kind: NormKind::Rms,
                epsilon: 1e-5,
            },
            residual: Residual::Sequential,
            biases: Biases::default(),
            sliding_window: None,
        },
        max_position_embeddings: 64,
        positions: rotary(8),
        tie_word_embeddings: false,
        compute: DType::F32,
        cache: DType::F32,
    }
}

/// GPT-NeoX: layer norms, both blocks beside each other, biases, and a part of each head rotated.
fn gpt_neox() -> LlamaConfig {
    let mut config = llama();
    config.positions = rotary(4);
    config.layer = LayerConfig {
        num_key_value_heads: 4,
        mlp: MlpKind::Plain(Activation::Gelu),
        norm: NormConfig {
            kind: NormKind::Layer,
            epsilon: 1e-5,
        },
        residual: Residual::Parallel,
        biases: Biases {
            qkv: true,
            attention_output: true,
            mlp: true,
        },
        ..config.layer
    };
    config
}

/// OPT: as GPT-NeoX, one block behind the other, a rectifier between its matrices, and no rotation.
fn opt() -> LlamaConfig {
    let mut config = gpt_neox();
    config.positions = Positions::Learned { offset: 2 };
    config.layer.residual = Residual::Sequential;
    config.layer.mlp = MlpKind::Plain(Activation::Relu);
    config
}

/// Mistral: a token sees the last few alone.
fn windowed(num_hidden_layers: usize, window: usize) -> LlamaConfig {
    let mut config = llama();
    config.num_hidden_layers = num_hidden_layers;
    config.layer.sliding_window = Some(window);
    config
}

/// A decoder with the same random weights every time.
fn random<B: VlmBackend>(config: &LlamaConfig) -> LlamaDecoder<B> {
    let device = Default::default();
    B::seed(&device, 7);
    config.init(&device)
}

/// The logits of every token, read at once.
fn whole<B: VlmBackend>(decoder: &LlamaDecoder<B>, token_ids: &[u32]) -> Result<Vec<f32>> {
    let mut cache = decoder.new_cache(1, token_ids.len(), &Default::default());
    let embeds = decoder.embed(token_ids, vec![]);
    let logits = decoder.prefill(embeds, &mut cache, 0, LogitsFor::All)?;
    values(logits.context("all logits were asked for")?)
}

fn token_by_token_equals_all_at_once_for_every_kind_of_layer<B: VlmBackend>() -> Result<()> {
    let kinds = [
        ("llama", llama()),
        ("gpt-neox", gpt_neox()),
        ("opt", opt()),
        ("a window of 5", windowed(2, 5)),
        ("a window of 100", windowed(2, 100)),
    ];
    for (name, config) in kinds {
        let decoder = random::<B>(&config);
        let expected = whole(&decoder, &TOKEN_IDS)?;
        for first in [1, 4, 7] {
            let mut cache = decoder.new_cache(1, TOKEN_IDS.len(), &Default::default());
            let embeds = decoder.embed(&TOKEN_IDS[..first], vec![]);
            let logits = decoder.prefill(embeds, &mut cache, 0, LogitsFor::All)?;
            let mut stepwise = values(logits.context("all logits were asked for")?)?;
            for id in &TOKEN_IDS[first..] {
                let embeds: Tensor<B, 2> = decoder.embed(&[*id], vec![]);
                stepwise.extend(values(decoder.decode(embeds, &mut cache, &[0_usize])?)?);
            }
            let what = format!("{name}, {first} at once");
            assert_same_logits(&what, &stepwise, &expected, VOCAB_SIZE);
        }
    }
    Ok(())
}

fn a_window_hides_what_lies_before_it_and_nothing_else<B: VlmBackend>() -> Result<()> {
    const WINDOW: usize = 4;
    // With one layer nothing reaches a token but what it sees itself.
    let decoder = random::<B>(&windowed(1, WINDOW));
    let expected = whole(&decoder, &TOKEN_IDS)?;
    for changed in 0..TOKEN_IDS.len() {
        let mut token_ids = TOKEN_IDS;
        token_ids[changed] = 33;
        let logits = whole(&decoder, &token_ids)?;
        let rows = logits.chunks(VOCAB_SIZE).zip(expected.chunks(VOCAB_SIZE));
        for (token, (found, expected)) in rows.enumerate() {
            let is_seen = (changed..changed + WINDOW).contains(&token);
            assert_eq!(
                found != expected,
                is_seen,
                "token {token}, {changed} changed"
            );
        }
    }
    Ok(())
}

fn a_shared_prefix_equals_one_of_its_own<B: VlmBackend>() -> Result<()> {
    const SHARED: usize = 5;
    for config in [llama(), gpt_neox(), opt(), windowed(2, 4)] {
        let decoder = random::<B>(&config);
        let expected = whole(&decoder, &TOKEN_IDS)?;
        let mut cache = decoder.new_cache(3, TOKEN_IDS.len(), &Default::default());
        cache.poison();
        let embeds = decoder.embed(&TOKEN_IDS[..SHARED], vec![]);
        decoder.prefill(embeds, &mut cache, 2, LogitsFor::Nothing)?;
        let shared = Some(SharedPrefix {
            slot: 2,
            len: SHARED,
        });
        // One slot reads the rest at once, the other all but the last and then that.
        let rest = decoder.embed(&TOKEN_IDS[SHARED..], vec![]);
        let at_once = CachePlace { slot: 0, shared };
        let logits = decoder.prefill(rest, &mut cache, at_once, LogitsFor::All)?;
        let logits = values(logits.context("all logits were asked for")?)?;
        let behind = &expected[SHARED * VOCAB_SIZE..];
        assert_same_logits("at once", &logits, behind, VOCAB_SIZE);
        let (last, most) = TOKEN_IDS[SHARED..].split_last().context("some tokens")?;
        let stepwise = CachePlace { slot: 1, shared };
        let embeds = decoder.embed(most, vec![]);
        decoder.prefill(embeds, &mut cache, stepwise, LogitsFor::Nothing)?;
        let embeds = decoder.embed(&[*last], vec![]);
        let logits = values(decoder.decode(embeds, &mut cache, &[stepwise])?)?;
        let of_last = &expected[(TOKEN_IDS.len() - 1) * VOCAB_SIZE..];
        assert_same_logits("a step", &logits, of_last, VOCAB_SIZE);
    }
    Ok(())
}

fn a_learned_position_is_the_row_behind_the_offset_and_nothing_else<B: VlmBackend>() -> Result<()> {
    const POSITION: usize = 4;
    let Positions::Learned { offset } = opt().positions else {
        anyhow::bail!("its positions are learned");
    };
    let decoder = random::<B>(&opt());
    let expected = whole(&decoder, &TOKEN_IDS)?;
    for changed in [0, POSITION, offset + POSITION, offset + TOKEN_IDS.len()] {
        let mut decoder = decoder.clone();
        let positions = decoder.embed_positions.as_mut().context("a table")?;
        positions.weight = positions.weight.clone().map(|table| {
            let row = table.clone().slice_dim(0, changed..changed + 1);
            let [_, width] = table.dims();
            table.slice_assign([changed..changed + 1, 0..width], row + 1.0)
        });
        let logits = whole(&decoder, &TOKEN_IDS)?;
        let rows = logits.chunks(VOCAB_SIZE).zip(expected.chunks(VOCAB_SIZE));
        let first = rows.map(|(found, expected)| found != expected);
        let first = first
            .collect::<Vec<_>>()
            .iter()
            .position(|differs| *differs);
        let position = changed.checked_sub(offset);
        let position = position.filter(|position| *position < TOKEN_IDS.len());
        assert_eq!(first, position, "row {changed} of the table");
    }
    Ok(())
}
