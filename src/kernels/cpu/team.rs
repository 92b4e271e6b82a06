//! A thread pool that is entered once for many operations.

use std::sync::{LazyLock, Mutex, PoisonError};

use rayon::{ThreadPool, ThreadPoolBuilder};

use crate::kernels::{KernelTrace, trace};

/// A pool of its own: a thread that waits for its neighbour takes up other work meanwhile, and what an
/// application gives the global pool may take long. As large as that one, which an application may have
/// limited. `None` where threads cannot be made.
static POOL: LazyLock<Option<ThreadPool>> = LazyLock::new(|| {
    let name = |index| format!("burn-vlm-{index}");
    let threads = ThreadPoolBuilder::new().num_threads(rayon::current_num_threads());
    threads.thread_name(name).build().ok()
});

/// Held by whoever is in the pool: of two there, one might take up the other's whole work meanwhile.
static TURN: Mutex<()> = Mutex::new(());

/// Runs `work` on a thread of the pool, or here if this is a thread of any. Operations that are called there share their loops with the
/// threads beside it, which are still awake from the last one; from outside, each would have to wake
/// them and to be woken.
///
/// What the operations leave behind on their thread, this takes to the caller's.
pub(in crate::kernels) fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    let Some(pool) = POOL.as_ref() else {
        return work();
    };
    let _turn = TURN.lock().unwrap_or_else(PoisonError::into_inner);
    #[cfg(feature = "testing")]
    let work = crate::kernels::fault::carried(work);
    let (value, report) = pool.install(|| KernelTrace::collect(work));
    trace::ran_elsewhere(report);
    #[cfg(feature = "testing")]
    let value = value.put_back();
    value
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernels::Implementation;

    #[test]
    fn what_ran_in_the_team_is_told_to_who_asked() {
        let (thread, report) = KernelTrace::collect(|| {
            run(|| {
                trace::ran("kernel", Implementation::Flex);
                run(|| trace::ran("kernel", Implementation::Flex));
                rayon::current_thread_index()
            })
        });
        assert!(thread.is_some(), "a thread of the pool");
        assert!(report.calls().eq([("kernel", Implementation::Flex, 2)]));
    }

    #[test]
    fn a_panic_in_the_team_ends_only_its_own_work() {
        let panicked = std::panic::catch_unwind(|| run(|| panic!("on purpose")));
        assert!(panicked.is_err());
        assert_eq!(run(|| 1), 1);
    }
}
