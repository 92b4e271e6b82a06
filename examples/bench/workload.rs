use anyhow::{Result, ensure};
use clap::Args;

/// How much is read and generated.
#[derive(Debug, Clone, Copy, Args)]
pub(crate) struct Workload {
    /// Tokens of the prompt
    #[arg(long, value_name = "N", default_value = "256", value_parser = at_least_one)]
    pub(crate) prompt_tokens: usize,
    /// Tokens to generate
    #[arg(long, value_name = "N", default_value = "128", value_parser = at_least_one)]
    pub(crate) new_tokens: usize,
    /// Tokens that are cached before either
    #[arg(long, value_name = "N", default_value = "0")]
    pub(crate) depth: usize,
    /// Sequences that generate together; the prompt is read for one of them
    #[arg(long, value_name = "N", default_value = "1", value_parser = at_least_one)]
    pub(crate) batch: usize,
    /// Times that everything is measured
    #[arg(long, value_name = "N", default_value = "5", value_parser = at_least_one)]
    pub(crate) repetitions: usize,
}

impl Workload {
    /// Tokens that one sequence needs room for.
    ///
    /// # Errors
    /// If the model was not made for so many.
    pub(crate) fn capacity(&self, context_length: usize) -> Result<usize> {
        let capacity = self
            .depth
            .saturating_add(self.prompt_tokens.max(self.new_tokens));
        ensure!(
            capacity <= context_length,
            "{} tokens behind {} do not fit the context of {context_length}",
            self.prompt_tokens.max(self.new_tokens),
            self.depth,
        );
        Ok(capacity)
    }
}

/// What a decode step costs grows with the batch, and memory too; more is a typing error.
const MOST: usize = 1 << 20;

fn at_least_one(text: &str) -> Result<usize, String> {
    let number = text.parse::<usize>().map_err(|error| error.to_string())?;
    match (1..=MOST).contains(&number) {
        true => Ok(number),
        false => Err(format!("expected 1 to {MOST}")),
    }
}
