//! CUDA without a GPU: two CubeCL devices that are CUDA up to the text of a kernel.
//!
//! Both have CUDA's compiler, device properties, vector widths and pitched rows, so Burn and our
//! launchers behave as on a card. They differ in what a launch does:
//!
//! * [`DryCuda`] runs nothing. It keeps the text of every kernel, which [`nvrtc`] turns into
//!   machine code to see registers, spills and shared memory. [`emit`] and [`assert_compiles`]
//!   drive it.
//! * [`EmulatedCuda`] compiles the same text with the system's C++ compiler against `shim/` and
//!   runs it, so that results can be checked. [`on_emulated`] drives it.
//!
//! What stays for a real card is speed, and what the emulation cannot see: the memory model, races
//! that both orders of the threads decide alike, bank conflicts, the rounding of real tensor cores.
//! A read past the end of a buffer gives NaN and no message; an access past shared memory, or a
//! loop without an end, takes the whole process with it.
//!
//! Tests that need a tool are skipped with a printed reason where it is missing, unless
//! `BURN_VLM_REQUIRE` names it (see [`tools`]).
#![allow(
    unsafe_code,
    reason = "memory of kernels and foreign libraries are reached by pointer"
)]

mod dry;
mod emulated;
mod host_compiler;
mod launch;
mod memory;
pub(crate) mod nvrtc;
mod nvrtc_library;
mod properties;
mod raw;
mod rewrite;
mod runtime;
mod server;
pub(crate) mod tools;

pub(crate) use dry::{DryBackend, DryCuda, DryRuntime, assert_compiles, emit};
pub(crate) use emulated::{
    EmulatedBackend, EmulatedCuda, EmulatedRuntime, Lanes, ThreadOrder, on_emulated,
};
pub(crate) use host_compiler::HostCompiler;
pub(crate) use raw::RawCuda;
pub(crate) use runtime::{EmittedKernel, Traffic};

/// Compute capabilities that every kernel is checked for: A100 and H100.
pub(crate) const ARCHITECTURES: [u16; 2] = [80, 90];
