//! Ask a question about pictures, or a text-only model a question without one.
//!
//!     cargo run --release --example ask -- examples/demo/photo.png "What is in this picture?"

mod common;

use std::path::PathBuf;

use anyhow::{Context, Result};
use burn_vlm::{AskRequest, ImageInput};
use clap::Parser;

use common::{AnswerArgs, ModelArgs};

/// Answers a question about pictures.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Pictures, then the question
    #[arg(required = true, value_name = "[IMAGE]... QUESTION")]
    words: Vec<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let (question, images) = arguments
        .words
        .split_last()
        .context("a question is needed")?;
    let mut request = AskRequest::new();
    for path in images.iter().map(PathBuf::from) {
        let image = ImageInput::open(&path);
        request = request.image(image.with_context(|| format!("{}", path.display()))?);
    }
    let request = arguments.answer.apply(request.user(question))?;
    let pipeline = arguments.model.open()?;
    for reason in pipeline.passed_over() {
        eprintln!("passed over {reason}");
    }
    if arguments.json {
        println!("{}", common::answer_json(&pipeline.answer(&request)?));
        return Ok(());
    }
    let mut stream = pipeline.stream(&request)?;
    common::print_pieces(&mut stream)?;
    common::print_cost(&stream.finish()?);
    Ok(())
}
