//! Which files of a model folder hold its weights, and that they really lie in it.

use std::path::{Path, PathBuf};

use super::file::WeightFile;
use super::index::ShardIndex;
use crate::error::{CheckpointError, Error, Result};

/// What may hold the weights of a folder, best first.
const LAYOUTS: [(&str, Layout); 4] = [
    (
        "model.safetensors.index.json",
        Layout::Sharded {
            extension: "safetensors",
        },
    ),
    ("model.safetensors", Layout::Single),
    (
        "pytorch_model.bin.index.json",
        Layout::Sharded { extension: "bin" },
    ),
    ("pytorch_model.bin", Layout::Single),
];

/// Extensions of files that are taken under any name if there is only one.
const EXTENSIONS: [&str; 3] = ["safetensors", "bin", "pth"];

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

/// A model folder, and where its files may really be.
#[derive(Debug)]
pub(super) struct Folder {
    path: PathBuf,
    /// Canonical folders that a file of this folder may lie in.
    roots: Vec<PathBuf>,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let canonical = path.canonicalize().map_err(Error::io(path))?;
        if !canonical.is_dir() {
            let (path, found) = (path.to_path_buf(), "no folder");
            return Err(CheckpointError::NotAFile { path, found }.into());
        }
        let mut roots = vec![canonical.clone()];
        roots.extend(hub_blobs(&canonical));
        Ok(Self {
            path: path.to_path_buf(),
            roots,
        })
    }

    /// Finds the weights: an index, a file of the usual name, or the only weight file there is.
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Missing`] or [`CheckpointError::Ambiguous`] if there is no such file.
    pub(super) fn find_weights(&self) -> Result<FolderWeights> {
        for (name, layout) in LAYOUTS {
            if !self
                .path
                .join(name)
                .try_exists()
                .map_err(Error::io(self.path.join(name)))?
            {
                continue;
            }
            let path = self.contained(name)?;
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
    ///
    /// # Errors
    ///
    /// [`CheckpointError::Outside`] if it is a link that leads out of the folder.
    pub(super) fn open_file(&self, name: &str) -> Result<WeightFile> {
        WeightFile::open(&self.contained(name)?)
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

    fn contained(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        let target = path.canonicalize().map_err(Error::io(&path))?;
        if self.roots.iter().any(|root| target.starts_with(root)) {
            return Ok(path);
        }
        Err(CheckpointError::Outside { path, target }.into())
    }

    fn find_only_file(&self) -> Result<FolderWeights> {
        let mut found = Vec::new();
        for entry in self.path.read_dir().map_err(Error::io(&self.path))? {
            let name = entry.map_err(Error::io(&self.path))?.file_name();
            let extension = Path::new(&name)
                .extension()
                .and_then(|extension| extension.to_str());
            if extension.is_some_and(|extension| EXTENSIONS.contains(&extension)) {
                found.push(name.to_string_lossy().into_owned());
            }
        }
        found.sort_unstable();
        match found.as_slice() {
            [] => Err(self.no_weights()),
            [name] => self.contained(name).map(FolderWeights::Single),
            _ => Err(CheckpointError::Ambiguous {
                folder: self.path.clone(),
                found,
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

/// The `blobs` folder of the Hugging Face cache that `folder` lies in, if it does.
///
/// The cache keeps content in `models--*/blobs` and links to it from `models--*/snapshots/<revision>`.
fn hub_blobs(folder: &Path) -> Option<PathBuf> {
    let snapshots = folder
        .ancestors()
        .find(|ancestor| ancestor.ends_with("snapshots"))?;
    let repository = snapshots.parent()?;
    let name = repository.file_name()?.to_str()?;
    name.starts_with("models--")
        .then(|| repository.join("blobs"))
}
