//! Which implementation answered each operation.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use crate::error::DeviceError;

use super::LaunchRefused;

/// Who computed an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Implementation {
    /// The default body, in Burn operations.
    Reference,
    /// This crate's CPU kernel.
    Flex,
    /// This crate's CubeCL kernel.
    Cube,
}

impl fmt::Display for Implementation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Reference => "reference",
            Self::Flex => "flex",
            Self::Cube => "cube",
        })
    }
}

/// Which implementations ran, per kernel, and what was refused.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KernelReport {
    calls: BTreeMap<(&'static str, Implementation), usize>,
    refusals: BTreeMap<&'static str, LaunchRefused>,
}

impl KernelReport {
    /// Kernel, implementation and number of calls, in order of the kernels' names.
    pub fn calls(&self) -> impl Iterator<Item = (&'static str, Implementation, usize)> + '_ {
        self.calls
            .iter()
            .map(|((kernel, by), count)| (*kernel, *by, *count))
    }

    /// Kernels whose launch the device refused, with the reason; their reference ran instead.
    pub fn refusals(&self) -> impl Iterator<Item = (&'static str, &LaunchRefused)> + '_ {
        self.refusals
            .iter()
            .map(|(kernel, refused)| (*kernel, refused))
    }

    /// Adds what another report holds.
    pub fn merge(&mut self, other: Self) {
        for (key, count) in other.calls {
            *self.calls.entry(key).or_default() += count;
        }
        self.refusals.extend(other.refusals);
    }

    /// # Errors
    /// [`DeviceError::KernelRefused`] if a kernel was refused or there is none.
    pub(crate) fn check_strict(&self) -> Result<(), DeviceError> {
        let by_reference = |(_, by, _): &(_, Implementation, _)| *by == Implementation::Reference;
        let Some((kernel, ..)) = self.calls().find(by_reference) else {
            return Ok(());
        };
        let refused = self.refusals.get(kernel).map(LaunchRefused::to_string);
        let reason = refused.unwrap_or_else(|| "there is none for this backend".to_string());
        Err(DeviceError::KernelRefused { kernel, reason })
    }
}

/// Collects a [`KernelReport`] over the operations that one thread calls.
#[derive(Debug)]
pub struct KernelTrace(());

thread_local! {
    // The operations are trait methods without a place for a collector, and a scope is closed on
    // the thread that opened it: so the open scopes belong to the thread.
    static OPEN: RefCell<Vec<KernelReport>> = const { RefCell::new(Vec::new()) };
}

impl KernelTrace {
    /// Runs `work` and reports the operations it called on this thread.
    ///
    /// # Examples
    /// ```
    /// # #[cfg(feature = "flex")] {
    /// use burn::tensor::Tensor;
    /// use burn_vlm::{backend::Cpu, kernels};
    ///
    /// let device = Default::default();
    /// let gate_up = Tensor::<Cpu, 2>::ones([1, 8], &device);
    /// let (_, report) = kernels::KernelTrace::collect(|| kernels::swiglu(gate_up));
    /// assert_eq!(report.calls().next().map(|(kernel, _, calls)| (kernel, calls)), Some(("swiglu", 1)));
    /// # }
    /// ```
    pub fn collect<T>(work: impl FnOnce() -> T) -> (T, KernelReport) {
        /// Closes the scope on unwind too, or a later one would inherit its calls.
        struct Scope;
        impl Drop for Scope {
            fn drop(&mut self) {
                OPEN.with_borrow_mut(Vec::pop);
            }
        }
        OPEN.with_borrow_mut(|open| open.push(KernelReport::default()));
        let scope = Scope;
        let value = work();
        let report = OPEN.with_borrow_mut(|open| open.last_mut().map(std::mem::take));
        drop(scope);
        (value, report.unwrap_or_default())
    }
}

/// Notes that `kernel` was answered `by`.
pub(super) fn ran(kernel: &'static str, by: Implementation) {
    #[cfg(feature = "testing")]
    super::fault::count();
    OPEN.with_borrow_mut(|open| {
        if let Some(report) = open.last_mut() {
            *report.calls.entry((kernel, by)).or_default() += 1;
        }
    });
}

/// Notes what ran on another thread, for this one.
#[cfg(feature = "flex")]
pub(super) fn ran_elsewhere(report: KernelReport) {
    OPEN.with_borrow_mut(|open| {
        if let Some(open) = open.last_mut() {
            open.merge(report);
        }
    });
}

/// Notes that `kernel` was refused and the reference answers instead.
#[cfg(any(feature = "cube", feature = "flex"))]
pub(super) fn fell_back(kernel: &'static str, refused: &LaunchRefused) {
    log::debug!("{kernel}: reference path: {refused}");
    ran(kernel, Implementation::Reference);
    OPEN.with_borrow_mut(|open| {
        if let Some(report) = open.last_mut() {
            report.refusals.insert(kernel, refused.clone());
        }
    });
}
