//! Ask a question about pictures, or a text-only model a question without one.
//!
//!     cargo run --example ask -- examples/demo/photo.png "What is in this picture?"

#[path = "common/answer.rs"]
mod answer;
#[path = "common/json.rs"]
mod json;
#[path = "common/model.rs"]
mod model;
#[path = "common/pictures.rs"]
mod pictures;

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use burn_vlm::{Answer, AskRequest};
use clap::Parser;
use serde_json::Value;

use answer::AnswerArgs;
use json::kernels_json;
use model::ModelArgs;
use pictures::PictureArgs;

/// Answers a question about pictures.
#[derive(Debug, Parser)]
#[command(version)]
struct Arguments {
    /// Pictures, then the question
    #[arg(required = true, value_name = "[IMAGE]... QUESTION")]
    words: Vec<OsString>,
    /// What the question is about, such as a passage to summarise
    #[arg(long, value_name = "TEXT")]
    context: Option<String>,
    #[command(flatten)]
    model: ModelArgs,
    #[command(flatten)]
    answer: AnswerArgs,
    #[command(flatten)]
    pictures: PictureArgs,
    /// Print one JSON object instead of the text
    #[arg(long)]
    json: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let words = arguments.words.split_last();
    let (question, images) = words.context("a question is needed")?;
    let question = question.to_str();
    let question = question.context("the question is not UTF-8: pictures go before it")?;
    let mut request = AskRequest::new();
    for path in images.iter().map(PathBuf::from) {
        request = request.image(arguments.pictures.open(&path)?);
    }
    let request = match &arguments.context {
        Some(context) => request.user_about(question, context),
        None => request.user(question),
    };
    let request = arguments.answer.apply(request, &arguments.model)?;
    let pipeline = arguments.model.open()?;
    if arguments.json {
        println!("{}", answer_json(&pipeline.answer(&request)?));
        return Ok(());
    }
    let mut stream = pipeline.stream(&request)?;
    answer::print_pieces(&mut stream)?;
    answer::print_cost(&stream.finish()?);
    Ok(())
}

/// An answer as one JSON object.
fn answer_json(answer: &Answer) -> Value {
    serde_json::json!({
        "text": answer.text,
        "token_ids": answer.token_ids,
        "finish": answer.finish.name(),
        "usage": {
            "prompt_tokens": answer.usage.prompt_tokens,
            "image_tokens": answer.usage.image_tokens,
            "generated_tokens": answer.usage.generated_tokens,
        },
        "timings_ms": {
            "load": milliseconds(answer.timings.load),
            "image": milliseconds(answer.timings.image),
            "encode": milliseconds(answer.timings.encode),
            "prefill": milliseconds(answer.timings.prefill),
            "decode": milliseconds(answer.timings.decode),
        },
        "decode_tokens_per_second": answer.decode_tokens_per_second(),
        "device": answer.device,
        "kernels": kernels_json(&answer.kernels),
    })
}

/// Milliseconds with microseconds behind the point.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1e6).round() / 1e3
}
