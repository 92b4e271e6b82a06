//! Every kernel of the crate on CUDA, without a GPU: compiled by NVIDIA's compiler for each
//! architecture, and run on the CPU in both orders of the threads.
//!
//! A kernel is covered by its line in the catalogue; there is nothing to write here for it.

mod emission;
mod numbers;
mod pipeline;
mod step;
