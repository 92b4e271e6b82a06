//! Where a model comes from: files of many kinds, or one that holds everything.

use std::path::{Path, PathBuf};

use super::ModelSpec;
use super::gguf_model::GgufModel;
use crate::error::Result;
use crate::weights::Checkpoint;

/// Where a model comes from.
#[derive(Debug)]
pub(crate) enum ModelSource {
    /// A folder, or a project's YAML: see [`ModelFiles`](super::ModelFiles).
    Files(PathBuf),
    /// One or two GGUF files.
    Gguf(Box<GgufModel>),
}

impl ModelSource {
    /// Looks at what is there. `eyes` names the file with the eyes of a model in GGUF.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`](crate::CheckpointError) when a GGUF file is damaged, or when several could
    /// be meant.
    pub(crate) fn find(path: &Path, eyes: Option<&Path>) -> Result<Self> {
        Ok(match GgufModel::find(path, eyes)? {
            Some(model) => Self::Gguf(Box::new(model)),
            None => Self::Files(path.to_path_buf()),
        })
    }

    /// The family of the model and its configuration.
    ///
    /// # Errors
    ///
    /// As [`ModelSpec::read`].
    pub(crate) fn spec(&self) -> Result<ModelSpec> {
        match self {
            Self::Files(folder) => ModelSpec::of_files(folder),
            Self::Gguf(model) => model.spec(),
        }
    }

    /// The weights of the model that `spec` describes.
    ///
    /// # Errors
    ///
    /// [`CheckpointError`](crate::CheckpointError) when there are none, or they are damaged.
    pub(crate) fn into_checkpoint(self, spec: &ModelSpec) -> Result<Checkpoint> {
        match self {
            Self::Files(_) => Checkpoint::open_parts(&spec.files.weights),
            Self::Gguf(model) => model.into_checkpoint(),
        }
    }
}
