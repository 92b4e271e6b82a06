//! Every stage of every fixture equals what the reference implementation computed.

use anyhow::{Context, Result, ensure};
use burn_vlm::MultimodalPipeline;
use burn_vlm::kernels::VlmBackend;
use serde_json::Value;

use crate::decoding::{Case, best};
use crate::fixture::{fixture_names, open_fixture, open_with};
use crate::reference::{Fixture, largest_difference, values};
use crate::support::repository;

laws![
    pixels_features_and_rows_equal_the_reference,
    prompts_equal_the_reference_id_for_id,
    logits_equal_the_reference,
    answers_equal_the_reference_token_for_token,
    gguf_files_give_the_probabilities_of_llama_cpp,
];

/// How far a logarithm of a probability may be from llama.cpp's, whose own kernels are of f32 as ours.
const LLAMA_CPP_TOLERANCE: f32 = 1e-4;

fn for_each_fixture<B: VlmBackend>(
    check: impl Fn(&MultimodalPipeline<B>, &Fixture) -> Result<()>,
) -> Result<()> {
    let names = fixture_names()?;
    ensure!(names.len() >= 6, "fixtures are missing: {names:?}");
    for name in names {
        let fixture = open_fixture(&name)?;
        let pipeline = open_with(&name, fixture.options())?;
        check(&pipeline, &fixture).map_err(|error| error.context(name))?;
    }
    Ok(())
}

fn pixels_features_and_rows_equal_the_reference<B: VlmBackend>() -> Result<()> {
    for_each_fixture::<B>(|pipeline, fixture| {
        if !fixture.has("pixel_values") {
            return Ok(());
        }
        let pixels = fixture.pixel_difference(pipeline)?;
        ensure!(pixels.is_rounding(), "{pixels:?}");
        // From here on from the reference's own pixels, so that an error does not add up.
        let encoder = pipeline.model().visual_encoder.as_ref();
        let encoder = encoder.ok_or_else(|| anyhow::anyhow!("the model has no eyes"))?;
        let (mut features, mut rows) = (Vec::new(), Vec::new());
        for (tiles, layout) in fixture.tiles(pipeline)? {
            features.extend(values(encoder.forward(tiles.clone()))?);
            let encoded = pipeline.encode_tiles(tiles, &layout, &fixture.question())?;
            rows.extend(values(encoded)?);
        }
        check("vision_features", &features, fixture)?;
        check("image_embeds", &rows, fixture)
    })
}

fn prompts_equal_the_reference_id_for_id<B: VlmBackend>() -> Result<()> {
    for_each_fixture::<B>(|pipeline, fixture| {
        let prompt = pipeline.prompt(&fixture.request(&fixture.images))?;
        assert_eq!(prompt.ids, fixture.ids::<u32>("prompt_ids")?);
        let spans = prompt.image_spans.iter();
        let shown: std::collections::BTreeSet<_> = spans.map(|span| span.image).collect();
        assert!(shown.into_iter().eq(0..fixture.images.len()));
        Ok(())
    })
}

fn logits_equal_the_reference<B: VlmBackend>() -> Result<()> {
    for_each_fixture::<B>(|pipeline, fixture| {
        let images = fixture.images.iter().map(|image| pipeline.encode(image));
        let images = images.collect::<burn_vlm::Result<Vec<_>>>()?;
        let question = fixture.question();
        let request = fixture.request(&images);
        let case = Case::asked(pipeline.clone(), &request, &images, &question)?;
        check("logits", &case.whole(&case.input)?, fixture)?;
        let generated = fixture.ids::<u32>("generated_ids")?;
        let mut sequence = case.sequence(case.input.len() + generated.len());
        let mut steps = case.read(&mut sequence, &case.input)?;
        for id in &generated[..generated.len() - 1] {
            steps.extend(case.step(&mut sequence, *id)?);
        }
        let chosen: Vec<u32> = steps.chunks_exact(case.vocab_size()).map(best).collect();
        assert_eq!(chosen, generated);
        check("step_logits", &steps, fixture)
    })
}

fn answers_equal_the_reference_token_for_token<B: VlmBackend>() -> Result<()> {
    for_each_fixture::<B>(|pipeline, fixture| {
        let answer = pipeline.answer(&fixture.request(&fixture.images))?;
        assert_eq!(answer.token_ids, fixture.answer_ids(pipeline)?);
        assert_eq!(answer.text, fixture.text());
        Ok(())
    })
}

/// What llama.cpp makes of the same weights in f32: `generate_llama_cpp.py` wrote it.
fn gguf_files_give_the_probabilities_of_llama_cpp<B: VlmBackend>() -> Result<()> {
    let mut num_steps = 0;
    for name in fixture_names()? {
        let path = repository("tests/fixtures/models").join(&name);
        let Ok(told) = std::fs::read(path.join("llama_cpp.json")) else {
            continue;
        };
        let told: Value = serde_json::from_slice(&told)?;
        let fixture = open_fixture(&name)?;
        let pipeline = open_with::<B>(&name, fixture.options())?;
        let case = Case::asked(pipeline, &fixture.request(&[]), &[], "")?;
        let generated = fixture.ids::<u32>("generated_ids")?;
        for step in told["steps"].as_array().context("steps")? {
            let count: usize = serde_json::from_value(step["generated"].clone())?;
            let expected: Vec<f32> = serde_json::from_value(step["log_probabilities"].clone())?;
            let mut input = case.input.clone();
            input.token_ids.extend(&generated[..count]);
            let logits = case.whole(&input)?;
            let last = &logits[logits.len() - case.vocab_size()..];
            let difference = largest_difference(&log_probabilities(last), &expected)?;
            ensure!(
                difference <= LLAMA_CPP_TOLERANCE,
                "{name}: {difference:.2e} behind {count} tokens"
            );
            num_steps += 1;
        }
    }
    ensure!(num_steps >= 12, "{num_steps} steps are known");
    Ok(())
}

fn log_probabilities(logits: &[f32]) -> Vec<f32> {
    let largest = logits.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let shifted = logits.iter().map(|logit| f64::from(logit - largest));
    let total = shifted.clone().map(f64::exp).sum::<f64>().ln();
    shifted.map(|logit| (logit - total) as f32).collect()
}

fn check(stage: &str, ours: &[f32], fixture: &Fixture) -> Result<()> {
    let difference = largest_difference(ours, &fixture.floats(stage)?)?;
    let tolerance = fixture.tolerance();
    ensure!(
        difference <= tolerance,
        "{stage} differs by {difference:.2e}, more than {tolerance}"
    );
    Ok(())
}
