//! GGUF, the format of llama.cpp: metadata, a table of tensors, then their bytes, in one file.
//!
//! <https://github.com/ggml-org/ggml/blob/master/docs/gguf.md>. Versions 2 and 3 are read, which
//! differ in nothing that a little-endian file shows. The format that came before it is read into
//! the same form: see [`legacy`].

mod legacy;
mod metadata;
mod reader;
mod table;

use std::collections::BTreeMap;

use super::file::WeightFile;
use super::limits::{MAX_METADATA_BYTES, MAX_METADATA_ENTRIES};
use super::tensor::TensorEntry;
use crate::error::{Error, Result};
use reader::Reader;

pub use metadata::{GgufMetadata, GgufValue};

/// What errors call the format.
pub(super) const FORMAT: &str = "GGUF";

const MAGIC: &[u8] = b"GGUF";

/// What one file holds.
pub(super) struct Contents {
    pub(super) metadata: GgufMetadata,
    pub(super) tensors: BTreeMap<String, TensorEntry>,
}

pub(super) fn is_gguf(beginning: &[u8]) -> bool {
    beginning.starts_with(MAGIC)
}

pub(super) use legacy::is_legacy;

/// The tensors of a file, by name.
///
/// # Errors
///
/// As [`read`].
pub(super) fn read_tensors(file: &WeightFile) -> Result<BTreeMap<String, TensorEntry>> {
    read(file).map(|contents| contents.tensors)
}

/// What a file holds.
///
/// # Errors
///
/// [`CheckpointError`](crate::CheckpointError) when it is damaged, contradicts itself or is of a
/// version or an element type that is not read.
pub(super) fn read(file: &WeightFile) -> Result<Contents> {
    let beginning = file.read(0, file.len_bytes().min(4))?;
    match legacy::is_legacy(&beginning) {
        true => legacy::read(file),
        false => read_gguf(file),
    }
}

fn read_gguf(file: &WeightFile) -> Result<Contents> {
    let mut reader = Reader::new(file, FORMAT, MAX_METADATA_BYTES);
    if reader.array::<4>()? != MAGIC {
        return Err(file.malformed(FORMAT, "it does not begin with `GGUF`"));
    }
    let version = reader.u32()?;
    require_version(file, version)?;
    let num_tensors = reader.u64()?;
    let num_entries = reader.u64()?;
    table::require_count(file, num_tensors)?;
    file.require_at_most(
        MAX_METADATA_ENTRIES,
        "the number of metadata entries",
        num_entries,
    )?;
    let metadata = GgufMetadata::read(&mut reader, num_entries)?;
    let tensors = table::read(&mut reader, num_tensors, &metadata)?;
    Ok(Contents { metadata, tensors })
}

fn require_version(file: &WeightFile, version: u32) -> Result<(), Error> {
    let remedy = "convert the model again with a llama.cpp of today";
    match version {
        2 | 3 => Ok(()),
        1 => Err(file.unsupported("a GGUF file of version 1", remedy)),
        _ if (1..=3).contains(&version.swap_bytes()) => {
            Err(file.unsupported("a big-endian GGUF file", remedy))
        }
        _ => Err(file.unsupported(format!("a GGUF file of version {version}"), remedy)),
    }
}

#[cfg(test)]
mod tests;
