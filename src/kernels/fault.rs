//! A device that fails on demand, for the tests of what is kept when one does.

use std::cell::Cell;

/// How an operation fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The backend panics.
    Panic,
    /// The launch is queued, and what comes of it is told by the next [`sync`](super::sync()).
    Launch,
}

thread_local! {
    // As with traces: the operations have no place for more, and a test runs on one thread.
    static ARMED: Cell<Option<(usize, Fault)>> = const { Cell::new(None) };
    static HAS_FAILED: Cell<bool> = const { Cell::new(false) };
}

impl Fault {
    /// Makes the operation behind the next `operations` of this thread fail, once.
    pub fn after(self, operations: usize) {
        ARMED.set(Some((operations, self)));
    }

    /// Takes it back where it has not happened yet; returns whether it had.
    pub fn disarm() -> bool {
        HAS_FAILED.set(false);
        ARMED.take().is_none()
    }
}

/// What is to fail on a thread, and whether something has.
#[cfg(feature = "flex")]
type Pending = (Option<(usize, Fault)>, bool);

#[cfg(feature = "flex")]
fn swap((armed, has_failed): Pending) -> Pending {
    (ARMED.replace(armed), HAS_FAILED.replace(has_failed))
}

/// What came of work on another thread, and what is left to fail there.
#[cfg(feature = "flex")]
pub(super) struct Carried<R> {
    value: R,
    pending: Pending,
}

#[cfg(feature = "flex")]
impl<R> Carried<R> {
    /// Leaves the rest to fail on this thread.
    pub(super) fn put_back(self) -> R {
        swap(self.pending);
        self.value
    }
}

/// The same work for another thread, with what is to fail on this one.
#[cfg(feature = "flex")]
pub(super) fn carried<R>(work: impl FnOnce() -> R + Send) -> impl FnOnce() -> Carried<R> + Send {
    let pending = swap((None, false));
    move || {
        swap(pending);
        let value = work();
        let pending = swap((None, false));
        Carried { value, pending }
    }
}

/// Counts an operation, and fails where its turn has come.
pub(super) fn count() {
    match ARMED.take() {
        None => {}
        Some((0, Fault::Launch)) => HAS_FAILED.set(true),
        Some((0, Fault::Panic)) => panic!("the device failed on demand"),
        Some((operations, fault)) => ARMED.set(Some((operations - 1, fault))),
    }
}

/// # Errors
/// If a launch has failed since the last call.
pub(super) fn check() -> Result<(), String> {
    match HAS_FAILED.take() {
        true => Err("the launch failed on demand".to_string()),
        false => Ok(()),
    }
}
