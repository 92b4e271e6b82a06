use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Ends an answer from another thread. Clones share one state.
///
/// It is looked at before every token and every chunk of the prompt.
///
/// # Examples
/// ```
/// use burn_vlm::CancelToken;
///
/// let cancel = CancelToken::new();
/// let of_a_button = cancel.clone();
/// of_a_button.cancel();
/// assert!(cancel.is_cancelled());
/// ```
#[derive(Debug, Clone, Default)]
pub struct CancelToken {
    is_cancelled: Arc<AtomicBool>,
}

impl CancelToken {
    /// A token that is not cancelled.
    pub fn new() -> Self {
        Self::default()
    }

    /// Cancels, for good.
    pub fn cancel(&self) {
        self.is_cancelled.store(true, Ordering::Relaxed);
    }

    /// Whether it was cancelled.
    pub fn is_cancelled(&self) -> bool {
        self.is_cancelled.load(Ordering::Relaxed)
    }
}
