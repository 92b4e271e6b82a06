//! Whether long work goes on, asked between its parts.

use std::ops::ControlFlow;

/// Asked between two parts of long work, which ends where it breaks.
pub type GoOn<'a> = &'a dyn Fn() -> ControlFlow<()>;

/// Work that nobody interrupts.
pub const ALWAYS: fn() -> ControlFlow<()> = || ControlFlow::Continue(());
