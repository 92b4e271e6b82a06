//! How an answer is asked for, and how it is shown while it comes.

use std::io::Write;

use anyhow::Result;
use burn_vlm::{Answer, AskRequest, SampleOptions, Sampling};
use clap::Args;

use crate::model::ModelArgs;

/// How an answer is generated.
#[derive(Debug, Args)]
pub(crate) struct AnswerArgs {
    /// Most tokens of an answer
    #[arg(long, value_name = "N")]
    pub(crate) max_new_tokens: Option<usize>,
    /// Draw tokens at this temperature; 0 is greedy
    #[arg(long, value_name = "T", default_value_t = 0.0)]
    pub(crate) temperature: f32,
    /// Where the random numbers start
    #[arg(long, value_name = "N", default_value_t = 0)]
    pub(crate) seed: u64,
    /// Write the control tokens of an answer out too, such as the tags of a model that reads documents
    #[arg(long)]
    pub(crate) control_tokens: bool,
    /// Prompt format: a template's name, or chat_template for the model's own
    #[arg(long, value_name = "NAME")]
    pub(crate) template: Option<String>,
}

impl AnswerArgs {
    /// Puts the settings on a request to a model that was opened so.
    pub(crate) fn apply<I>(
        &self,
        request: AskRequest<I>,
        model: &ModelArgs,
    ) -> Result<AskRequest<I>> {
        let mut request = request
            .sampling(self.sampling())
            .seed(self.seed)
            .show_control_tokens(self.control_tokens);
        if let Some(tokens) = self.max_new_tokens {
            request = request.max_new_tokens(tokens);
        }
        if let Some(template) = &self.template {
            request = request.template(template);
        }
        if let Some(adapter) = &model.use_adapter {
            request = request.adapter(adapter);
        }
        Ok(request)
    }

    fn sampling(&self) -> Sampling {
        match self.temperature == 0.0 {
            true => Sampling::Greedy,
            false => Sampling::Sample(SampleOptions {
                temperature: self.temperature,
                ..SampleOptions::default()
            }),
        }
    }
}

/// Writes the pieces of an answer as they come, and ends the line.
pub(crate) fn print_pieces(pieces: impl Iterator<Item = burn_vlm::Result<String>>) -> Result<()> {
    let mut out = std::io::stdout().lock();
    for piece in pieces {
        let piece = match piece {
            Ok(piece) => piece,
            Err(error) => {
                writeln!(out)?;
                return Err(error.into());
            }
        };
        write!(out, "{piece}")?;
        out.flush()?;
    }
    writeln!(out)?;
    Ok(())
}

/// The closing line: what the answer cost.
pub(crate) fn print_cost(answer: &Answer) {
    let timings = &answer.timings;
    let first_token = timings.image + timings.encode + timings.prefill;
    let speed = answer.decode_tokens_per_second();
    eprintln!(
        "{} image tokens, {} prompt tokens · first token {:.0} ms · {} tokens{} · {}",
        answer.usage.image_tokens,
        answer.usage.prompt_tokens,
        first_token.as_secs_f64() * 1e3,
        answer.usage.generated_tokens,
        speed.map_or(String::new(), |speed| format!(" at {speed:.1} tokens/s")),
        answer.device,
    );
}
