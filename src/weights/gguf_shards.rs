//! A model in several GGUF files, as `llama-gguf-split` writes them.

use std::path::{Path, PathBuf};

use super::checkpoint::Checkpoint;
use super::file::WeightFile;
use super::gguf::{FORMAT, GgufMetadata, GgufValue, read};
use super::limits::MAX_SHARDS;
use crate::error::{CheckpointError, Result};

/// Adds the tensors of the files that belong to the first.
pub(super) fn add_others(
    first: &Path,
    metadata: &GgufMetadata,
    checkpoint: &mut Checkpoint,
) -> Result<()> {
    let Some(count) = number(metadata, "split.count").filter(|count| *count > 1) else {
        return Ok(());
    };
    let file = WeightFile::open(first)?;
    file.require_at_most(MAX_SHARDS as u64, "the number of files", count)?;
    if number(metadata, "split.no") != Some(0) {
        let remedy = "open the first of the files";
        return Err(file.unsupported(format!("one of {count} files of a model"), remedy));
    }
    let Some(others) = others(first, count) else {
        let reason = format!("it is one of {count} files, but not named `*-00001-of-{count:05}`");
        return Err(file.malformed(FORMAT, reason));
    };
    require_all(first, &others)?;
    for (path, place) in others.iter().zip(1..) {
        let file = WeightFile::open(path)?;
        let shard = read(&file)?;
        if number(&shard.metadata, "split.no") != Some(place) {
            let reason = format!("it is not file {place} (from 0) of {count}");
            return Err(file.malformed(FORMAT, reason));
        }
        checkpoint.add(file, shard.tensors, None)?;
    }
    Ok(())
}

/// The names of all files but the first.
fn others(first: &Path, count: u64) -> Option<Vec<PathBuf>> {
    let name = first.file_name()?.to_str()?;
    let stem = name.strip_suffix(&format!("-00001-of-{count:05}.gguf"))?;
    let other = |number| first.with_file_name(format!("{stem}-{number:05}-of-{count:05}.gguf"));
    Some((2..=count).map(other).collect())
}

fn require_all(first: &Path, others: &[PathBuf]) -> Result<(), CheckpointError> {
    let missing = others.iter().filter(|path| !path.exists());
    let name = |path: &PathBuf| path.file_name().map(|name| name.to_string_lossy().into());
    let shards: Vec<String> = missing.filter_map(name).collect();
    let index = first.to_path_buf();
    match shards.is_empty() {
        true => Ok(()),
        false => Err(CheckpointError::MissingShards { index, shards }),
    }
}

fn number(metadata: &GgufMetadata, key: &str) -> Option<u64> {
    match metadata.get(key)? {
        GgufValue::Integer(number) => u64::try_from(*number).ok(),
        _ => None,
    }
}
