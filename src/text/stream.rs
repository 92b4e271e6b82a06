//! Streaming text out of generated ids: whole characters, and nothing of a stop string.

use super::detokenizer::Detokenizer;
use super::tokenizer::Tokenizer;
use crate::error::{RequestError, Result};

/// Most stop strings of a request.
const MAX_STOPS: usize = 16;

/// Longest stop string.
const MAX_STOP_BYTES: usize = 256;

/// Decodes generated ids one by one.
///
/// The pieces, joined, are what [`Tokenizer::decode`] makes of all ids at once, cut before the
/// first stop string. A piece holds whole characters, and never text that may turn out to be the
/// beginning of a stop string, even one that begins in the middle of a token.
///
/// Each id costs the same however long the stream is.
///
/// # Examples
///
/// ```
/// # use burn_vlm::Tokenizer;
/// # let tokenizer = Tokenizer::from_json_bytes(
/// #     br#"{"version": "1.0", "added_tokens": [], "decoder": {"type": "Fuse"},
/// #     "model": {"type": "BPE", "vocab": {"a": 0, "b": 1, "-": 2}, "merges": []}}"#,
/// # )?;
/// let mut stream = tokenizer.stream(&["--".to_string()])?;
/// assert_eq!(stream.push(0).as_deref(), Some("a"));
/// assert_eq!(stream.push(2), None); // perhaps the stop string
/// assert_eq!(stream.push(1).as_deref(), Some("-b"));
/// assert_eq!(stream.push(2), None);
/// assert_eq!(stream.push(2), None); // the stop string
/// assert_eq!(stream.stopped(), Some(0));
/// assert_eq!(stream.finish(), "");
/// # Ok::<(), burn_vlm::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct TextStream {
    tokenizer: Tokenizer,
    detokenizer: Detokenizer,
    stops: Vec<String>,
    /// Decoded text that may begin a stop string.
    held: String,
    stopped: Option<usize>,
    shows_control_tokens: bool,
}

impl TextStream {
    /// Starts a stream that ends at the first of the `stop` strings to be completed.
    ///
    /// # Errors
    ///
    /// [`RequestError::Parameter`] for more than 16 stop strings, an empty one, or one of more than
    /// 256 bytes.
    pub fn new(tokenizer: &Tokenizer, stop: &[String]) -> Result<Self> {
        let wrong = |found: String, expected| RequestError::Parameter {
            parameter: "stop",
            found,
            expected,
        };
        if stop.len() > MAX_STOPS {
            return Err(wrong(format!("{} strings", stop.len()), "at most 16 strings").into());
        }
        if let Some(stop) = stop
            .iter()
            .find(|stop| stop.is_empty() || stop.len() > MAX_STOP_BYTES)
        {
            let found = format!("a string of {} bytes", stop.len());
            return Err(wrong(found, "strings of 1 to 256 bytes").into());
        }
        Ok(Self {
            tokenizer: tokenizer.clone(),
            detokenizer: tokenizer.detokenizer(),
            stops: stop.to_vec(),
            held: String::new(),
            stopped: None,
            shows_control_tokens: false,
        })
    }

    /// Writes control tokens out as well, as `skip_special_tokens=False` of transformers does.
    #[must_use]
    pub fn with_control_tokens(mut self, are_shown: bool) -> Self {
        self.shows_control_tokens = are_shown;
        self
    }

    /// Takes in the next id and returns the text that is now certain, if there is any.
    ///
    /// Once a stop string was found, further ids change nothing.
    pub fn push(&mut self, id: u32) -> Option<String> {
        if self.stopped.is_some() {
            return None;
        }
        let token = self
            .tokenizer
            .visible_token(id, self.shows_control_tokens)?;
        let text = self.detokenizer.push(token);
        let piece = self.accept(&text);
        (!piece.is_empty()).then_some(piece)
    }

    /// Ends the stream and returns the text that was still held back.
    ///
    /// The last of it may complete a stop string, so ask [`stopped`](Self::stopped) afterwards.
    pub fn finish(&mut self) -> String {
        if self.stopped.is_some() {
            return String::new();
        }
        let text = self.detokenizer.finish();
        let mut piece = self.accept(&text);
        piece.push_str(&std::mem::take(&mut self.held));
        piece
    }

    /// Index of the stop string that ended the stream.
    pub fn stopped(&self) -> Option<usize> {
        self.stopped
    }

    fn accept(&mut self, text: &str) -> String {
        self.held.push_str(text);
        if let Some((start, index)) = self.first_stop() {
            self.stopped = Some(index);
            let mut piece = std::mem::take(&mut self.held);
            piece.truncate(start);
            return piece;
        }
        let certain = self.held.len() - self.stop_beginning();
        let rest = self.held.split_off(certain);
        std::mem::replace(&mut self.held, rest)
    }

    /// Where the stop string that is complete first starts, and which it is; the longest of several.
    ///
    /// By the earliest end and not the earliest start, the result does not depend on how the text
    /// was cut into tokens.
    fn first_stop(&self) -> Option<(usize, usize)> {
        let found = self.stops.iter().enumerate().filter_map(|(index, stop)| {
            let start = self.held.find(stop.as_str())?;
            Some((start + stop.len(), start, index))
        });
        found.min().map(|(_, start, index)| (start, index))
    }

    /// Length of the longest end of the held text with which a stop string begins.
    fn stop_beginning(&self) -> usize {
        let beginning = |stop: &String| {
            let proper = stop.char_indices().map(|(end, _)| end).rev();
            proper
                .into_iter()
                .find(|&end| self.held.ends_with(&stop[..end]))
                .unwrap_or(0)
        };
        self.stops.iter().map(beginning).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests;
