//! Loops that the compiler of a device leaves as they are written.

use cubecl::prelude::*;

/// `count`, which divides the `units` of a cube, as a number that is only known at run time.
///
/// NVIDIA's compiler unrolls a loop whose length it knows, and where that takes more registers than
/// it wants to spend it moves some to memory.
#[cube]
pub(in crate::kernels) fn at_run_time(#[comptime] count: usize, #[comptime] units: usize) -> usize {
    CUBE_DIM_X as usize / comptime!(units / count)
}
