//! Compare this crate, stage by stage, with what a reference implementation computed.
//!
//!     cargo run --release --example parity -- tests/fixtures/models/llava
//!
//! A fixture folder holds `model/`, `request.json`, the pictures it names, and the reference:
//! `reference.safetensors` with the tensors of each stage, `reference.json` with the text and the
//! tolerance. Exits with 1 when a stage is outside of it.

#[path = "common/along.rs"]
mod along;
#[path = "common/fixture.rs"]
mod fixture;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use burn::tensor::Tensor;
use burn_vlm::generation::{DecoderInput, InputImage};
use burn_vlm::kernels::{SplicedRows, VlmBackend};
use burn_vlm::nn::RopePrecision;
use burn_vlm::{AnyPipeline, DeviceName, ImageSpan, MultimodalPipeline, PipelineVisitor};
use clap::Parser;
use serde_json::json;

use along::decode_along;
use fixture::{Fixture, largest_difference, values};

/// Compares every stage with a reference.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// The fixture folder
    #[arg(value_name = "DIR")]
    folder: PathBuf,
    /// auto, cpu, wgpu, vulkan, metal, cuda or cuda:N
    #[arg(long, value_name = "NAME", default_value = "cpu")]
    device: DeviceName,
    /// Print one JSON object instead of a table
    #[arg(long)]
    json: bool,
}

fn main() -> Result<ExitCode> {
    let arguments = Arguments::parse();
    let fixture = Fixture::open(&arguments.folder)?;
    let mut comparison = compare_with(&arguments, &fixture, RopePrecision::F32)?;
    if !comparison.is_equal() {
        // A reference whose model was cast to bf16 as a whole has its frequencies rounded too.
        let rounded = compare_with(&arguments, &fixture, RopePrecision::Bf16)?;
        if rounded.is_equal() {
            comparison = rounded;
        }
    }
    match arguments.json {
        true => println!("{}", comparison.as_json()),
        false => comparison.print(),
    }
    Ok(if comparison.is_equal() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

fn compare_with(
    arguments: &Arguments,
    fixture: &Fixture,
    precision: RopePrecision,
) -> Result<Comparison> {
    let options = fixture.options().with_rope_precision(precision);
    let model = arguments.folder.join("model");
    let pipeline = AnyPipeline::open(model, arguments.device, &options)?;
    let stages = pipeline.visit(Stages { fixture })?;
    Ok(Comparison {
        stages,
        device: pipeline.device_name(),
        precision,
    })
}

/// How every stage came out.
struct Comparison {
    stages: Vec<Stage>,
    device: String,
    precision: RopePrecision,
}

/// What a stage came out as.
struct Stage {
    name: &'static str,
    /// Largest absolute difference; `None` where equality is exact.
    difference: Option<f32>,
    is_equal: bool,
    detail: String,
}

impl Comparison {
    fn is_equal(&self) -> bool {
        self.stages.iter().all(|stage| stage.is_equal)
    }

    fn as_json(&self) -> serde_json::Value {
        let stages = self.stages.iter().map(|stage| {
            json!({
                "stage": stage.name,
                "largest_difference": stage.difference,
                "ok": stage.is_equal,
                "detail": stage.detail,
            })
        });
        json!({
            "device": self.device,
            "rope_frequencies": self.frequencies(),
            "ok": self.is_equal(),
            "stages": stages.collect::<Vec<_>>(),
        })
    }

    fn print(&self) {
        println!(
            "{}, rotary frequencies in {}",
            self.device,
            self.frequencies()
        );
        for stage in &self.stages {
            let verdict = if stage.is_equal { "ok" } else { "DIFFERS" };
            let difference = stage
                .difference
                .map_or("exact".to_string(), |largest| format!("{largest:.2e}"));
            println!(
                "{:16} {difference:>9}  {verdict:8}{}",
                stage.name, stage.detail
            );
        }
    }

    fn frequencies(&self) -> &'static str {
        match self.precision {
            RopePrecision::F32 => "f32",
            RopePrecision::Bf16 => "bf16",
        }
    }
}

/// Runs every stage on whichever backend was chosen.
struct Stages<'a> {
    fixture: &'a Fixture,
}

impl PipelineVisitor for Stages<'_> {
    type Output = Result<Vec<Stage>>;

    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> Result<Vec<Stage>> {
        let Self { fixture } = self;
        let mut stages = Vec::new();
        let mut rows = None;
        if fixture.has("pixel_values") {
            stages.push(compare_pixels(pipeline, fixture)?);
            rows = Some(compare_vision(pipeline, fixture, &mut stages)?);
        }
        compare_decoder(pipeline, fixture, rows, &mut stages)?;
        compare_answer(pipeline, fixture, &mut stages)?;
        Ok(stages)
    }
}

fn compare_pixels<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    fixture: &Fixture,
) -> Result<Stage> {
    let pixels = fixture.pixel_difference(pipeline)?;
    Ok(Stage {
        name: "pixel_values",
        difference: Some(pixels.largest),
        is_equal: pixels.is_rounding(),
        detail: format!("mean {:.2e}", pixels.mean),
    })
}

/// Runs the encoder and the projector on the reference's pixels; returns the rows of all pictures.
fn compare_vision<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    fixture: &Fixture,
    stages: &mut Vec<Stage>,
) -> Result<Tensor<B, 2>> {
    let encoder = pipeline.model().visual_encoder.as_ref();
    let encoder = encoder.context("the reference has pixels, the model reads text only")?;
    let (mut features, mut rows) = (Vec::new(), Vec::new());
    for (tiles, layout) in fixture.tiles(pipeline)? {
        features.extend(values(encoder.forward(tiles.clone()))?);
        rows.push(pipeline.encode_tiles(tiles, &layout, &fixture.question())?);
    }
    if fixture.has("vision_features") {
        stages.push(compare("vision_features", features, fixture)?);
    }
    let rows = Tensor::cat(rows, 0);
    stages.push(compare("image_embeds", values(rows.clone())?, fixture)?);
    Ok(rows)
}

/// Runs the decoder over the whole prompt at once, and then token by token along the reference.
fn compare_decoder<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    fixture: &Fixture,
    rows: Option<Tensor<B, 2>>,
    stages: &mut Vec<Stage>,
) -> Result<()> {
    let prompt = pipeline.prompt(&fixture.request(&fixture.images))?;
    let theirs = fixture.ids::<i64>("prompt_ids")?;
    // A placeholder is any number in the reference; where rows go is what counts.
    let is_row = |at: usize| {
        prompt
            .image_spans
            .iter()
            .any(|span| span.range().contains(&at))
    };
    let same =
        |(at, (ours, theirs)): (usize, (&u32, &i64))| i64::from(*ours) == *theirs || is_row(at);
    let pairs = prompt.ids.iter().zip(&theirs).enumerate();
    let is_equal = prompt.ids.len() == theirs.len() && { pairs }.all(same);
    let detail = format!("{} tokens", prompt.ids.len());
    stages.push(Stage {
        name: "prompt_ids",
        difference: None,
        is_equal,
        detail,
    });
    if !is_equal {
        return Ok(());
    }
    let input = DecoderInput {
        images: rows.map_or_else(Vec::new, |rows| placed(&prompt.image_spans, &rows)),
        token_ids: prompt.ids,
    };
    let generated = fixture.ids::<i64>("generated_ids")?;
    let (logits, steps) = decode_along(pipeline, &input, &generated)?;
    stages.push(compare("logits", values(logits)?, fixture)?);
    let step_logits = values(Tensor::cat(steps, 0))?;
    stages.push(compare("step_logits", step_logits, fixture)?);
    Ok(())
}

/// The rows of all pictures in their places: the spans take them up from first to last.
fn placed<B: VlmBackend>(spans: &[ImageSpan], rows: &Tensor<B, 2>) -> Vec<InputImage<B>> {
    let mut first = 0;
    let place = |span: &ImageSpan| {
        let taken = first..first + span.len;
        first = taken.end;
        InputImage {
            key: span.image as u64,
            place: SplicedRows {
                start: span.start,
                rows: rows.clone().slice_dim(0, taken),
            },
        }
    };
    spans.iter().map(place).collect()
}

/// Asks the question as a user would, from the crate's own pixels.
fn compare_answer<B: VlmBackend>(
    pipeline: &MultimodalPipeline<B>,
    fixture: &Fixture,
    stages: &mut Vec<Stage>,
) -> Result<()> {
    let answer = pipeline.answer(&fixture.request(&fixture.images))?;
    let theirs = fixture.answer_ids(pipeline)?;
    stages.push(Stage {
        name: "generated_ids",
        difference: None,
        is_equal: answer.token_ids == theirs,
        detail: format!("{} tokens", answer.token_ids.len()),
    });
    let text = fixture.text();
    stages.push(Stage {
        name: "text",
        difference: None,
        is_equal: answer.text == text,
        detail: format!("{:?}", answer.text),
    });
    Ok(())
}

fn compare(name: &'static str, ours: Vec<f32>, fixture: &Fixture) -> Result<Stage> {
    let largest = largest_difference(&ours, &fixture.floats(name)?).context(name)?;
    let tolerance = fixture.tolerance();
    Ok(Stage {
        name,
        difference: Some(largest),
        is_equal: largest <= tolerance,
        detail: format!("tolerance {tolerance:.0e}"),
    })
}
