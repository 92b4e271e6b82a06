//! The queue on which a piece of work and its in-place writes run.

/// The device queue of whoever owns mutable tensors.
///
/// On CubeCL a thread is a queue of its own, and an in-place write made on another thread than the
/// one that made the tensor is queued where readers do not look. A value that owns tensors it
/// writes in place (a KV cache) therefore keeps the queue it was made on and runs every step
/// inside [`run`](Self::run), on whatever thread it is called. On other backends it does nothing.
#[derive(Debug, Clone, Copy)]
pub struct WorkStream {
    #[cfg(feature = "cube")]
    id: cubecl::stream_id::StreamId,
}

impl WorkStream {
    /// The queue of the calling thread.
    pub fn current() -> Self {
        Self {
            #[cfg(feature = "cube")]
            id: cubecl::stream_id::StreamId::current(),
        }
    }

    /// Runs `work` on this queue and returns to the caller's own afterwards, also on unwind.
    pub fn run<T>(self, work: impl FnOnce() -> T) -> T {
        #[cfg(feature = "cube")]
        return self.id.executes(work);
        #[cfg(not(feature = "cube"))]
        work()
    }
}
