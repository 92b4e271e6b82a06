//! Where the parts of a model lie.

use std::path::{Path, PathBuf};

use crate::image::PreprocessConfig;
use crate::weights::CheckpointPart;

/// Where the parts of a model lie.
#[derive(Debug, Clone)]
pub(crate) struct ModelFiles {
    /// The folder of the tokenizer, the chat template and the generation settings.
    pub(crate) text: PathBuf,
    /// What holds the weights.
    pub(crate) weights: Vec<CheckpointPart>,
    /// What says how pictures are prepared.
    pub(crate) processor: Processor,
}

/// What says how pictures are prepared.
#[derive(Debug, Clone)]
pub(crate) enum Processor {
    /// The files of a folder.
    Folder(PathBuf),
    /// The project's own code, which no file tells.
    Fixed(PreprocessConfig),
}

impl ModelFiles {
    /// Everything in one folder, as Hugging Face keeps it.
    pub(super) fn in_folder(folder: &Path) -> Self {
        let folder = folder.to_path_buf();
        Self {
            text: folder.clone(),
            weights: vec![CheckpointPart {
                path: folder.clone(),
                prefix: "",
            }],
            processor: Processor::Folder(folder),
        }
    }
}
