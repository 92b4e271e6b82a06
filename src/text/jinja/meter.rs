//! What a render may cost.

use std::cell::Cell;
use std::time::{Duration, Instant};

use crate::error::TemplateError;

/// Steps of a render: two for every expression or statement, and one for every 64 bytes or every
/// value that is made, read or compared. A template cannot make more than 192 MiB. A conversation
/// of 100 turns takes some ten thousand.
pub(super) const BUDGET: u64 = 3_000_000;

/// Longest render. The budget ends a template sooner on all but the slowest machines.
const TIME_LIMIT: Duration = Duration::from_secs(4);

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: u64 = 4096;

/// Bytes that cost one step.
const BYTES_PER_STEP: usize = 64;

/// Counts what a render costs. Everything a template makes or looks through is charged here
/// *before* it is done.
#[derive(Debug)]
pub(super) struct Meter {
    left: Cell<u64>,
    next_look: Cell<u64>,
    deadline: Instant,
}

impl Meter {
    pub(super) fn new() -> Self {
        Self {
            left: Cell::new(BUDGET),
            next_look: Cell::new(BUDGET - STEPS_PER_LOOK),
            deadline: Instant::now() + TIME_LIMIT,
        }
    }

    /// Charges for steps.
    ///
    /// # Errors
    ///
    /// [`TemplateError::TooExpensive`] when the budget or the time is used up.
    pub(super) fn steps(&self, steps: u64) -> Result<(), TemplateError> {
        let left = self.left.get().checked_sub(steps);
        let left = left.ok_or(TemplateError::TooExpensive { budget: BUDGET })?;
        self.left.set(left);
        if left < self.next_look.get() {
            self.next_look.set(left.saturating_sub(STEPS_PER_LOOK));
            if Instant::now() > self.deadline {
                return Err(TemplateError::TooExpensive { budget: BUDGET });
            }
        }
        Ok(())
    }

    /// Charges for bytes that are written or read.
    pub(super) fn bytes(&self, bytes: usize) -> Result<(), TemplateError> {
        self.steps((bytes / BYTES_PER_STEP) as u64 + 1)
    }

    /// Charges for text that grows from one length to another.
    pub(super) fn written(&self, from_bytes: usize, to_bytes: usize) -> Result<(), TemplateError> {
        match to_bytes / BYTES_PER_STEP - from_bytes / BYTES_PER_STEP {
            0 => Ok(()),
            steps => self.steps(steps as u64),
        }
    }

    /// Charges for values that are made or looked at.
    pub(super) fn values(&self, values: usize) -> Result<(), TemplateError> {
        self.steps(values as u64 + 1)
    }
}
