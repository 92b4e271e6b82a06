//! Every stage of every fixture equals what the reference implementation computed.

use anyhow::{Result, ensure};
use burn_vlm::MultimodalPipeline;
use burn_vlm::kernels::VlmBackend;

use crate::decoding::{Case, best};
use crate::fixture::{fixture_names, open_fixture, open_with};
use crate::reference::{Fixture, largest_difference, values};

laws![
    pixels_features_and_rows_equal_the_reference,
    prompts_equal_the_reference_id_for_id,
    logits_equal_the_reference,
    answers_equal_the_reference_token_for_token,
];

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

fn check(stage: &str, ours: &[f32], fixture: &Fixture) -> Result<()> {
    let difference = largest_difference(ours, &fixture.floats(stage)?)?;
    let tolerance = fixture.tolerance();
    ensure!(
        difference <= tolerance,
        "{stage} differs by {difference:.2e}, more than {tolerance}"
    );
    Ok(())
}
