//! A model in GGUF: what its files say, and its weights.

use std::path::Path;

use super::checkpoint::Checkpoint;
use super::file::WeightFile;
use super::gguf::{self, GgufMetadata};
use super::gguf_shards;
use crate::error::Result;

/// A model in one GGUF file, or in several that belong together: what it says of itself, and its
/// weights.
#[derive(Debug)]
pub struct Gguf {
    metadata: GgufMetadata,
    checkpoint: Checkpoint,
}

impl Gguf {
    /// Opens a file; where it is the first of several, the others beside it too. Files in the
    /// format that llama.cpp had until August 2023 (`ggml`, `GGMF`, `GGJT`) are taken as well.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`](crate::CheckpointError) when a file is damaged, contradicts itself or is
    /// of a version or an element type that is not read.
    pub fn open(path: &Path) -> Result<Self> {
        let file = WeightFile::open(path)?;
        let gguf::Contents { metadata, tensors } = gguf::read(&file)?;
        let mut checkpoint = Checkpoint::of_file(file, tensors)?;
        gguf_shards::add_others(path, &metadata, &mut checkpoint)?;
        Ok(Self {
            metadata,
            checkpoint,
        })
    }

    /// Whether a file begins as these do. A file that cannot be read does not.
    #[must_use]
    pub fn is_one(path: &Path) -> bool {
        let beginning = WeightFile::open(path).and_then(|file| file.read(0, 4));
        beginning.is_ok_and(|beginning| gguf::is_gguf(&beginning) || gguf::is_legacy(&beginning))
    }

    /// What the file says of the model.
    #[must_use]
    pub fn metadata(&self) -> &GgufMetadata {
        &self.metadata
    }

    /// The weights.
    #[must_use]
    pub fn checkpoint(&self) -> &Checkpoint {
        &self.checkpoint
    }

    /// The weights alone.
    #[must_use]
    pub fn into_checkpoint(self) -> Checkpoint {
        self.checkpoint
    }
}
