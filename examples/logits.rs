//! Write the logits from which ids that another program generated would be chosen here.
//!
//!     echo '{"prompt_ids": [1, 100, 101], "generated_ids": [102, 103]}' |
//!         cargo run --release --example logits -- --weights bf16 > logits.f32
//!
//! Every line of the input gives as many rows of the vocabulary's size as it has `generated_ids`, in
//! little-endian f32: the first row stands behind the prompt, the others behind the generated ids
//! before them. What is compared with them, and how, is up to the other program.

#[path = "common/along.rs"]
mod along;
#[path = "common/model.rs"]
mod model;

use std::io::{BufRead, Write};

use anyhow::{Result, anyhow, ensure};
use burn_vlm::generation::DecoderInput;
use burn_vlm::kernels::VlmBackend;
use burn_vlm::{MultimodalPipeline, PipelineVisitor};
use clap::Parser;
use serde::Deserialize;

use along::decode_along;
use model::ModelArgs;

/// Writes the logits along ids that are given.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    #[command(flatten)]
    model: ModelArgs,
}

/// A line of the input.
#[derive(Debug, Deserialize)]
struct Ids {
    prompt_ids: Vec<u32>,
    generated_ids: Vec<i64>,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    arguments.model.open()?.visit(Logits)
}

struct Logits;

impl PipelineVisitor for Logits {
    type Output = Result<()>;

    fn visit<B: VlmBackend>(self, pipeline: &MultimodalPipeline<B>) -> Result<()> {
        for line in std::io::stdin().lock().lines() {
            write_along(pipeline, serde_json::from_str(&line?)?)?;
        }
        Ok(())
    }
}

fn write_along<B: VlmBackend>(pipeline: &MultimodalPipeline<B>, ids: Ids) -> Result<()> {
    ensure!(!ids.prompt_ids.is_empty(), "a prompt has at least one id");
    let input = DecoderInput {
        token_ids: ids.prompt_ids,
        images: vec![],
    };
    let (_, steps) = decode_along(pipeline, &input, &ids.generated_ids)?;
    let mut out = std::io::stdout().lock();
    for logits in steps.into_iter().take(ids.generated_ids.len()) {
        let data = logits.try_into_data().map_err(|error| anyhow!("{error}"))?;
        B::sync(pipeline.device()).map_err(|error| anyhow!("{error}"))?;
        for number in data.iter::<f32>() {
            out.write_all(&number.to_le_bytes())?;
        }
    }
    Ok(out.flush()?)
}
