//! The index of a sharded checkpoint: which files there are.

use std::collections::BTreeSet;
use std::path::Path;

use serde::Deserialize;

use super::file::WeightFile;
use super::limits::{MAX_HEADER_BYTES, MAX_SHARDS, MAX_TENSORS};
use super::unique_map::UniqueMap;
use crate::error::{CheckpointError, Error, Result};
use crate::files::python_json;

const FORMAT: &str = "shard index";

/// Longest shard name; file systems end at 255.
const MAX_SHARD_NAME_BYTES: usize = 128;

#[derive(Debug, Deserialize)]
struct IndexFile {
    weight_map: UniqueMap<String>,
}

/// The shards of a checkpoint.
///
/// An index is written by hand or by tools that merge and prune. What it says of a tensor is not
/// believed, as `transformers` does not: a shard holds what it holds.
#[derive(Debug)]
pub(super) struct ShardIndex {
    /// Names of the files, in order.
    pub(super) shards: BTreeSet<String>,
}

impl ShardIndex {
    /// Reads an index whose shards must have the `extension`.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`] if it is no index, or if a shard's name is none within the folder.
    pub(super) fn read(path: &Path, extension: &str) -> Result<Self> {
        let file = WeightFile::open(path)?;
        file.require_at_most(
            MAX_HEADER_BYTES,
            "the index' length in bytes",
            file.len_bytes(),
        )?;
        let json = file.read(0, file.len_bytes())?;
        let index: IndexFile = serde_json::from_slice(&python_json(&json))
            .map_err(|error| file.malformed(FORMAT, error.to_string()))?;
        let map = index.weight_map;
        file.require_at_most(
            MAX_TENSORS as u64,
            "the number of tensors",
            map.count as u64,
        )?;
        if map.entries.is_empty() {
            return Err(file.malformed(FORMAT, "its weight_map is empty"));
        }
        let shards: BTreeSet<String> = map.entries.values().cloned().collect();
        let num_shards = shards.len() as u64;
        file.require_at_most(MAX_SHARDS as u64, "the number of shards", num_shards)?;
        for shard in &shards {
            check_shard_name(path, shard, extension)?;
        }
        Ok(Self { shards })
    }
}

/// A file of the folder or of a folder in it, by its name alone: on no system can it be a path to
/// elsewhere, a device or a stream. Whether a link leads elsewhere is another question.
fn check_shard_name(index: &Path, name: &str, extension: &str) -> Result<()> {
    let is_odd = |char: char| char.is_control() || matches!(char, '\\' | ':');
    let reason = if name.len() > MAX_SHARD_NAME_BYTES {
        "is longer than any shard's name"
    } else if name.contains(is_odd) {
        "has a character that no shard's name has"
    } else if name.split('/').any(|part| part.is_empty() || part == "..") {
        "is no name within the folder"
    } else if Path::new(name)
        .extension()
        .is_none_or(|found| found != extension)
    {
        "has another extension than the index asks for"
    } else {
        return Ok(());
    };
    let name = name.chars().take(MAX_SHARD_NAME_BYTES).collect();
    Err(Error::from(CheckpointError::UnsafeName {
        index: index.to_path_buf(),
        name,
        reason,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_within_the_folder_with_the_right_extension_are_shards() {
        let index = Path::new("index.json");
        for name in [
            "model-00001-of-00002.safetensors",
            "A.safetensors",
            "0_.-x.safetensors",
            "-x.safetensors",
            "./a.safetensors",
            "w/a.safetensors",
            "model (1).safetensors",
            "모델-00001-of-00002.safetensors",
            "%2e%2e/x.safetensors",
            "..safetensors",
        ] {
            check_shard_name(index, name, "safetensors").unwrap();
        }
        let names = [
            "",
            ".safetensors",
            "../x.safetensors",
            "a/../../x.safetensors",
            "/etc/passwd",
            "C:\\x.safetensors",
            "\\\\server\\x.safetensors",
            "x.safetensors:stream",
            "x\0.safetensors",
            "x\n.safetensors",
            "w//x.safetensors",
            "x.bin",
            "x.safetensors/",
            "safetensors",
        ];
        for name in names {
            let error = check_shard_name(index, name, "safetensors").unwrap_err();
            let expected = matches!(error, Error::Checkpoint(CheckpointError::UnsafeName { .. }));
            assert!(expected, "{name:?}: {error}");
        }
        let long = format!("{}.safetensors", "x".repeat(200));
        assert!(check_shard_name(index, &long, "safetensors").is_err());
    }
}
