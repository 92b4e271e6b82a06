//! Every kernel with the problems it must solve, for the tests and the benches alike.
//!
//! The inputs of a [`Case`] are made on the host from a fixed seed, so every backend, type and
//! implementation answers the very same question, and whatever is timed is also proven right.
//!
//! ```
//! # #[cfg(feature = "flex")] {
//! use burn::tensor::DType;
//! use burn_vlm::{backend::Cpu, kernels::Catalogue};
//!
//! let device = Default::default();
//! for entry in Catalogue::<Cpu>::ENTRIES {
//!     let case = &(entry.cases)()[0];
//!     let kernel = (case.kernel)(&device, DType::F32);
//!     let plain = (case.reference)(&device, DType::F32);
//!     let exact = (case.exact)(&device, DType::F32);
//!     for ((kernel, plain), exact) in kernel.iter().zip(&plain).zip(&exact) {
//!         kernel.check(plain, exact, DType::F32).expect("twice the error of the plain formula");
//!     }
//! }
//! # }
//! ```

use super::cases::KernelEntry;
use super::{
    VlmBackend, argmax, attention_decode, attention_prefill, embed_and_splice, kv_copy, layer_norm,
    linear, rms_norm, rope_append, sample, swiglu,
};

/// The register of kernels over one backend.
#[derive(Debug)]
pub struct Catalogue<B>(std::marker::PhantomData<B>);

impl<B: VlmBackend> Catalogue<B> {
    /// One line a kernel.
    pub const ENTRIES: &'static [KernelEntry<B>] = &[
        linear::cases::entry(),
        rms_norm::cases::entry(),
        rms_norm::cases::add_entry(),
        layer_norm::cases::entry(),
        swiglu::cases::entry(),
        rope_append::cases::entry(),
        kv_copy::cases::entry(),
        attention_prefill::cases::entry(),
        attention_decode::cases::entry(),
        embed_and_splice::cases::entry(),
        argmax::cases::entry(),
        sample::cases::entry(),
    ];
}
