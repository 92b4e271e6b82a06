//! How long a tokenizer may work, and what happens when the library gives up.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::{Duration, Instant};

/// Time for a text of any length. Encoding takes microseconds.
const TIME: Duration = Duration::from_secs(2);

/// Time for each byte of a text; some twenty times what a sound tokenizer takes.
const TIME_PER_BYTE: Duration = Duration::from_micros(6);

/// A deadline for work whose amount a file chose.
///
/// It counts the time that this thread runs, where the system tells, so that a busy machine makes
/// no sound text fail.
#[derive(Debug, Clone)]
pub(crate) struct Effort {
    allowed: Duration,
    started: Instant,
    /// What the thread had run by then.
    ran: Option<Duration>,
    /// When to look again.
    next: Cell<Instant>,
}

impl Effort {
    /// Time enough for any sound tokenizer to encode `bytes` of text.
    pub(crate) fn for_bytes(bytes: usize) -> Self {
        Self {
            ran: time_run(),
            ..Self::by_the_clock(bytes)
        }
    }

    /// As [`for_bytes`](Self::for_bytes), for work too short to ask the system about.
    pub(crate) fn by_the_clock(bytes: usize) -> Self {
        let bytes = u32::try_from(bytes).unwrap_or(u32::MAX);
        let allowed = TIME + TIME_PER_BYTE.saturating_mul(bytes);
        let started = Instant::now();
        Self {
            allowed,
            started,
            ran: None,
            next: Cell::new(started + allowed),
        }
    }

    /// Fails once the time is up. It is asked after each step that is bounded by itself.
    ///
    /// # Errors
    ///
    /// That the time is up.
    pub(crate) fn check(&self) -> Result<(), String> {
        let now = Instant::now();
        if now < self.next.get() {
            return Ok(());
        }
        let ran = self
            .ran
            .zip(time_run())
            .map(|(from, to)| to.saturating_sub(from));
        match self.allowed.checked_sub(ran.unwrap_or(now - self.started)) {
            Some(left) if !left.is_zero() => {
                self.next.set(now + left);
                Ok(())
            }
            _ => Err("it takes too long".to_string()),
        }
    }
}

/// The time that this thread has run, on Linux.
fn time_run() -> Option<Duration> {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let nanoseconds = statistics.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

/// Calls into the tokenizers library, whose panic is an error.
///
/// What is known to panic is checked beforehand, for a program may be built to abort on panics; the
/// guard is for what is not known.
///
/// # Errors
///
/// Those of `work`, and that it panicked.
pub(crate) fn guarded<T>(work: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_panic| Err("the tokenizers library panicked on it".to_string()))
}
