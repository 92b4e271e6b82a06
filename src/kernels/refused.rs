//! Why a kernel leaves the work to the reference.

use burn::tensor::DType;

/// Why a launcher did not launch: this device or this shape has no fast path.
///
/// The reference can always answer, so a refusal falls back to it. Any other failure is a bug of
/// ours and must surface, or a broken kernel would merely look slow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LaunchRefused {
    /// An axis of the answer is empty.
    #[error("nothing to compute")]
    NothingToCompute,
    /// The device does not launch so many cubes.
    #[error("{cubes:?} cubes, the device launches {max_cubes:?}")]
    TooManyCubes {
        /// Cubes of each axis.
        cubes: [usize; 3],
        /// What the device allows.
        max_cubes: [usize; 3],
    },
    /// The device has no cubes of so many units.
    #[error("{units} units a cube, the device has {max_units}")]
    TooManyUnits {
        /// Units of a cube.
        units: u32,
        /// What the device allows.
        max_units: u32,
    },
    /// A cube of the device has less shared memory.
    #[error("{bytes} bytes of shared memory, the device has {max_bytes}")]
    TooMuchSharedMemory {
        /// Bytes that a cube takes.
        bytes: usize,
        /// What the device allows.
        max_bytes: usize,
    },
    /// The device binds fewer buffers to a kernel.
    #[error("{bindings} bindings, the device has {max_bindings}")]
    TooManyBindings {
        /// Buffers of the launch.
        bindings: usize,
        /// What the device allows.
        max_bindings: usize,
    },
    /// A tensor is longer than a kernel counts.
    #[error("a tensor of more than 2^32 elements")]
    TooManyElements,
    /// A vocabulary is larger than a kernel counts.
    #[error("{vocab_size} tokens, the kernel counts up to {max_vocab_size}")]
    VocabularyTooLarge {
        /// Tokens of the vocabulary.
        vocab_size: usize,
        /// What the kernel allows.
        max_vocab_size: usize,
    },
    /// The device does not compute in a type.
    #[error("the device does not compute in {}", .0.name())]
    NotComputed(DType),
    /// There is no kernel for an operand of its type.
    #[error("no kernel for {operand} of type {dtype:?}")]
    NoKernelFor {
        /// The operand.
        operand: &'static str,
        /// Its type.
        dtype: DType,
    },
    /// Operands that belong together differ in type.
    #[error("{operands} differ in type")]
    TypesDiffer {
        /// The operands.
        operands: &'static str,
    },
    /// An operand would have to be copied to be read.
    #[error("{operand} with strides {strides:?}")]
    Scattered {
        /// The operand.
        operand: &'static str,
        /// Its strides, outer to inner.
        strides: Vec<isize>,
    },
    /// A matrix of codes and scales is read beside vectors of four elements, and the device has none.
    #[error("the device has no vectors of four elements, beside which a packed matrix is read")]
    Packed,
    /// Rows of bf16, on a device without it, that are not whole words of 32 bits.
    #[error("the device has no bf16, and the rows are not whole words")]
    PartialWords,
    /// A tile of attention heads takes more shared memory than there is.
    #[error("a head of {head_dim} does not fit {max_bytes} bytes of shared memory")]
    HeadTooLarge {
        /// Elements of a head.
        head_dim: usize,
        /// What the device allows.
        max_bytes: usize,
    },
}
