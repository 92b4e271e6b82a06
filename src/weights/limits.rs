//! How much a file may ask for before it is refused unread.

/// Bytes of a safetensors header, a shard index, a zip directory or a pickle.
///
/// The header of a 70B model is below 1 MiB, and parsing takes several times its length in memory.
pub(super) const MAX_HEADER_BYTES: u64 = 16 << 20;

/// Tensors in one file, and in one checkpoint.
///
/// The largest published models have a few thousand; this leaves room for mixtures of experts.
pub(super) const MAX_TENSORS: usize = 100_000;

/// Files of one sharded checkpoint. Each stays open, and 1024 is a common limit of open files.
pub(super) const MAX_SHARDS: usize = 512;

/// Axes of a tensor.
pub(super) const MAX_RANK: usize = 8;

/// Values that a pickle may create, or that may be visited in it: some 30 for each tensor. Bounded
/// so that references to references cannot multiply what the file holds.
pub(super) const MAX_PICKLE_VALUES: usize = 1_000_000;

/// Dictionaries inside dictionaries. Training checkpoints reach five.
pub(super) const MAX_NESTING: usize = 32;

/// Bytes of all names in a pickle together, which may name a long text a hundred thousand times. The
/// names of 70B models have 60 KiB.
pub(super) const MAX_NAMES_BYTES: usize = 16 << 20;

/// Bytes of the name of a tensor.
pub(super) const MAX_NAME_BYTES: usize = 1024;

/// Bytes in front of the tensors of a GGUF file, nearly all of them the vocabulary: twelve times
/// those of 262 144 tokens with their merges.
pub(super) const MAX_METADATA_BYTES: u64 = 64 << 20;

/// Entries of the metadata of a GGUF file; the largest seen have some sixty.
pub(super) const MAX_METADATA_ENTRIES: u64 = 4096;

/// Values in all lists of the metadata of a GGUF file: three times the largest seen. An empty text
/// takes eight bytes of the file and three times that of memory.
pub(super) const MAX_METADATA_VALUES: u64 = 4 << 20;
