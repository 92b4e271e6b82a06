use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use crate::memory;

/// How long an input may take, on a machine that has other things to do as well.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// What an input of some kilobytes may take.
const MEMORY_LIMIT: usize = 512 << 20;
const MESSAGE_LIMIT: usize = 4096;

/// The panics since the last look, those that were caught among them: each is printed by the hook
/// of an application.
static PANICS: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Takes note of every panic.
pub(crate) fn watch_panics() {
    panic::set_hook(Box::new(|panic| {
        if let Ok(mut panics) = PANICS.lock() {
            panics.push(panic.to_string());
        }
    }));
}

/// Whether a panic that the crate catches is a finding.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum CaughtPanics {
    AreFindings,
    /// Of a library whose inputs cannot all be known in advance.
    AreAllowed,
}

/// What is wrong with how `attempt` goes, if anything is. It says what it came to: an error's
/// message, or nothing.
pub(crate) fn finding(
    caught_panics: CaughtPanics,
    attempt: impl FnOnce() -> Result<Option<String>, String> + Send + 'static,
) -> Option<String> {
    let held = memory::begin();
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        let outcome = panic::catch_unwind(AssertUnwindSafe(attempt));
        // Nobody listens any more once the time is over.
        let _ = sender.send(outcome);
    });
    let outcome = receiver.recv_timeout(TIME_LIMIT);
    let peak_bytes = memory::peak_bytes_since(held);
    let panics = PANICS.lock().map(|mut panics| std::mem::take(&mut *panics));
    let panics = panics.unwrap_or_default();
    match outcome {
        Err(_) => Some(format!("no end within {TIME_LIMIT:?}")),
        Ok(Err(_)) => Some(format!("a panic: {}", panics.join("; "))),
        Ok(Ok(Err(breach))) => Some(breach),
        Ok(Ok(Ok(_))) if peak_bytes > MEMORY_LIMIT => Some(format!("{peak_bytes} bytes at once")),
        Ok(Ok(Ok(_))) if caught_panics == CaughtPanics::AreFindings && !panics.is_empty() => {
            Some(format!("a caught panic: {}", panics.join("; ")))
        }
        Ok(Ok(Ok(message))) => message.and_then(|message| fault_of_message(&message)),
    }
}

/// A message is bounded and holds nothing that a terminal would obey.
fn fault_of_message(message: &str) -> Option<String> {
    if message.len() > MESSAGE_LIMIT {
        return Some(format!("a message of {} bytes", message.len()));
    }
    let is_control = |sign: char| sign.is_control() && sign != '\n';
    message
        .contains(is_control)
        .then(|| format!("a message with control characters: {message:?}"))
}
