//! What ends an answer from outside.

use std::ops::ControlFlow;
use std::time::Instant;

use super::cancel::CancelToken;
use super::stop::FinishReason;

/// Looked at before every picture, every chunk of a prompt and every token.
#[derive(Debug, Clone, Default)]
pub struct Interruption {
    /// When to give up; what there is by then is the answer.
    pub deadline: Option<Instant>,
    /// Ends it from another thread.
    pub cancel: CancelToken,
}

impl Interruption {
    /// Why to end now, if there is a reason.
    pub fn reason(&self) -> Option<FinishReason> {
        if self.cancel.is_cancelled() {
            return Some(FinishReason::Cancelled);
        }
        let is_late = |deadline| Instant::now() >= deadline;
        self.deadline
            .is_some_and(is_late)
            .then_some(FinishReason::Deadline)
    }

    /// Whether to go on.
    pub fn check(&self) -> ControlFlow<()> {
        match self.reason() {
            Some(_) => ControlFlow::Break(()),
            None => ControlFlow::Continue(()),
        }
    }
}
