//! Every kernel of the catalogue, on every backend of this build, held to its reference.
//!
//! `BURN_VLM_REQUIRE=wgpu,cuda` turns a missing device, and a kernel that it refuses, into a failure.
#![cfg(all(feature = "flex", feature = "testing"))]

#[path = "kernels/catalogue.rs"]
mod catalogue;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
#[path = "support/device.rs"]
mod device;
#[path = "kernels/draws.rs"]
mod draws;
#[path = "kernels/edges.rs"]
mod edges;
#[cfg(feature = "fusion")]
#[path = "kernels/fusion.rs"]
mod fusion;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
#[path = "kernels/gpu.rs"]
mod gpu;
#[cfg(feature = "train")]
#[path = "kernels/gradients.rs"]
mod gradients;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
#[path = "kernels/grids.rs"]
mod grids;
#[path = "kernels/in_place.rs"]
mod in_place;
#[path = "kernels/law.rs"]
mod law;
#[path = "kernels/numbers.rs"]
mod numbers;
#[path = "kernels/repeats.rs"]
mod repeats;
#[cfg(any(feature = "wgpu", feature = "cuda"))]
#[path = "kernels/streams.rs"]
mod streams;
