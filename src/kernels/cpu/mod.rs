//! What the CPU kernels share: processor tiers, vectors, element types, dot products.
//!
//! A kernel is written once, over [`Simd`], and compiled for every [`Tier`]; which one runs is an
//! argument, so that a test can ask each tier that its processor has for the same answer.

mod activations;
mod buffer;
mod cache_slab;
mod dot;
mod element;
mod math;
mod matrix_rows;
mod packed_rows;
pub(super) mod panel;
mod rows;
mod simd;
mod strided_rows;
pub(super) mod team;
mod tier;
mod tokens;

pub(super) use activations::{activations, float_tensor, no_kernel_for, round_to, token_ids};
pub(super) use buffer::Buffer;
pub(super) use cache_slab::CacheSlab;
pub(super) use dot::{dot_tile, weighted_sum};
pub(super) use element::{Element, FloatSlice, with_element};
pub(super) use math::{exp, gelu, gelu_tanh, quick_gelu, relu, silu};
pub(super) use matrix_rows::{MatrixRows, matrix_rows};
pub(super) use packed_rows::{Bytes, HalfBytes, packed_rows};
pub(super) use rows::{RowKernel, for_each_row, sum, sum_of_squares};
pub(super) use simd::Simd;
pub(super) use strided_rows::StridedRows;
pub(super) use tier::{Kernel, Tier};
pub(super) use tokens::Tokens;

/// The most lanes of any tier.
pub(super) const MAX_LANES: usize = 16;

/// Elements below which a second thread costs more than it saves.
///
/// Waking a worker takes about 10 us, in which one core passes over some 100 kB.
pub(super) const MIN_ELEMENTS_PER_TASK: usize = 1 << 15;
