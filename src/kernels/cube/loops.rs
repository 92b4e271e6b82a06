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

/// One, as a number that is only known at run time: a loop with this step is not unrolled, however
/// its end is known. Every cube of ours is a row of units.
#[cube]
pub(in crate::kernels) fn one_at_run_time() -> usize {
    CUBE_DIM_Y as usize
}
