//! Which files of a model folder hold its weights.

use std::path::{Path, PathBuf};

use super::file::WeightFile;
use super::index::ShardIndex;
use crate::error::{CheckpointError, Error, Result, visible, visible_line};

/// What may hold the weights of a folder, in the order of `transformers` 5.
const LAYOUTS: [(&str, Layout); 4] = [
    ("model.safetensors", Layout::Single),
    (
        "model.safetensors.index.json",
        Layout::Sharded {
            extension: "safetensors",
        },
    ),
    ("pytorch_model.bin", Layout::Single),
    (
        "pytorch_model.bin.index.json",
        Layout::Sharded { extension: "bin" },
    ),
];

/// Extensions of files that are taken under any name if there is only one.
const EXTENSIONS: [&str; 4] = ["safetensors", "bin", "pth", "gguf"];

#[derive(Clone, Copy, Debug)]
enum Layout {
    Single,
    Sharded { extension: &'static str },
}

/// The weights of a folder.
#[derive(Debug)]
pub(super) enum FolderWeights {
    /// One file with everything.
    Single(PathBuf),
    /// Several files and the index that says what each holds.
    Sharded {
        index_path: PathBuf,
        index: ShardIndex,
    },
}

/// A model folder.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let canonical = path.canonicalize().map_err(Error::io(path))?;
        if !canonical.is_dir() {
            let (path, found) = (path.to_path_buf(), "no folder");
            return Err(CheckpointError::NotAFile { path, found }.into());
        }
        Ok(Self {
            path: path.to_path_buf(),
        })
    }

    /// Finds the weights: a file of a usual name, an index, or the only weight file there is. Of two
    /// that could be meant, the one counts that `transformers` takes: one may be left over from an
    /// older save, and which is older no file says.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] or [`CheckpointError::Ambiguous`] if there is no such file.
    pub(super) fn find_weights(&self) -> Result<FolderWeights> {
        let mut found = Vec::new();
        for (name, layout) in LAYOUTS {
            let path = self.path.join(name);
            if path.try_exists().map_err(Error::io(&path))? {
                found.push((name, path, layout));
            }
        }
        let names: Vec<_> = found.iter().map(|(name, ..)| *name).collect();
        if let [name, others @ ..] = names.as_slice()
            && !others.is_empty()
        {
            log::warn!(
                "{}: {name} is read, and not {}, which holds weights too",
                visible_line(&self.path),
                others.join(", ")
            );
        }
        if let Some((_, path, layout)) = found.into_iter().next() {
            return Ok(match layout {
                Layout::Single => FolderWeights::Single(path),
                Layout::Sharded { extension } => FolderWeights::Sharded {
                    index: ShardIndex::read(&path, extension)?,
                    index_path: path,
                },
            });
        }
        self.find_only_file()
    }

    /// Opens a file of the folder.
    pub(super) fn open_file(&self, name: &str) -> Result<WeightFile> {
        WeightFile::open(&self.path.join(name))
    }

    /// Opens the first of `names` that is in the folder.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] if none is, and as [`open_file`](Self::open_file).
    pub(super) fn open_first(&self, names: &[&str]) -> Result<WeightFile> {
        match names.iter().find(|name| self.path.join(name).exists()) {
            Some(name) => self.open_file(name),
            None => Err(CheckpointError::Missing {
                folder: self.path.clone(),
                looked_for: names.iter().map(|name| (*name).to_string()).collect(),
            }
            .into()),
        }
    }

    /// Names among `names` that are not in the folder.
    pub(super) fn missing<'n>(&self, names: impl Iterator<Item = &'n String>) -> Vec<String> {
        names
            .filter(|name| !self.path.join(name).exists())
            .cloned()
            .collect()
    }

    fn find_only_file(&self) -> Result<FolderWeights> {
        let mut found = Vec::new();
        for entry in self.path.read_dir().map_err(Error::io(&self.path))? {
            let name = entry.map_err(Error::io(&self.path))?.file_name();
            let extension = Path::new(&name)
                .extension()
                .and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                found.push(name);
            }
        }
        found.sort_unstable();
        match found.as_slice() {
            [] => Err(self.no_weights()),
            [name] => Ok(FolderWeights::Single(self.path.join(name))),
            _ => Err(CheckpointError::Ambiguous {
                folder: self.path.clone(),
                found: found.iter().map(|name| visible(name).to_string()).collect(),
            }
            .into()),
        }
    }

    fn no_weights(&self) -> Error {
        let mut looked_for: Vec<_> = LAYOUTS.map(|(name, _)| name.to_string()).into();
        looked_for.extend(EXTENSIONS.map(|extension| format!("*.{extension}")));
        CheckpointError::Missing {
            folder: self.path.clone(),
            looked_for,
        }
        .into()
    }
}
