//! Weights of a few bits an element: which matrices are, and that a model made of them is one.

use anyhow::{Result, ensure};
use burn_vlm::kernels::{PackedType, VlmBackend};
use burn_vlm::weights::{KeptType, MatrixType, WeightType};
use burn_vlm::{AskRequest, LoadOptions, ModelDescription, MultimodalPipeline};

use crate::decoding::{Case, assert_same_logits};
use crate::fixture::{demo_folder, demo_photo, open, open_demo, open_with};
use crate::reference::largest_difference;

laws![
    the_decoder_is_packed_and_the_rest_stays_as_it_is_stored,
    rows_that_are_no_whole_groups_stay_as_they_are_stored_and_are_named,
    cached_steps_of_packed_weights_equal_one_forward,
    rows_of_a_batch_with_packed_weights_are_answered_as_if_alone,
    eight_bits_answer_as_the_floats_do,
    four_bits_stay_near_the_floats,
    blocks_as_they_are_stored_give_the_numbers_that_they_are,
];

/// The demo model: every row of its matrices is whole groups.
fn open_packed<B: VlmBackend>(matrices: MatrixType) -> Result<MultimodalPipeline<B>> {
    let options = LoadOptions::new().with_weights(matrices);
    Ok(MultimodalPipeline::open(demo_folder(), &options)?)
}

fn kept<B: VlmBackend>(pipeline: &MultimodalPipeline<B>, kept: impl Into<KeptType>) -> usize {
    let matrices = &pipeline.load_report().matrices;
    matrices.get(&kept.into()).copied().unwrap_or(0)
}

fn the_decoder_is_packed_and_the_rest_stays_as_it_is_stored<B: VlmBackend>() -> Result<()> {
    let stored = open_demo::<B>()?;
    let layers = 4 * stored.spec().config.decoder.num_hidden_layers;
    let all: usize = stored.load_report().matrices.values().sum();
    let description = ModelDescription::of::<B>(&demo_folder(), stored.device());
    for matrices in [MatrixType::Q8, MatrixType::Q4] {
        let packed = open_packed::<B>(matrices)?;
        let report = packed.load_report();
        let (q8, q4) = (kept(&packed, PackedType::Q8), kept(&packed, PackedType::Q4));
        let vocabulary = match matrices {
            MatrixType::Q8 => q8 - layers,
            _ => q8,
        };
        assert_eq!(
            q4,
            if matrices == MatrixType::Q4 {
                layers
            } else {
                0
            },
            "{report}"
        );
        assert!((1..=2).contains(&vocabulary), "{report}");
        let floats: usize = [WeightType::F32, WeightType::F16, WeightType::BF16]
            .map(|float| kept(&packed, float))
            .iter()
            .sum();
        assert_eq!(floats, all - layers - vocabulary, "{report}");
        assert!(report.unpacked.is_empty(), "{report}");
        assert!(report.kept_bytes < stored.load_report().kept_bytes);
        let memory = (matrices, report.kept_bytes);
        assert!(
            description.memory.contains(&memory),
            "{memory:?} is what was told"
        );
    }
    Ok(())
}

fn rows_that_are_no_whole_groups_stay_as_they_are_stored_and_are_named<B: VlmBackend>() -> Result<()>
{
    // Its rows have 32 columns, and 56 behind the gate.
    let options = LoadOptions::new().with_weights(MatrixType::Q8);
    let pipeline = open_with::<B>("attention_bias", options)?;
    let report = pipeline.load_report();
    let is_down = |path: &String| path.ends_with("mlp.down_proj.weight");
    assert!(report.unpacked.iter().all(is_down), "{report}");
    let num_layers = pipeline.spec().config.decoder.num_hidden_layers;
    assert_eq!(report.unpacked.len(), num_layers, "{report}");
    assert!(
        kept(&pipeline, PackedType::Q8) >= 3 * num_layers,
        "{report}"
    );
    let case = Case::text(pipeline, "Say why.")?;
    let logits = case.whole(&case.input)?;
    ensure!(logits.iter().all(|logit| logit.is_finite()));
    Ok(())
}

fn cached_steps_of_packed_weights_equal_one_forward<B: VlmBackend>() -> Result<()> {
    for matrices in [MatrixType::Q8, MatrixType::Q4] {
        let case = Case::<B>::text(open_packed(matrices)?, "What is on the table?")?;
        let mut sequence = case.sequence(case.input.len() + 12);
        let (token_ids, steps) = case.greedy(&mut sequence, 12)?;
        let whole = case.whole(&case.input_with(&token_ids[..11]))?;
        let first = (case.input.len() - 1) * case.vocab_size();
        assert_same_logits(matrices.name(), &steps, &whole[first..], case.vocab_size());
    }
    Ok(())
}

fn rows_of_a_batch_with_packed_weights_are_answered_as_if_alone<B: VlmBackend>() -> Result<()> {
    let requests = ["What is on the table?", "Say why.", "Who?"]
        .map(|question| AskRequest::text(question).max_new_tokens(6));
    for matrices in [MatrixType::Q8, MatrixType::Q4] {
        let pipeline = open_packed::<B>(matrices)?;
        let together = pipeline.ask_batch(&requests);
        for (request, answer) in requests.iter().zip(together) {
            let alone = pipeline.answer(request)?;
            assert_eq!(answer?.token_ids, alone.token_ids);
        }
    }
    Ok(())
}

fn eight_bits_answer_as_the_floats_do<B: VlmBackend>() -> Result<()> {
    let request = || -> Result<_> {
        let request = AskRequest::new().image(demo_photo()?);
        Ok(request.user("What is on the table?").max_new_tokens(16))
    };
    let expected = open_demo::<B>()?.answer(&request()?)?;
    let found = open_packed::<B>(MatrixType::Q8)?.answer(&request()?)?;
    assert_eq!(found.text, expected.text);
    Ok(())
}

fn four_bits_stay_near_the_floats<B: VlmBackend>() -> Result<()> {
    let question = "What is on the table?";
    let case = Case::<B>::text(open_demo()?, question)?;
    let floats = case.whole(&case.input)?;
    let largest = floats
        .iter()
        .fold(0f32, |largest, logit| largest.max(logit.abs()));
    let mut differences = Vec::new();
    for matrices in [MatrixType::Q8, MatrixType::Q4] {
        let case = Case::<B>::text(open_packed(matrices)?, question)?;
        let packed = case.whole(&case.input)?;
        differences.push(largest_difference(&packed, &floats)? / largest);
    }
    let [q8, q4] = differences[..] else {
        unreachable!("two types")
    };
    assert!(0.0 < q8 && q8 < 0.03, "{q8}");
    assert!(q8 < q4 && q4 < 0.5, "{q4}");
    Ok(())
}

fn blocks_as_they_are_stored_give_the_numbers_that_they_are<B: VlmBackend>() -> Result<()> {
    let in_f32 = LoadOptions::new().with_weights(WeightType::F32);
    let wide = Case::<B>::text(open_with("gguf_blocks", in_f32)?, "Say why.")?;
    let stored = Case::<B>::text(open("gguf_blocks")?, "Say why.")?;
    let report = stored.pipeline.load_report();
    let packed = [PackedType::Q8, PackedType::Q4, PackedType::Q4WithMinimum];
    let packed: usize = packed
        .map(|packed| kept(&stored.pipeline, packed))
        .iter()
        .sum();
    ensure!((packed > 0) == B::vlm_has_packed_kernels(), "{report}");
    let (expected, found) = (wide.whole(&wide.input)?, stored.whole(&stored.input)?);
    let largest = expected
        .iter()
        .fold(0f32, |largest, logit| largest.max(logit.abs()));
    let difference = largest_difference(&expected, &found)?;
    // What no packed type holds is rounded to f16.
    ensure!(difference < 5e-3 * largest, "{difference} of {largest}");
    Ok(())
}
