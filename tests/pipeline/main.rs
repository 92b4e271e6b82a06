//! Laws of the pipeline, which hold for every model on every backend.
//!
//! A law is a function that is generic over the backend; [`laws!`] makes a test of it for each
//! backend that is built.

use burn_vlm::backend;

/// Makes tests of laws: `cpu::name` and, where they are built, `wgpu::name` and `cuda::name`.
macro_rules! laws {
    ($($law:ident),+ $(,)?) => {
        #[cfg(feature = "flex")]
        mod cpu {
            $(#[test]
            fn $law() -> anyhow::Result<()> {
                super::$law::<crate::backend::Cpu>()
            })+
        }
        #[cfg(feature = "wgpu")]
        mod wgpu {
            $(#[test]
            fn $law() -> anyhow::Result<()> {
                super::$law::<crate::backend::Wgpu>()
            })+
        }
        #[cfg(feature = "cuda")]
        mod cuda {
            $(#[test]
            fn $law() -> anyhow::Result<()> {
                match crate::device::has_device::<crate::backend::Cuda>("cuda") {
                    true => super::$law::<crate::backend::Cuda>(),
                    false => Ok(()),
                }
            })+
        }
    };
}

mod adapters;
mod any;
mod authors;
mod batches;
mod cache;
mod compute;
mod decoders;
mod decoding;
mod describe;
#[cfg(feature = "cuda")]
#[path = "../support/device.rs"]
mod device;
mod documents;
mod endings;
mod fixture;
mod folders;
mod interruptions;
mod loading;
mod many;
mod parity;
mod pictures;
mod plans;
mod projects;
mod prompts;
mod quantised;
mod questions;
#[path = "../../examples/common/fixture.rs"]
mod reference;
mod report;
mod requests;
mod sampling;
mod saved;
mod sessions;
mod settings;
mod streams;
#[path = "../support/mod.rs"]
mod support;
mod threads;
mod warm_up;
