//! The thread pool, entered once for many operations.

use crate::kernels::{KernelTrace, trace};

/// Runs `work` on a thread of the pool. Operations that are called there share their loops with the
/// threads beside it, which are still awake from the last one; from outside, each would have to wake
/// the pool and wait for its lock.
///
/// What the operations leave behind on their thread, this takes to the caller's.
pub(in crate::kernels) fn run<R: Send>(work: impl FnOnce() -> R + Send) -> R {
    if rayon::current_thread_index().is_some() {
        return work();
    }
    #[cfg(feature = "testing")]
    let fault = crate::kernels::fault::take();
    let (value, report) = rayon::scope(|_| {
        #[cfg(feature = "testing")]
        let work = || {
            crate::kernels::fault::put(fault);
            let value = work();
            (value, crate::kernels::fault::take())
        };
        KernelTrace::collect(work)
    });
    trace::ran_elsewhere(report);
    #[cfg(feature = "testing")]
    let value = {
        let (value, fault) = value;
        crate::kernels::fault::put(fault);
        value
    };
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
}
