//! The seam to the hardware: [`VlmBackend`], one method an operation, numbers in, numbers out.
//!
//! Every method has a default body written in Burn operations. That body *defines* the result; it
//! runs on any backend that has no kernel for the operation, it is what the tests measure kernels
//! against, and through `Autodiff` it gives training its gradient. [`Flex`](burn_flex::Flex) and
//! `CubeBackend` override the methods they have kernels for.
//!
//! Each operation is a folder:
//!
//! | file | holds |
//! |---|---|
//! | `mod.rs` | the contract: names, shapes, argument structs, the tensor-level function |
//! | `reference.rs` | the definition in Burn operations: the default body |
//! | `flex.rs` | the CPU kernel |
//! | `cube.rs` | the CubeCL kernel and its launcher, one source for CUDA and WGPU |
//! | `cases.rs` | named problems, for the tests and the benches alike |
//!
//! and one line in `Catalogue::ENTRIES`. Shapes are checked in the tensor-level functions;
//! launchers launch or say [`LaunchRefused`], and the one `match` on it falls back. What ran is
//! told by [`KernelTrace`].

pub mod argmax;
pub mod attention_decode;
pub mod attention_prefill;
pub mod embed_and_splice;
pub mod kv_copy;
pub mod layer_norm;
pub mod linear;
pub mod rms_norm;
pub mod rope_append;
pub mod sample;
pub mod swiglu;

#[cfg(feature = "testing")]
pub mod bench;
#[cfg(feature = "testing")]
mod cases;
#[cfg(feature = "testing")]
mod catalogue;
#[cfg(feature = "flex")]
mod cpu;
#[cfg(feature = "cube")]
mod cube;
#[cfg(feature = "testing")]
mod fault;
#[cfg(feature = "flex")]
mod flex;
mod go_on;
mod kv;
#[cfg(feature = "cube")]
mod launch;
mod matrix;
mod packed;
mod refused;
mod settle;
mod shape;
mod stream;
mod trace;

use burn::tensor::backend::Backend;
use burn::tensor::ops::{FloatTensor, IntTensor};
use burn::tensor::{DType, Tensor, TensorPrimitive};

pub use argmax::argmax;
pub use attention_decode::attention_decode;
pub use attention_prefill::{AttentionInputs, attention_prefill};
#[cfg(feature = "testing")]
pub use cases::{
    Case, Deviation, HostTensor, Inputs, KERNEL, KernelEntry, Order, Output, OutputKind, Problem,
    RunCase, Solve, Stored, UNFUSED, Way, Work,
};
#[cfg(feature = "testing")]
pub use catalogue::Catalogue;
pub use embed_and_splice::{
    SplicedRows, TokenIds, TokenIdsPrimitive, TokenIdsTensor, embed_and_splice,
};
#[cfg(feature = "testing")]
pub use fault::Fault;
pub use go_on::{ALWAYS, GoOn};
pub use kv::{AttentionMask, KvSpan, KvView, KvViews, KvWrite, KvWrites};
pub use kv_copy::kv_copy;
pub use layer_norm::layer_norm;
pub(crate) use linear::activate;
pub use linear::{Activation, LinearEpilogue, linear};
pub(crate) use matrix::{DECODER_LAYERS, DECODER_MODULE, MATRIX_MODULE};
pub use matrix::{Matrix, MatrixPrimitive, MatrixTensor};
pub use packed::{GROUP_LEN, PackedMatrix, PackedType};
pub(crate) use packed::{better_type, quantise};
pub use refused::LaunchRefused;
pub use rms_norm::{add_rms_norm, rms_norm};
pub use rope_append::{RopeAppendInputs, RopeAppended, rope_append};
pub use sample::{SampleRow, sample};
pub use settle::sync;
pub use stream::WorkStream;
pub use swiglu::swiglu;
pub use trace::{Implementation, KernelReport, KernelTrace};

/// The operations this crate tunes by hand.
///
/// Every default body is the reference: it defines the result, runs where no kernel exists, and
/// gives training its gradient. Implement it for a backend of your own with an empty `impl` block.
/// Call the operations through the tensor-level functions of [this module](self), which check
/// shapes; the methods themselves take primitives and trust them.
///
/// The prefix keeps the names apart from those that Burn's own operation traits already have.
pub trait VlmBackend: Backend {
    /// Whether [`linear()`] and [`embed_and_splice()`] read a [`Matrix::Float`] of this type, with
    /// rows of this many columns, on the device. What they cannot read is kept in f32.
    fn vlm_reads_matrix(device: &Self::Device, dtype: DType, _columns: usize) -> bool {
        Self::supports_dtype(device, dtype)
    }

    /// Whether [`linear()`] and [`embed_and_splice()`] have kernels for a [`Matrix::Packed`] here.
    /// Without them the reference widens all of the matrix whenever it is read: it takes little
    /// memory then, and much time.
    fn vlm_has_packed_kernels() -> bool {
        false
    }

    /// Whether kernels are compiled when they first run, so that
    /// [warming up](crate::MultimodalPipeline::warm_up) is worth it.
    fn vlm_compiles_kernels() -> bool {
        true
    }

    /// Runs `work`, which calls many short operations one behind another. The CPU's threads run it among
    /// themselves: so they come together once, and not for every operation.
    fn vlm_in_team<R: Send>(work: impl FnOnce() -> R + Send) -> R {
        work()
    }

    /// See [`linear()`].
    fn vlm_linear(
        x: FloatTensor<Self>,
        weight: MatrixPrimitive<Self>,
        epilogue: LinearEpilogue<FloatTensor<Self>>,
    ) -> FloatTensor<Self> {
        trace::ran(linear::NAME, Implementation::Reference);
        linear::reference::run::<Self>(x, weight, epilogue)
    }

    /// See [`rms_norm()`].
    fn vlm_rms_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        trace::ran(rms_norm::NAME, Implementation::Reference);
        rms_norm::reference::run::<Self>(x, weight, epsilon)
    }

    /// See [`add_rms_norm()`].
    fn vlm_add_rms_norm(
        x: FloatTensor<Self>,
        residual: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        epsilon: f64,
    ) -> (FloatTensor<Self>, FloatTensor<Self>) {
        trace::ran(rms_norm::ADD_NAME, Implementation::Reference);
        rms_norm::reference::run_add::<Self>(x, residual, weight, epsilon)
    }

    /// See [`layer_norm()`].
    fn vlm_layer_norm(
        x: FloatTensor<Self>,
        weight: FloatTensor<Self>,
        bias: FloatTensor<Self>,
        epsilon: f64,
    ) -> FloatTensor<Self> {
        trace::ran(layer_norm::NAME, Implementation::Reference);
        layer_norm::reference::run::<Self>(x, weight, bias, epsilon)
    }

    /// See [`swiglu()`].
    fn vlm_swiglu(gate_up: FloatTensor<Self>) -> FloatTensor<Self> {
        trace::ran(swiglu::NAME, Implementation::Reference);
        swiglu::reference::run::<Self>(gate_up)
    }

    /// See [`rope_append()`]. The caches come by value and go out: in place, or a panic.
    fn vlm_rope_append(
        inputs: RopeAppendInputs<FloatTensor<Self>>,
        writes: &KvWrites<Self>,
    ) -> RopeAppended<FloatTensor<Self>> {
        trace::ran(rope_append::NAME, Implementation::Reference);
        rope_append::reference::run::<Self>(inputs, writes.writes())
    }

    /// See [`kv_copy()`]. The slab comes by value and goes out: in place, or a panic.
    fn vlm_kv_copy(slab: FloatTensor<Self>, from: KvSpan, to_slot: usize) -> FloatTensor<Self> {
        trace::ran(kv_copy::NAME, Implementation::Reference);
        kv_copy::reference::run::<Self>(slab, from, to_slot)
    }

    /// See [`attention_prefill()`].
    fn vlm_attention_prefill(
        inputs: AttentionInputs<FloatTensor<Self>>,
        views: &KvViews<Self>,
        mask: AttentionMask,
    ) -> FloatTensor<Self> {
        trace::ran(attention_prefill::NAME, Implementation::Reference);
        attention_prefill::reference::run::<Self>(inputs, views.views(), mask)
    }

    /// See [`attention_decode()`].
    fn vlm_attention_decode(
        inputs: AttentionInputs<FloatTensor<Self>>,
        views: &KvViews<Self>,
    ) -> FloatTensor<Self> {
        trace::ran(attention_decode::NAME, Implementation::Reference);
        attention_decode::reference::run::<Self>(inputs, views.views())
    }

    /// See [`embed_and_splice()`].
    fn vlm_embed_and_splice(
        table: MatrixPrimitive<Self>,
        token_ids: TokenIdsPrimitive<'_, Self>,
        images: Vec<SplicedRows<FloatTensor<Self>>>,
        dtype: DType,
    ) -> FloatTensor<Self> {
        trace::ran(embed_and_splice::NAME, Implementation::Reference);
        embed_and_splice::reference::run::<Self>(table, token_ids, images, dtype)
    }

    /// See [`argmax()`].
    fn vlm_argmax(logits: FloatTensor<Self>) -> IntTensor<Self> {
        trace::ran(argmax::NAME, Implementation::Reference);
        argmax::reference::run::<Self>(logits)
    }

    /// Whether [`sample()`] has a kernel here, so that a request which allows nothing else is told
    /// before its prompt is read.
    fn vlm_has_sample_kernel() -> bool {
        false
    }

    /// See [`sample()`].
    fn vlm_sample(logits: FloatTensor<Self>, rows: &[SampleRow]) -> IntTensor<Self> {
        trace::ran(sample::NAME, Implementation::Reference);
        sample::reference::run::<Self>(logits, rows)
    }
}

#[cfg(feature = "train")]
impl<B, C> VlmBackend for burn_autodiff::Autodiff<B, C>
where
    B: Backend,
    C: burn_autodiff::checkpoint::strategy::CheckpointStrategy,
{
}

#[cfg(feature = "fusion")]
impl<B: burn_fusion::FusionBackend> VlmBackend for burn_fusion::Fusion<B> {}

/// What a reference body computes numbers of `dtype` in.
pub(crate) fn wide(dtype: DType) -> DType {
    match dtype {
        DType::F64 => DType::F64,
        _ => DType::F32,
    }
}

/// The primitive of a float tensor.
pub(crate) fn primitive<B: Backend, const D: usize>(tensor: Tensor<B, D>) -> FloatTensor<B> {
    tensor.into_primitive().tensor()
}

/// The tensor around a float primitive; its rank must be `D`.
pub(crate) fn tensor<B: Backend, const D: usize>(primitive: FloatTensor<B>) -> Tensor<B, D> {
    Tensor::from_primitive(TensorPrimitive::Float(primitive))
}
